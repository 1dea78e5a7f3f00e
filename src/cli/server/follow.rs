//! Waiting for a job: a bar on a terminal, now and then a line elsewhere, nothing where nothing is wanted.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;

use super::connection::{Server, printable};
use super::job::{Job, Progress, Standing};
use crate::cli::Failure;

/// How long to wait between two looks: short at first, for what is quickly done.
const FIRST_PAUSE: Duration = Duration::from_millis(30);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The time between two lines.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// The kind of a job that collects.
const GC: &str = "gc";

/// How progress is shown.
pub(in crate::cli) enum Shown<'s> {
    Bar(ProgressBar),
    Lines(Lines<'s>),
    Nothing,
}

/// Lines of progress, not many.
pub(in crate::cli) struct Lines<'s> {
    to: &'s mut dyn Write,
    last: Option<(String, Instant)>,
}

impl<'s> Shown<'s> {
    /// Returns the way that fits: a bar where the process's stderr is a terminal, lines to `stderr` else.
    pub(in crate::cli) fn fitting(quiet: bool, to: &'s mut dyn Write) -> Self {
        if quiet {
            Self::Nothing
        } else if stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{spinner} {msg}"));
            Self::Bar(bar)
        } else {
            Self::Lines(Lines { to, last: None })
        }
    }

    fn show(&mut self, job: &Job, now: Instant) {
        let progress = &job.progress;
        match self {
            Self::Nothing => {}
            Self::Bar(bar) => {
                if progress.bytes_total > 0 && bar.length() != Some(progress.bytes_total) {
                    bar.set_length(progress.bytes_total);
                    bar.set_style(style(
                        "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}",
                    ));
                }
                bar.set_position(progress.bytes_done);
                let does = if job.kind == GC {
                    collected(progress)
                } else {
                    counts(progress)
                };
                bar.set_message(format!("{does}{}", waiting(job)));
                bar.tick();
            }
            Self::Lines(lines) => lines.show(line(job), now),
        }
    }

    /// Prints something else without the bar in its way.
    fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(print),
            Self::Lines(_) | Self::Nothing => print(),
        }
    }

    fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Lines<'_> {
    fn show(&mut self, line: String, now: Instant) {
        let is_due = match &self.last {
            None => true,
            Some((last, at)) => *last != line && now.duration_since(*at) >= LINE_PAUSE,
        };
        if is_due {
            // A closed stderr is no reason to stop waiting.
            let _ = writeln!(self.to, "{line}");
            self.last = Some((line, now));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Returns what a line says of a job under way.
fn line(job: &Job) -> String {
    let progress = &job.progress;
    let (counts, waiting) = (counts(progress), waiting(job));
    if job.kind == GC {
        return format!("{}{waiting}", collected(progress));
    }
    let done = HumanBytes(progress.bytes_done);
    if progress.bytes_total == 0 {
        return format!("{counts}, {done}{waiting}");
    }
    let total = HumanBytes(progress.bytes_total);
    format!("{counts}, {done} of {total}{waiting}")
}

/// Returns what a job under way waits for, if it does.
fn waiting(job: &Job) -> String {
    let reason = job.error.as_deref();
    reason.map_or_else(String::new, |reason| {
        format!(" (waiting: {})", printable(reason))
    })
}

/// Returns how far a collection is.
fn collected(progress: &Progress) -> String {
    let Progress {
        reviewed,
        manifests,
        blobs,
        bytes_freed,
        ..
    } = progress;
    let freed = HumanBytes(*bytes_freed);
    format!("reviewed {reviewed}, manifests {manifests}, blobs {blobs}, {freed}")
}

fn counts(progress: &Progress) -> String {
    let of = |done: u64, total: u64| {
        if total == 0 {
            done.to_string()
        } else {
            format!("{done}/{total}")
        }
    };
    if progress.checked > 0 {
        let Progress {
            checked, problems, ..
        } = progress;
        return format!("checked {checked}, problems {problems}");
    }
    let images = of(progress.images_done, progress.images_total);
    let layers = of(progress.layers_done, progress.layers_total);
    format!("images {images}, layers {layers}")
}

/// Waits until the job that the server told of in `started` is done, and returns what it says then.
///
/// # Errors
/// The reason when the job failed, or when the server cannot be asked any more.
pub(in crate::cli) async fn follow(
    server: &Server,
    started: Value,
    shown: Shown<'_>,
) -> Result<(Value, Job), Failure> {
    wait(server, started, shown, None).await
}

/// Waits as [`follow`] does, and gives every line that the job tells to `line` while it goes on.
///
/// # Errors
/// As [`follow`], and those of `line`; the job goes on without.
pub(in crate::cli) async fn follow_lines(
    server: &Server,
    started: Value,
    shown: Shown<'_>,
    line: &mut dyn FnMut(&Value) -> Result<(), Failure>,
) -> Result<(Value, Job), Failure> {
    wait(server, started, shown, Some(Told { cursor: 0, line })).await
}

/// What was read of the lines that a job tells.
struct Told<'l> {
    cursor: i64,
    line: &'l mut dyn FnMut(&Value) -> Result<(), Failure>,
}

/// A page of them.
#[derive(Deserialize)]
struct LinePage {
    lines: Vec<Value>,
    next: i64,
}

impl Told<'_> {
    /// Reads what came since the last time.
    async fn read(&mut self, server: &Server, job: &Job, shown: &Shown<'_>) -> Result<(), Failure> {
        loop {
            let (id, cursor) = (job.id, self.cursor);
            let path = format!("/jobs/{id}/lines?limit=1000&cursor={cursor}");
            let told = server
                .get(&path)
                .await
                .map_err(|failure| lost(job, &failure))?;
            let page = LinePage::deserialize(told).map_err(|error| {
                Failure::new(format!("the server tells strange lines of a job: {error}"))
            })?;
            if page.lines.is_empty() {
                return Ok(());
            }
            self.cursor = page.next;
            shown.aside(|| page.lines.iter().try_for_each(|line| (self.line)(line)))?;
        }
    }
}

