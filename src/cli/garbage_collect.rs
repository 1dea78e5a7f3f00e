//! `seawall garbage-collect`: Distribution's command, with its options and the lines it prints. It works beside a running
//! server, which does the work as a job, and where none runs; the grace is none, and leases count.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::configuration::ConfigurationArgumentsWithFile;
use super::run::Streams;
use super::server::{Server, ServerArguments, Shown, follow_lines, moment, printable};
use super::{ConfigurationArguments, Failure, Output, offline};
use crate::config::{Environment, load};
use crate::jobs::{CollectNow, Payload};

/// Arguments of `garbage-collect`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArgumentsWithFile,
    /// Tell what would be deleted, and delete nothing
    #[arg(short = 'd', long)]
    pub dry_run: bool,
    /// Delete manifests too that no tag names and nothing else keeps
    #[arg(short = 'm', long)]
    pub delete_untagged: bool,
    /// Print no list; what is held back, and errors, are still told on stderr
    #[arg(short, long)]
    pub quiet: bool,
}

/// What a job tells, line by line.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Manifest { repository: String, digest: String },
    Blob { digest: String },
}

/// What there is to say at the end.
struct Sum {
    remaining: u64,
    blobs: u64,
    manifests: u64,
    unlisted: u64,
    held_until: Option<i64>,
}

/// Collects, printing what goes as it goes.
pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    streams: &mut Streams<'_>,
) -> Result<Output, Failure> {
    let server = arguments.server();
    let mut printer = Printer {
        to: (!arguments.quiet).then_some(&mut *streams.stdout),
        repository: None,
    };
    let sum = match Server::running(&server, environment)? {
        Some(server) => beside(&server, arguments, &mut printer)?,
        None => alone(arguments, environment, &mut printer)?,
    };
    printer.end(&sum)?;
    Ok(Output {
        stderr: remarks(&sum),
        ..Output::default()
    })
}

/// Has the running server do it.
fn beside(
    server: &Server,
    arguments: &Arguments,
    printer: &mut Printer<'_>,
) -> Result<Sum, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let request = json!({
        "grace": "0s",
        "deleteuntagged": arguments.delete_untagged,
        "dryrun": arguments.dry_run,
    });
    let (_, job) = runtime.block_on(async {
        let started = server.post("/gc/run", &request).await?;
        let mut print = |line: &Value| printer.print(line);
        follow_lines(server, started, Shown::Nothing, &mut print).await
    })?;
    let done = job.progress;
    Ok(Sum {
        remaining: done.remaining,
        blobs: done.blobs,
        manifests: done.manifests,
        unlisted: done.unlisted,
        held_until: done.held_until,
    })
}

/// Does it where no server runs.
fn alone(
    arguments: &Arguments,
    environment: &Environment,
    printer: &mut Printer<'_>,
) -> Result<Sum, Failure> {
    let loaded = load(&arguments.configuration.sources(), environment)?;
    let grace = std::time::Duration::ZERO;
    let wanted = CollectNow::new(grace, arguments.delete_untagged, arguments.dry_run);
    let mut print = |line: &Value| printer.print(line);
    let done = offline::run_job(&loaded.config, &Payload::Collect(wanted), &mut print)?;
    Ok(Sum {
        remaining: done.remaining,
        blobs: done.blobs,
        manifests: done.manifests,
        unlisted: done.unlisted,
        held_until: done.held_until,
    })
}

/// Returns what the operator has to know beside the result.
fn remarks(sum: &Sum) -> String {
    let mut text = String::new();
    if sum.unlisted > 0 {
        text.push_str(&format!("seawall: {} more were not listed\n", sum.unlisted));
    }
    if let Some(until) = sum.held_until {
        text.push_str(&format!(
            "seawall: the server before did not end in order, so nothing that was pushed is collected until {}: run this again then\n",
            moment(until)
        ));
    }
    text
}

/// Prints Distribution's lines.
struct Printer<'s> {
    /// Nothing for a quiet run.
    to: Option<&'s mut dyn Write>,
    /// The repository of the last line.
    repository: Option<String>,
}

impl Printer<'_> {
    fn print(&mut self, line: &Value) -> Result<(), Failure> {
        // What another version tells besides is not for this list.
        match Line::deserialize(line) {
            Ok(Line::Manifest { repository, digest }) => {
                if self.repository.as_ref() != Some(&repository) {
                    self.write(&printable(&repository))?;
                    self.repository = Some(repository);
                }
                self.write(&format!(
                    "manifest eligible for deletion: {}",
                    printable(&digest)
                ))
            }
            Ok(Line::Blob { digest }) => self.write(&format!(
                "blob eligible for deletion: {}",
                printable(&digest)
            )),
            Err(_) => Ok(()),
        }
    }

    fn end(mut self, sum: &Sum) -> Result<(), Failure> {
        let Sum {
            remaining,
            blobs,
            manifests,
            ..
        } = sum;
        self.write(&format!(
            "\n{remaining} blobs marked, {blobs} blobs and {manifests} manifests eligible for deletion"
        ))
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        let Some(to) = &mut self.to else {
            return Ok(());
        };
        writeln!(to, "{line}")
            .map_err(|error| Failure::new(format!("cannot write to stdout: {error}")))
    }
}

impl Arguments {
    /// Returns how to find the server of this configuration.
    fn server(&self) -> ServerArguments {
        let options = &self.configuration.options;
        let file = self.configuration.file.clone();
        ServerArguments {
            configuration: ConfigurationArguments {
                config: file.or_else(|| options.config.clone()),
                ..options.clone()
            },
            ..ServerArguments::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Printer, Sum, remarks};

    const NOTHING: Sum = Sum {
        remaining: 0,
        blobs: 0,
        manifests: 0,
        unlisted: 0,
        held_until: None,
    };

    #[test]
    fn lines_read_as_distributions_do() {
        let mut written = Vec::new();
        let mut printer = Printer {
            to: Some(&mut written),
            repository: None,
        };
        let lines = [
            json!({"kind": "manifest", "repository": "team/app", "digest": "sha256:aa"}),
            json!({"kind": "manifest", "repository": "team/app", "digest": "sha256:bb"}),
            json!({"kind": "blob", "digest": "sha256:aa", "size": 7}),
            json!({"kind": "of a later version", "digest": "sha256:00"}),
            json!({"kind": "manifest", "repository": "other", "digest": "sha256:cc"}),
        ];
        for line in &lines {
            printer.print(line).expect("written");
        }
        let sum = Sum {
            remaining: 8,
            blobs: 4,
            manifests: 1,
            ..NOTHING
        };
        printer.end(&sum).expect("written");
        let expected = "\
team/app
manifest eligible for deletion: sha256:aa
manifest eligible for deletion: sha256:bb
blob eligible for deletion: sha256:aa
other
manifest eligible for deletion: sha256:cc

8 blobs marked, 4 blobs and 1 manifests eligible for deletion
";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
    }

    #[test]
    fn what_could_not_be_done_or_told_is_said() {
        assert_eq!(remarks(&NOTHING), "");
        let sum = Sum {
            unlisted: 3,
            held_until: Some(1_795_262_400_000_000),
            ..NOTHING
        };
        let told = remarks(&sum);
        assert!(told.contains("3 more were not listed\n"), "{told}");
        assert!(told.contains("until 2026-11-21T12:00:00Z"), "{told}");
    }
}
