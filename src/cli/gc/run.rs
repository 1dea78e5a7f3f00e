//! From arguments to what is printed.

use std::io::Write;

use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::{Arguments, Command, RunArguments};
use super::status;
use crate::cli::server::{Format, Job, Progress, Server, Shown, follow, moment};
use crate::cli::{Failure, Output};
use crate::config::Environment;

/// What the server is asked to collect.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleteuntagged: Option<bool>,
    dryrun: bool,
}

/// Does what is asked; progress goes to `stderr`.
pub(in crate::cli) fn run(
    arguments: &Arguments,
    environment: &Environment,
    stderr: &mut dyn Write,
) -> Result<Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let server = Server::find(arguments.server(), environment)?;
    let (told, text) = runtime.block_on(async {
        let told = match &arguments.command {
            Command::Run(run) => return collect(&server, run, stderr).await,
            Command::Status(_) => server.get("/gc").await?,
            Command::Pause(_) => server.post("/gc/pause", &json!({})).await?,
            Command::Resume(_) => server.post("/gc/resume", &json!({})).await?,
        };
        let text = status::text(&told)?;
        Ok::<_, Failure>((told, text))
    })?;
    Ok(Output {
        stdout: match arguments.server().output {
            Format::Text => text,
            Format::Json => format!("{told:#}\n"),
        },
        ..Output::default()
    })
}

/// Starts the job and, unless it is to go on alone, waits for its end; returns what the server said last, and what people
/// read.
async fn collect(
    server: &Server,
    arguments: &RunArguments,
    stderr: &mut dyn Write,
) -> Result<(Value, String), Failure> {
    let request = Request {
        grace: arguments.grace.as_deref(),
        deleteuntagged: arguments.delete_untagged.then_some(true),
        dryrun: arguments.dry_run,
    };
    let started = server.post("/gc/run", &request).await?;
    if arguments.detach {
        let job = Job::of(&started)?;
        return Ok((started, format!("{}\n", job.id)));
    }
    let shown = Shown::fitting(arguments.server.quiet, stderr);
    let (told, job) = follow(server, started, shown).await?;
    Ok((told, summary(&job, arguments.dry_run)))
}

fn summary(job: &Job, dry_run: bool) -> String {
    let Progress {
        reviewed,
        manifests,
        blobs,
        bytes_freed,
        kept,
        held_until,
        ..
    } = job.progress;
    let (removed, freed) = if dry_run {
        ("would remove", "would free")
    } else {
        ("removed", "freed")
    };
    let size = HumanBytes(bytes_freed);
    let mut text = format!(
        "reviewed {reviewed}, {removed} {manifests} manifests and {blobs} blobs, {freed} {size}\n"
    );
    if kept > 0 {
        text.push_str(&format!(
            "{kept} stay for now: leased, in use or held back\n"
        ));
    }
    if let Some(until) = held_until {
        text.push_str(&status::held(&moment(until)));
    }
    if dry_run {
        text.push_str(
            "`seawall garbage-collect --dry-run` lists what a run without grace would remove\n",
        );
    }
    text
}
