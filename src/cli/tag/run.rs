//! From arguments to what is printed.

use super::arguments::{Arguments, Command};
use super::{history, restore};
use crate::cli::server::{Format, Server};
use crate::cli::{Failure, Output};
use crate::config::Environment;

/// Does what is asked.
pub(in crate::cli) fn run(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Output, Failure> {
    let options = match &arguments.command {
        Command::History(history) => &history.server,
        Command::Restore(restore) => &restore.server,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let server = Server::find(options, environment)?;
    let (told, text) = runtime.block_on(async {
        match &arguments.command {
            Command::History(arguments) => {
                let told = history::ask(&server, &arguments.name).await?;
                let text = history::text(&told)?;
                Ok::<_, Failure>((told, text))
            }
            Command::Restore(arguments) => restore::restore(&server, arguments).await,
        }
    })?;
    Ok(Output {
        stdout: match options.output {
            Format::Text => text,
            Format::Json => format!("{told:#}\n"),
        },
        ..Output::default()
    })
}
