//! `seawall backup`: writes a copy of the database to a file of whoever types it, beside a running server or without one.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::offline::told_to_stop;
use super::server::{Format, moment};
use super::{ConfigurationArguments, Failure, Output};
use crate::app;
use crate::config::{Environment, load};

/// Arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The file to write; one that is there is replaced once the copy is whole
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Format,
    /// Where the configuration comes from, and from it the data directory.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// Writes the copy.
pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let loaded = load(&arguments.configuration.sources(), environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let file = &arguments.file;
    let made = runtime.block_on(async {
        tokio::select! {
            made = app::backup::back_up(&loaded.config, file) => {
                made.map_err(|error| Failure::new(format!("{error:#}")))
            }
            _ = told_to_stop() => Err(Failure::new("stopped: nothing was written".to_owned())),
        }
    })?;
    let (bytes, as_of) = (made.bytes, made.as_of);
    let stdout = match arguments.output {
        Format::Text => format!(
            "{}: {}, as of {}\n",
            file.display(),
            HumanBytes(bytes),
            moment(as_of)
        ),
        Format::Json => {
            let told = json!({"file": file.display().to_string(), "bytes": bytes, "asof": as_of});
            format!("{told:#}\n")
        }
    };
    Ok(Output {
        stdout,
        ..Output::default()
    })
}
