//! From arguments to what is printed.

use std::io::Write;

use serde_json::Value;

use super::arguments::{Arguments, Command};
use super::{purge, status, warm};
use crate::cli::server::{Format, Server};
use crate::cli::{Failure, Output};
use crate::config::Environment;

/// Does what is asked; progress goes to `stderr`.
pub(in crate::cli) fn run(
    arguments: &Arguments,
    environment: &Environment,
    stderr: &mut dyn Write,
) -> Result<Output, Failure> {
    let options = match &arguments.command {
        Command::Status(options) => options,
        Command::Warm(warm) => &warm.server,
        Command::Purge(purge) => &purge.server,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let server = Server::find(options, environment)?;
    let (told, text) = runtime.block_on(async {
        match &arguments.command {
            Command::Status(_) => {
                let told = status::ask(&server).await?;
                let text = status::text(&told)?;
                Ok::<_, Failure>((told, text))
            }
            Command::Warm(arguments) => warm::warm(&server, arguments, stderr).await,
            Command::Purge(arguments) => purge::purge(&server, &arguments.pattern).await,
        }
    })?;
    Ok(Output {
        stdout: match options.output {
            Format::Text => text,
            Format::Json => json(&told),
        },
        ..Output::default()
    })
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}
