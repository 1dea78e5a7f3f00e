//! Jobs, their lines, and schedules.

use super::{Operation, operation};
use crate::clock::tests::{HOUR, NOON, SECOND};
use crate::contract::interleaved::scenario::job;
use crate::{Outcome, Postponed, Tick};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation!(queue_job, "that is new", _facts, [job("another")]),
        operation!(queue_job, "that runs already", _facts, [job("running")]),
        operation!(claim_job, "by one", _facts, ["one", 60 * SECOND, None]),
        operation!(
            claim_job,
            "by another, of a kind",
            _facts,
            ["two", 60 * SECOND, Some("warm")]
        ),
        operation!(
            hold_job,
            "that runs",
            facts,
            [facts.running, "{\"done\":1}", HOUR]
        ),
        operation!(
            finish_job,
            "well",
            facts,
            [facts.running, Outcome::Done, None]
        ),
        operation!(
            postpone_job,
            "that runs",
            facts,
            [facts.running, postponed()]
        ),
        operation!(release_jobs_of_others, "at a start", _facts, ["q"]),
        operation!(forget_jobs, "that ended", _facts, [0, 0]),
        operation!(
            append_job_lines,
            "to one that runs",
            facts,
            [facts.running, vec!["1".into(), "2".into()]]
        ),
        operation!(clear_job_lines, "of one that runs", facts, [facts.running]),
        operation!(
            schedule_handled_until,
            "never seen before",
            _facts,
            ["nightly", NOON]
        ),
        operation!(
            take_tick,
            "of a schedule",
            _facts,
            [Tick {
                schedule: "nightly".into(),
                at: NOON + HOUR,
                job: job("another"),
            }]
        ),
    ]
}

fn postponed() -> Postponed {
    Postponed {
        pause_micros: HOUR,
        progress: None,
        reason: Some("scarce".into()),
        stalled_since: Some(NOON),
    }
}
