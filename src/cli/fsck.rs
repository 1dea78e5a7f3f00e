//! `seawall fsck`: compares rows with files, by the running server or alone.

use clap::Args;
use serde_json::json;

use super::findings::{Work, look};
use super::run::Streams;
use super::server::ServerArguments;
use super::{Failure, Output};
use crate::config::Environment;
use crate::jobs::{CompareAll, Payload};

/// Arguments of `fsck`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Do something about what is wrong; nothing that is right is ever deleted
    #[arg(long)]
    pub repair: bool,
    /// Which server to ask, and how to print what it says.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Compares, printing what is wrong as it is found.
pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    streams: &mut Streams<'_>,
) -> Result<Output, Failure> {
    let repair = arguments.repair;
    let work = Work {
        path: "/fsck",
        request: json!({"repair": repair}),
        payload: Payload::Fsck(CompareAll { repair }),
    };
    look(&work, &arguments.server, environment, streams)
}
