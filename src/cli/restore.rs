//! `seawall restore`: puts a copy in the place of the database while no server runs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::server::{Format, moment};
use super::{ConfigurationArguments, Failure, Output};
use crate::app;
use crate::clock::System;
use crate::config::{Environment, load};

/// Arguments of `restore`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The file that `seawall backup` or the server wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Format,
    /// Where the configuration comes from, and from it the data directory.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// Puts the copy in place.
pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let loaded = load(&arguments.configuration.sources(), environment)?;
    let restored = app::backup::restore(&loaded.config, &arguments.file, &System::new());
    let restored = restored.map_err(|error| Failure::new(format!("{error:#}")))?;
    let replaced = restored.replaced.as_ref().map(|file| file.display());
    let stdout = match arguments.output {
        Format::Text => {
            let mut text = format!("restored the database as of {}\n", moment(restored.as_of));
            if let Some(replaced) = &replaced {
                text.push_str(&format!("the one before it is kept: {replaced}\n"));
            }
            text
        }
        Format::Json => {
            let replaced = replaced.map(|file| file.to_string());
            format!(
                "{:#}\n",
                json!({"asof": restored.as_of, "replaced": replaced})
            )
        }
    };
    Ok(Output {
        stdout,
        stderr: "run `seawall fsck --repair` before the server starts: blobs may be stored of which this database does not know, and others gone\n"
            .to_owned(),
        ..Output::default()
    })
}
