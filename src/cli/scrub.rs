//! `seawall scrub`: hashes stored blobs again, by the running server or alone.

use clap::Args;
use serde_json::json;

use super::findings::{Work, look};
use super::run::Streams;
use super::server::ServerArguments;
use super::{Failure, Output};
use crate::config::Environment;
use crate::jobs::{Payload, ScrubBlobs};

/// Arguments of `scrub`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Hash only the blobs of repositories that fit this pattern, as in team/**
    #[arg(long, value_name = "GLOB")]
    pub repository: Option<String>,
    /// Fetch what is damaged again where it is mirrored, and serve again what is right again
    #[arg(long)]
    pub repair: bool,
    /// Which server to ask, and how to print what it says.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Hashes, printing what is wrong as it is found.
pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    streams: &mut Streams<'_>,
) -> Result<Output, Failure> {
    let Arguments {
        repository, repair, ..
    } = arguments;
    let scrub = ScrubBlobs::new(repository.clone(), *repair);
    let scrub = scrub.map_err(|error| Failure::new(format!("--repository: {error}")))?;
    let mut request = json!({"repair": repair});
    if let Some(repository) = repository {
        request["repository"] = repository.as_str().into();
    }
    let work = Work {
        path: "/scrub",
        request,
        payload: Payload::Scrub(scrub),
    };
    look(&work, &arguments.server, environment, streams)
}
