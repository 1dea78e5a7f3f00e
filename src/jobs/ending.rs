//! How a run of a job ends: done, failed, or put back because an upstream has nothing to spare. The verdict is pure;
//! writing it down is the runner's.

use metadata::{Outcome, Postponed};

use super::failure::Failure;
use super::view::Progress;

/// How long a job waits for an upstream to have something to spare before it looks again, and how long it may get
/// nowhere so before it gives up; in microseconds.
const PAUSE: i64 = 60 * 1_000_000;
const PATIENCE: i64 = 3600 * 1_000_000;

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is over.
    Over(Outcome),
    /// It goes on later.
    Later(Postponed),
}

/// What was known of a job before it ran this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) progress: Progress,
    /// Since when it got nowhere, in microseconds since 1970.
    pub(super) stalled_since: Option<i64>,
}

/// Returns what becomes of a job that ended so at `now` (microseconds since 1970) with this progress.
pub(super) fn ending(
    ended: Result<(), Failure>,
    before: Before,
    progress: Progress,
    now: i64,
) -> Ending {
    let reason = match ended {
        Ok(()) => return Ending::Over(Outcome::Done),
        Err(Failure::Final(reason)) => return Ending::Over(Outcome::Failed(reason)),
        Err(Failure::Scarce(reason)) => reason,
    };
    let reach = |progress: Progress| {
        let Progress {
            images_done,
            layers_done,
            bytes_done,
            ..
        } = progress;
        (images_done, layers_done, bytes_done)
    };
    let stalled_since = if reach(progress) > reach(before.progress) {
        now
    } else {
        before.stalled_since.unwrap_or(now)
    };
    if now.saturating_sub(stalled_since) >= PATIENCE {
        let minutes = PATIENCE / 60_000_000;
        return Ending::Over(Outcome::Failed(format!("{reason} for {minutes} minutes")));
    }
    Ending::Later(Postponed {
        pause_micros: PAUSE,
        // Later it counts from the start again; what it reached at most is what the next time is measured by.
        progress: Some(progress.max_of(before.progress).to_row()),
        reason: Some(reason),
        stalled_since: Some(stalled_since),
    })
}

#[cfg(test)]
mod tests {
    use metadata::{Outcome, Postponed};

    use super::{Before, Ending, PATIENCE, PAUSE, ending};
    use crate::jobs::failure::Failure;
    use crate::jobs::view::Progress;

    const NOW: i64 = 1_795_262_400_000_000;

    fn scarce() -> Result<(), Failure> {
        Err(Failure::Scarce("up.example has nothing to spare".into()))
    }

    fn layers(layers_done: u64) -> Progress {
        Progress {
            layers_done,
            ..Progress::default()
        }
    }

    fn before(progress: Progress, stalled_since: Option<i64>) -> Before {
        Before {
            progress,
            stalled_since,
        }
    }

    #[test]
    fn a_scarce_upstream_puts_the_job_back_for_a_while() {
        let put_back = ending(scarce(), before(layers(0), None), layers(2), NOW);
        let expected = Postponed {
            pause_micros: PAUSE,
            progress: Some(layers(2).to_row()),
            reason: Some("up.example has nothing to spare".into()),
            stalled_since: Some(NOW),
        };
        assert_eq!(put_back, Ending::Later(expected));
    }

    #[test]
    fn an_hour_without_any_gain_ends_the_wait() {
        let stalled = before(layers(2), Some(NOW - PATIENCE));
        let gave_up = ending(scarce(), stalled, layers(0), NOW);
        let reason = "up.example has nothing to spare for 60 minutes".to_owned();
        assert_eq!(gave_up, Ending::Over(Outcome::Failed(reason)));
    }

    #[test]
    fn a_gain_begins_the_hour_anew() {
        let stalled = before(layers(2), Some(NOW - PATIENCE));
        let Ending::Later(put_back) = ending(scarce(), stalled, layers(3), NOW) else {
            panic!("it brought a layer");
        };
        assert_eq!(put_back.stalled_since, Some(NOW));
        // A run that stops earlier than the one before has gained nothing, and forgets nothing.
        let stalled = before(layers(3), Some(NOW - PAUSE));
        let Ending::Later(put_back) = ending(scarce(), stalled, layers(1), NOW) else {
            panic!("an hour is not over");
        };
        assert_eq!(put_back.stalled_since, Some(NOW - PAUSE));
        assert_eq!(put_back.progress, Some(layers(3).to_row()));
    }
}
