//! `seawall mirror warm`: has the server fetch images, and waits for it.

use std::io::Write;

use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use super::arguments::WarmArguments;
use crate::cli::Failure;
use crate::cli::server::{Job, Server, Shown, follow};

#[derive(Serialize)]
struct Request<'a> {
    images: &'a [String],
    platforms: &'a [String],
}

/// Starts the job and, unless it is to go on alone, waits for its end; returns what the server said last,
/// and what people read.
pub(super) async fn warm(
    server: &Server,
    arguments: &WarmArguments,
    stderr: &mut dyn Write,
) -> Result<(Value, String), Failure> {
    let request = Request {
        images: &arguments.images,
        platforms: &arguments.platforms,
    };
    let started = server.post("/mirrors/warm", &request).await?;
    if arguments.detach {
        let job = Job::of(&started)?;
        return Ok((started, format!("{}\n", job.id)));
    }
    let shown = Shown::fitting(arguments.server.quiet, stderr);
    let (told, job) = follow(server, started, shown).await?;
    let progress = job.progress;
    let text = format!(
        "images {}, layers {}, {}\n",
        progress.images_done,
        progress.layers_done,
        HumanBytes(progress.bytes_done)
    );
    Ok((told, text))
}
