//! `seawall mirror purge`: has the server forget mirrored images, and waits for it.

use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::server::{Progress, Server, Shown, follow};

#[derive(Serialize)]
struct Request<'a> {
    pattern: &'a str,
}

/// Starts the job and waits for its end; returns what the server said last, and what people read.
pub(super) async fn purge(server: &Server, pattern: &str) -> Result<(Value, String), Failure> {
    let started = server.post("/mirrors/purge", &Request { pattern }).await?;
    // Over in a moment, and without a total to show.
    let (told, job) = follow(server, started, Shown::Nothing).await?;
    let freed = HumanBytes(job.progress.bytes_freed);
    let Progress {
        manifests, kept, ..
    } = job.progress;
    let stays = if kept == 0 {
        String::new()
    } else {
        format!("; {kept} manifests or blobs stay, in use or leased")
    };
    let text = format!("removed {manifests} manifests, freed {freed}{stays}\n");
    Ok((told, text))
}
