//! Collecting again and again, without any grace, as each of the two servers has it.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::process::Command;
use tokio::time::sleep;

use crate::client::Client;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What collections came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collected {
    pub(super) runs: u64,
    pub(super) blobs: u64,
}

/// Has the running Seawall collect until `stop`.
pub(super) async fn collect_by_socket(
    socket: &Client,
    stop: &AtomicBool,
) -> Result<Collected, String> {
    let mut collected = Collected::default();
    while !stop.load(Ordering::Relaxed) {
        collected.blobs += collect(socket).await?;
        collected.runs += 1;
    }
    Ok(collected)
}

/// Collects once and returns how many blobs went.
async fn collect(socket: &Client) -> Result<u64, String> {
    let wanted = Bytes::from_static(br#"{"grace":"0s"}"#);
    let asked = socket
        .send(Method::POST, "/api/v1/gc/run", "application/json", wanted)
        .await;
    let job = asked.and_then(|answer| answer.expect(&[202])?.json());
    let job = job.map_err(|error| error.to_string())?;
    let path = format!("/api/v1/jobs/{}", job["id"]);
    loop {
        let told = socket.get(&path).await;
        let job = told.and_then(|answer| answer.expect(&[200])?.json());
        let job = job.map_err(|error| error.to_string())?;
        match job["state"].as_str() {
            Some("done") => return Ok(job["progress"]["blobs"].as_u64().unwrap_or_default()),
            Some("failed") => return Err(format!("a collection failed: {job}")),
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

/// Runs docker-registry's command beside its server until `stop`.
pub(super) async fn collect_by_command(
    config: &Path,
    stop: &AtomicBool,
) -> Result<Collected, String> {
    let mut collected = Collected::default();
    while !stop.load(Ordering::Relaxed) {
        let mut command = Command::new("docker-registry");
        command
            .arg("garbage-collect")
            .arg(config)
            .kill_on_drop(true);
        command.stdin(Stdio::null());
        let ended = command.output().await.map_err(|error| error.to_string())?;
        // It gives up when something vanishes while it looks; the next run goes on.
        let told = String::from_utf8_lossy(&ended.stdout);
        let lines = told.lines();
        let blobs = lines.filter(|line| line.starts_with("blob eligible for deletion"));
        collected.blobs += blobs.count() as u64;
        collected.runs += 1;
        sleep(LOOK_EVERY).await;
    }
    Ok(collected)
}
