//! What a job finds, line by line: JSON objects that whoever asked reads while it runs and after. They are written in batches beside the
//! job, which never waits for them and never fails for want of room for them; what finds no place is counted.

use std::time::Duration;

use metadata::{Claim, JOB_LINES_MAX, Metadata};
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::live::Tally;

/// Most lines of one transaction.
const BATCH: usize = 500;

/// How long a line waits for others to be written with.
const LINGER: Duration = Duration::from_millis(200);

/// Where a job tells what it finds. Dropping it writes what was told; [`Lines::finish`] waits for that.
pub(super) struct Lines {
    to: To,
    tally: Tally,
    told: u64,
}

enum To {
    /// The rows of the job, through the task that writes them.
    Rows(UnboundedSender<String>, JoinHandle<()>),
    /// Whoever runs the job himself.
    Caller(Box<dyn FnMut(&str) + Send>),
}

/// What becomes of the lines of an earlier, unfinished run of the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// They stand: what they tell happened.
    Kept,
    /// They go: this run finds everything again.
    Forgotten,
}

impl Lines {
    /// Begins to write the lines of the job of `claim`; what finds no place counts as unlisted in `tally`.
    pub(super) fn of_job(
        metadata: &Metadata,
        claim: Claim,
        tally: &Tally,
        earlier: Earlier,
    ) -> Self {
        let (sender, told) = unbounded_channel();
        let writer = Writer {
            metadata: metadata.clone(),
            claim,
            tally: tally.clone(),
        };
        let written = tokio::spawn(writer.write(told, earlier));
        Self {
            to: To::Rows(sender, written),
            tally: tally.clone(),
            told: 0,
        }
    }

    /// Gives every line to `caller` as it comes.
    pub(super) fn to_caller(caller: Box<dyn FnMut(&str) + Send>) -> Self {
        Self {
            to: To::Caller(caller),
            tally: Tally::default(),
            told: 0,
        }
    }

    /// Returns where the job counts.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Tells a line.
    pub(super) fn tell(&mut self, line: &impl Serialize) {
        let line = serde_json::to_string(line).expect("texts and numbers can always be written");
        match &mut self.to {
            To::Caller(caller) => caller(&line),
            // More than can be kept is not held in memory either.
            To::Rows(..) if self.told >= JOB_LINES_MAX => unlisted(&self.tally, 1),
            To::Rows(sender, _) => {
                self.told += 1;
                // It ends only with the writer, which logged why.
                let _ = sender.send(line);
            }
        }
    }

    /// Returns when everything told is written.
    pub(super) async fn finish(self) {
        if let To::Rows(sender, written) = self.to {
            drop(sender);
            if let Err(error) = written.await {
                tracing::error!(%error, "the writer of a job's lines broke off");
            }
        }
    }
}

fn unlisted(tally: &Tally, lines: u64) {
    tally.count(|progress| progress.unlisted += lines);
}

struct Writer {
    metadata: Metadata,
    claim: Claim,
    tally: Tally,
}

impl Writer {
    async fn write(self, mut told: UnboundedReceiver<String>, earlier: Earlier) {
        if earlier == Earlier::Forgotten
            && let Err(error) = self.metadata.clear_job_lines(self.claim).await
        {
            tracing::warn!(job = self.claim.id, %error, "could not forget the lines of an earlier run");
        }
        loop {
            let mut lines = Vec::new();
            if told.recv_many(&mut lines, BATCH).await == 0 {
                return;
            }
            let until = Instant::now() + LINGER;
            while lines.len() < BATCH {
                let room = BATCH - lines.len();
                let more = told.recv_many(&mut lines, room);
                // Nothing more will come, or not soon.
                if matches!(timeout_at(until, more).await, Ok(0) | Err(_)) {
                    break;
                }
            }
            self.append(lines).await;
        }
    }

    async fn append(&self, lines: Vec<String>) {
        let told = lines.len() as u64;
        let taken = match self.metadata.append_job_lines(self.claim, lines).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::warn!(job = self.claim.id, lines = told, %error, "could not write what a job found");
                0
            }
        };
        unlisted(&self.tally, told.saturating_sub(taken));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metadata::{JOB_LINES_MAX, Metadata, NewJob};
    use serde_json::json;

    use super::{Earlier, Lines};
    use crate::clock::Fake;
    use crate::jobs::live::Tally;

    async fn world() -> (tempfile::TempDir, Metadata, metadata::Claim) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join(metadata::FILE_NAME);
        let metadata = Metadata::open(&file, Arc::new(Fake::at(1_000_000))).expect("opens");
        let job = NewJob {
            kind: "gc".into(),
            unique_key: "gc".into(),
            payload: "{}".into(),
        };
        metadata.queue_job(job).await.expect("queues");
        let claimed = metadata.claim_job("p", 1_000_000, None).await;
        let claim = claimed.expect("answers").expect("is due").claim;
        (directory, metadata, claim)
    }

    async fn told(metadata: &Metadata, job: i64) -> Vec<String> {
        let lines = metadata.job_lines(job, 0, u32::MAX).await.expect("reads");
        lines.into_iter().map(|line| line.line).collect()
    }

    #[tokio::test]
    async fn what_was_told_is_there_when_the_lines_are_finished() {
        let (_directory, metadata, claim) = world().await;
        let tally = Tally::default();
        let mut lines = Lines::of_job(&metadata, claim, &tally, Earlier::Kept);
        for number in 0..1234 {
            lines.tell(&json!({"n": number}));
        }
        lines.finish().await;
        let expected: Vec<_> = (0..1234).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(told(&metadata, claim.id).await, expected);
        assert_eq!(tally.now().unlisted, 0);
    }

    #[tokio::test]
    async fn a_second_run_adds_to_the_lines_of_the_first_or_begins_anew() {
        let (_directory, metadata, claim) = world().await;
        let tally = Tally::default();
        for (earlier, number) in [
            (Earlier::Kept, 1),
            (Earlier::Kept, 2),
            (Earlier::Forgotten, 3),
        ] {
            let mut lines = Lines::of_job(&metadata, claim, &tally, earlier);
            lines.tell(&number);
            lines.finish().await;
            let expected: &[&str] = match number {
                1 => &["1"],
                2 => &["1", "2"],
                _ => &["3"],
            };
            assert_eq!(told(&metadata, claim.id).await, expected);
        }
    }

    #[tokio::test]
    async fn lines_without_a_place_are_counted_and_nothing_fails() {
        let (_directory, metadata, claim) = world().await;
        let tally = Tally::default();
        let mut lines = Lines::of_job(&metadata, claim, &tally, Earlier::Kept);
        for _ in 0..JOB_LINES_MAX + 3 {
            lines.tell(&1);
        }
        lines.finish().await;
        assert_eq!(tally.now().unlisted, 3);
        metadata.close().await;
        let mut lines = Lines::of_job(&metadata, claim, &tally, Earlier::Forgotten);
        lines.tell(&1);
        lines.finish().await;
        assert_eq!(tally.now().unlisted, 4);
    }
}
