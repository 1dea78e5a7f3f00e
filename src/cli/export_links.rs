//! `seawall export-links`: makes the link files of the store root say what Seawall knows, so that Distribution can serve the
//! same root. The running server does it as a job; where none runs, it is done here.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::offline;
use super::server::{Format, Server, ServerArguments, Shown, follow_lines, printable};
use super::{ConfigurationArguments, Failure, Output};
use crate::config::{Environment, load};
use crate::jobs::Payload;

/// Arguments of `export-links`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// The configuration file
    #[arg(value_name = "CONFIG", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// Which server, how to print, and where the configuration comes from.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// What the job tells, line by line.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Conflict(Conflict),
    Exported(Exported),
}

/// Something that was left as it is.
#[derive(Debug, Deserialize, Serialize)]
struct Conflict {
    path: String,
    reason: String,
}

/// What there is now.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Exported {
    repositories: u64,
    tags: u64,
    manifests: u64,
    blobs: u64,
    written: u64,
    removed: u64,
    conflicts: u64,
}

/// Everything that was told.
#[derive(Default)]
struct Told {
    conflicts: Vec<Conflict>,
    exported: Option<Exported>,
}

impl Told {
    fn take(&mut self, line: &Value) {
        // What another version tells besides is not for this command.
        match Line::deserialize(line) {
            Ok(Line::Conflict(conflict)) => self.conflicts.push(conflict),
            Ok(Line::Exported(exported)) => self.exported = Some(exported),
            Err(_) => {}
        }
    }
}

/// Exports; progress goes to `stderr`.
pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    stderr: &mut dyn Write,
) -> Result<Output, Failure> {
    let server = arguments.server();
    let mut told = Told::default();
    let mut take = |line: &Value| {
        told.take(line);
        Ok(())
    };
    match Server::running(&server, environment)? {
        Some(running) => {
            let shown = Shown::fitting(true, stderr);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
            runtime.block_on(async {
                let started = running.post("/export-links", &json!({})).await?;
                follow_lines(&running, started, shown, &mut take).await
            })?;
        }
        None => {
            let loaded = load(&server.configuration.sources(), environment)?;
            offline::run_job(&loaded.config, &Payload::ExportLinks, &mut take)?;
        }
    }
    print(server.output, &told)
}

fn print(output: Format, told: &Told) -> Result<Output, Failure> {
    let Some(exported) = told.exported else {
        return Err(Failure::new(
            "the export did not say how it ended: run it again".to_owned(),
        ));
    };
    let Exported {
        repositories,
        tags,
        manifests,
        blobs,
        written,
        removed,
        conflicts,
    } = exported;
    let stdout = match output {
        Format::Json => {
            let json = json!({
                "repositories": repositories,
                "tags": tags,
                "manifests": manifests,
                "blobs": blobs,
                "written": written,
                "removed": removed,
                "conflicts": told.conflicts,
            });
            format!("{json}\n")
        }
        Format::Text => {
            let changed = if written + removed == 0 {
                "nothing had to be changed".to_owned()
            } else {
                format!("{written} links were written and {removed} removed")
            };
            format!(
                "{repositories} repositories, {tags} tags, {manifests} manifests, {blobs} blobs: {changed}\n"
            )
        }
    };
    let mut stderr = String::new();
    for Conflict { path, reason } in &told.conflicts {
        let line = printable(&format!("{path}: {reason}"));
        stderr.push_str(&format!("seawall: left as it is: {line}\n"));
    }
    let unlisted = conflicts.saturating_sub(told.conflicts.len() as u64);
    if unlisted > 0 {
        stderr.push_str(&format!("seawall: and {unlisted} more\n"));
    }
    Ok(Output {
        stdout,
        stderr,
        code: u8::from(conflicts > 0),
    })
}

impl Arguments {
    /// Returns how to find the server, with the file as an argument too.
    fn server(&self) -> ServerArguments {
        let server = self.server.clone();
        let options = server.configuration;
        ServerArguments {
            configuration: ConfigurationArguments {
                config: self.file.clone().or(options.config),
                ..options
            },
            ..server
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Format, Told, print};

    #[test]
    fn what_was_done_is_told_and_what_was_left_makes_the_command_fail() {
        let mut told = Told::default();
        assert!(print(Format::Text, &told).is_err(), "it did not end");
        let mut exported = json!({"kind": "exported", "repositories": 1, "tags": 2, "manifests": 3, "blobs": 4,
            "written": 5, "removed": 6, "conflicts": 0});
        told.take(&exported);
        let done = print(Format::Text, &told).expect("it is done");
        assert_eq!(
            (done.stdout.as_str(), done.stderr.as_str(), done.code),
            (
                "1 repositories, 2 tags, 3 manifests, 4 blobs: 5 links were written and 6 removed\n",
                "",
                0
            )
        );
        exported["conflicts"] = json!(2);
        for line in [
            json!({"kind": "conflict", "path": "a/link", "reason": "another\nline"}),
            json!({"kind": "of a later version"}),
            exported,
        ] {
            told.take(&line);
        }
        let done = print(Format::Json, &told).expect("it is done");
        assert_eq!(
            (done.stderr.as_str(), done.code),
            (
                "seawall: left as it is: a/link: another line\nseawall: and 1 more\n",
                1
            )
        );
        assert!(done.stdout.contains("\"reason\":\"another\\nline\""));
    }
}
