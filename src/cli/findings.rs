//! What `scrub` and `fsck` have in common: the work is done by the running server or alone, and what is wrong is printed line
//! by line, or as one report for programs.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::run::Streams;
use super::server::{Format, Server, ServerArguments, Shown, follow_lines, printable};
use super::{Failure, Output, offline};
use crate::config::{Environment, load};
use crate::jobs::Payload;

/// What is to be done, in both ways.
pub(super) struct Work {
    /// Where the server is asked.
    pub path: &'static str,
    /// What it is asked.
    pub request: Value,
    /// The same without a server.
    pub payload: Payload,
}

/// A problem, as a job tells it.
#[derive(Deserialize)]
struct Problem {
    digest: Option<String>,
    path: String,
    problem: String,
    action: String,
}

/// What there is to say at the end.
struct Sum {
    checked: u64,
    remaining: u64,
    unlisted: u64,
}

/// Where problems go as they are found.
struct Printer<'s> {
    format: Format,
    to: &'s mut dyn Write,
    found: u64,
    /// For the report.
    problems: Vec<Value>,
}

/// Does the work and prints what is wrong. The exit code is 1 when something stays wrong.
pub(super) fn look(
    work: &Work,
    arguments: &ServerArguments,
    environment: &Environment,
    streams: &mut Streams<'_>,
) -> Result<Output, Failure> {
    let mut printer = Printer {
        format: arguments.output,
        to: &mut *streams.stdout,
        found: 0,
        problems: Vec::new(),
    };
    let sum = match Server::running(arguments, environment)? {
        Some(server) => {
            let shown = Shown::fitting(arguments.quiet, streams.stderr);
            beside(&server, work, shown, &mut printer)?
        }
        None => {
            let loaded = load(&arguments.configuration.sources(), environment)?;
            let mut print = |line: &Value| printer.print(line);
            let done = offline::run_job(&loaded.config, &work.payload, &mut print)?;
            Sum {
                checked: done.checked,
                remaining: done.problems,
                unlisted: done.unlisted,
            }
        }
    };
    Ok(printer.end(&sum))
}

/// Has the running server do it.
fn beside(
    server: &Server,
    work: &Work,
    shown: Shown<'_>,
    printer: &mut Printer<'_>,
) -> Result<Sum, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let (_, job) = runtime.block_on(async {
        let started = server.post(work.path, &work.request).await?;
        let mut print = |line: &Value| printer.print(line);
        follow_lines(server, started, shown, &mut print).await
    })?;
    Ok(Sum {
        checked: job.progress.checked,
        remaining: job.progress.problems,
        unlisted: job.progress.unlisted,
    })
}

impl Printer<'_> {
    fn print(&mut self, line: &Value) -> Result<(), Failure> {
        // What another version tells besides is not for this list.
        let Ok(problem) = Problem::deserialize(line) else {
            return Ok(());
        };
        self.found += 1;
        if self.format == Format::Json {
            self.problems.push(line.clone());
            return Ok(());
        }
        writeln!(self.to, "{}", line_of(&problem))
            .map_err(|error| Failure::new(format!("cannot write to stdout: {error}")))
    }

    fn end(self, sum: &Sum) -> Output {
        let report = json!({"checked": sum.checked, "problems": self.problems});
        let stdout = match self.format {
            Format::Json => format!("{report:#}\n"),
            Format::Text => summary(sum, self.found),
        };
        let mut stderr = String::new();
        if sum.unlisted > 0 {
            stderr = format!("seawall: {} more were not listed\n", sum.unlisted);
        }
        Output {
            stdout,
            stderr,
            code: u8::from(sum.remaining > 0),
        }
    }
}

fn line_of(problem: &Problem) -> String {
    let Problem {
        digest,
        path,
        problem,
        action,
    } = problem;
    let digest = digest.as_deref().unwrap_or("-");
    let done = match action.as_str() {
        "none" => String::new(),
        action => format!(" ({action})"),
    };
    printable(&format!("{problem} {digest} {path}{done}"))
}

fn summary(sum: &Sum, found: u64) -> String {
    let Sum {
        checked, remaining, ..
    } = sum;
    let found = found + sum.unlisted;
    match (found, *remaining) {
        (0, _) => format!("checked {checked} blobs, nothing is wrong\n"),
        (_, 0) => format!("checked {checked} blobs, found {found} problems and solved them\n"),
        _ => format!("checked {checked} blobs, found {found} problems, {remaining} remain\n"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Format, Printer, Sum};

    fn printed(format: Format, remaining: u64) -> (String, u8) {
        let mut written = Vec::new();
        let mut printer = Printer {
            format,
            to: &mut written,
            found: 0,
            problems: Vec::new(),
        };
        let lines = [
            json!({"digest": "sha256:aa", "path": "/d/a", "problem": "missing", "action": "none"}),
            json!({"digest": "sha256:bb", "path": "/d/b\u{1b}[2J", "problem": "digest", "action": "fetched"}),
            json!({"digest": null, "path": "/d/uploads/1", "problem": "tempfile", "action": "removed"}),
            json!({"of": "a later version"}),
        ];
        for line in &lines {
            printer.print(line).expect("written");
        }
        let output = printer.end(&Sum {
            checked: 7,
            remaining,
            unlisted: 0,
        });
        let text = String::from_utf8(written).expect("text") + &output.stdout;
        (text, output.code)
    }

    #[test]
    fn people_read_a_line_for_each_problem_and_a_sum() {
        let expected = "\
missing sha256:aa /d/a
digest sha256:bb /d/b [2J (fetched)
tempfile - /d/uploads/1 (removed)
checked 7 blobs, found 3 problems, 1 remain
";
        assert_eq!(printed(Format::Text, 1), (expected.to_owned(), 1));
        let (solved, code) = printed(Format::Text, 0);
        assert!(
            solved.ends_with("found 3 problems and solved them\n"),
            "{solved}"
        );
        assert_eq!(code, 0);
    }

    #[test]
    fn programs_read_one_report_with_the_promised_fields() {
        let (text, code) = printed(Format::Json, 1);
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(code, 1);
        assert_eq!(report["checked"], 7);
        assert_eq!(report["problems"].as_array().map(Vec::len), Some(3));
        let second = json!({"digest": "sha256:bb", "path": "/d/b\u{1b}[2J", "problem": "digest", "action": "fetched"});
        assert_eq!(report["problems"][1], second);
    }
}