async fn wait(
    server: &Server,
    started: Value,
    mut shown: Shown<'_>,
    mut lines: Option<Told<'_>>,
) -> Result<(Value, Job), Failure> {
    let mut told = started;
    let mut pause = FIRST_PAUSE;
    loop {
        let job = Job::of(&told)?;
        if let Some(lines) = &mut lines {
            lines.read(server, &job, &shown).await?;
        }
        match job.standing() {
            Standing::UnderWay => shown.show(&job, Instant::now()),
            Standing::Done => {
                shown.finish();
                return Ok((told, job));
            }
            Standing::Failed => {
                shown.finish();
                let reason = job.error.as_deref().map(printable);
                let reason = reason.as_deref().unwrap_or("the server does not say why");
                return Err(Failure::new(format!("job {} failed: {reason}", job.id)));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let looked = server.get(&format!("/jobs/{}", job.id)).await;
        told = looked.map_err(|failure| lost(&job, &failure))?;
    }
}

/// Says what becomes of a job whose server cannot be asked any more.
fn lost(job: &Job, failure: &Failure) -> Failure {
    let reasons = failure.reasons.join("; ");
    let id = job.id;
    Failure::new(format!("{reasons}; job {id} goes on when the server does"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::job::{Job, Progress};
    use super::{Lines, Shown, line};

    fn under_way(progress: Progress) -> Job {
        Job {
            id: 1,
            kind: "warm".to_owned(),
            state: "running".to_owned(),
            progress,
            error: None,
        }
    }

    #[test]
    fn a_line_comes_once_a_second_and_only_when_it_says_something_new() {
        let mut written = Vec::new();
        let mut shown = Shown::Lines(Lines {
            to: &mut written,
            last: None,
        });
        let start = Instant::now();
        let mut progress = Progress {
            images_total: 2,
            ..Progress::default()
        };
        let after = |millis| start + Duration::from_millis(millis);
        shown.show(&under_way(progress), after(0));
        progress.layers_done = 1;
        shown.show(&under_way(progress), after(999));
        shown.show(&under_way(progress), after(1000));
        shown.show(&under_way(progress), after(5000));
        progress.layers_done = 2;
        shown.show(&under_way(progress), after(5001));
        shown.finish();
        let text = String::from_utf8(written).expect("lines are text");
        let expected =
            "images 0/2, layers 0, 0 B\nimages 0/2, layers 1, 0 B\nimages 0/2, layers 2, 0 B\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_tells_what_is_known() {
        let progress = Progress {
            images_done: 1,
            images_total: 2,
            layers_done: 3,
            layers_total: 8,
            bytes_done: 12 << 20,
            bytes_total: 96 << 20,
            ..Progress::default()
        };
        let expected = "images 1/2, layers 3/8, 12.00 MiB of 96.00 MiB";
        let mut job = under_way(progress);
        assert_eq!(line(&job), expected);
        job.error = Some("rate limit\u{1b}[2J".to_owned());
        assert_eq!(line(&job), format!("{expected} (waiting: rate limit [2J)"));
    }

    #[test]
    fn a_collection_tells_what_it_reviewed_and_freed() {
        let mut job = under_way(Progress {
            reviewed: 12,
            manifests: 1,
            blobs: 3,
            bytes_freed: 2048,
            ..Progress::default()
        });
        job.kind = "gc".to_owned();
        let expected = "reviewed 12, manifests 1, blobs 3, 2.00 KiB";
        assert_eq!(line(&job), expected);
    }
}
