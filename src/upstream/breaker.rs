//! When an endpoint in trouble is left alone, and who finds out whether the trouble is over.
//!
//! A pure state machine: what happened and the time are arguments, in microseconds of a monotonic clock.
//!
//! ```text
//!            failure                 pause over, a probe begins
//!  closed ───────────▶ open (resting) ─────────────────────▶ probing
//!    ▲ ▲                 ▲    pause doubles                     │ │
//!    │ └── any answer ───┘◀──────────────── probe fails ────────┘ │
//!    └───────────────────────────────────── probe is answered ────┘
//! ```

use super::error::Error;
use crate::telemetry;

/// How long an endpoint is left alone after its first failure.
const FIRST_PAUSE: i64 = 1_000_000;
/// The longest pause; it doubles with every failed probe until then.
const LONGEST_PAUSE: i64 = 30_000_000;

/// What may be done with an endpoint now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It may be asked.
    Closed,
    /// It failed so, and is left alone.
    Resting(Error),
    /// It failed so, and the pause is over: one request may find out.
    Due(Error),
    /// It failed so, and somebody is finding out.
    Probing(Error),
}

/// A request that was let through; what becomes of it is told with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// How often the breaker had opened when the request began.
    openings: u64,
    is_probe: bool,
}

/// The breaker of one endpoint.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    trouble: Option<Trouble>,
    openings: u64,
}

#[derive(Debug)]
struct Trouble {
    error: Error,
    pause: i64,
    until: i64,
    probing: bool,
}

impl CircuitBreaker {
    /// Returns what may be done at `now`.
    pub(super) fn outlook(&self, now: i64) -> Outlook {
        match &self.trouble {
            None => Outlook::Closed,
            Some(trouble) if trouble.probing => Outlook::Probing(trouble.error.clone()),
            Some(trouble) if now < trouble.until => Outlook::Resting(trouble.error.clone()),
            Some(trouble) => Outlook::Due(trouble.error.clone()),
        }
    }

    /// Returns the state as metrics show it.
    pub(super) fn state(&self) -> telemetry::Breaker {
        match &self.trouble {
            None => telemetry::Breaker::Closed,
            Some(trouble) if trouble.probing => telemetry::Breaker::Probing,
            Some(_) => telemetry::Breaker::Open,
        }
    }

    /// Lets an ordinary request through, whatever the state.
    pub(super) fn pass(&self) -> Pass {
        Pass {
            openings: self.openings,
            is_probe: false,
        }
    }

    /// Lets the one request through that finds out; `None` unless the endpoint is due.
    pub(super) fn probe(&mut self, now: i64) -> Option<Pass> {
        let trouble = self.trouble.as_mut()?;
        if trouble.probing || now < trouble.until {
            return None;
        }
        trouble.probing = true;
        Some(Pass {
            openings: self.openings,
            is_probe: true,
        })
    }

    /// Notes that a request was answered, which ends any trouble.
    pub(super) fn answered(&mut self) {
        self.trouble = None;
    }

    /// Notes that the request of `pass` failed. Only a probe's failure makes a pause longer, and a request that
    /// began before the breaker last opened tells nothing new: a crowd that fails together counts once.
    pub(super) fn failed(&mut self, pass: Pass, error: Error, now: i64) {
        match &mut self.trouble {
            Some(trouble) if pass.is_probe && trouble.probing => {
                trouble.pause = trouble.pause.saturating_mul(2).min(LONGEST_PAUSE);
                trouble.until = now.saturating_add(trouble.pause);
                trouble.probing = false;
                trouble.error = error;
            }
            // It is not even there any more.
            Some(trouble) if matches!(trouble.error, Error::Failing { .. }) => {
                trouble.error = error;
            }
            Some(_) => {}
            None if pass.openings == self.openings => {
                self.openings += 1;
                self.trouble = Some(Trouble {
                    error,
                    pause: FIRST_PAUSE,
                    until: now.saturating_add(FIRST_PAUSE),
                    probing: false,
                });
            }
            None => {}
        }
    }

    /// Notes that the request of `pass` was given up before it told anything: the next one may find out.
    pub(super) fn given_up(&mut self, pass: Pass) {
        if let Some(trouble) = &mut self.trouble
            && pass.is_probe
        {
            trouble.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CircuitBreaker, Error, Outlook};

    const SECOND: i64 = 1_000_000;

    fn error(reason: &str) -> Error {
        Error::Unavailable {
            reason: reason.to_owned(),
        }
    }

    fn open_at(now: i64) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        let pass = breaker.pass();
        breaker.failed(pass, error("first"), now);
        breaker
    }

    #[test]
    fn it_opens_on_the_first_failure_for_a_second() {
        let breaker = open_at(7);
        assert_eq!(breaker.outlook(7), Outlook::Resting(error("first")));
        let last = breaker.outlook(7 + SECOND - 1);
        assert_eq!(last, Outlook::Resting(error("first")));
        assert_eq!(breaker.outlook(7 + SECOND), Outlook::Due(error("first")));
    }

    #[test]
    fn the_pause_doubles_with_every_failed_probe_up_to_half_a_minute() {
        let mut breaker = open_at(0);
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let pause = pause * SECOND;
            assert_eq!(breaker.probe(now + pause - 1), None, "{pause}");
            now += pause;
            let probe = breaker.probe(now).expect("the pause is over");
            breaker.failed(probe, error("again"), now);
            assert_eq!(breaker.outlook(now), Outlook::Resting(error("again")));
        }
        let probe = breaker.probe(now + 30 * SECOND).expect("the pause is over");
        breaker.answered();
        assert_eq!(breaker.outlook(now), Outlook::Closed);
        breaker.failed(probe, error("late"), now);
        let after = breaker.outlook(now + SECOND);
        assert_eq!(after, Outlook::Due(error("late")), "it begins anew");
    }

    #[test]
    fn there_is_one_probe_at_a_time() {
        let mut breaker = open_at(0);
        let probe = breaker.probe(SECOND).expect("the pause is over");
        assert_eq!(breaker.probe(SECOND), None);
        assert_eq!(breaker.outlook(SECOND), Outlook::Probing(error("first")));
        breaker.given_up(probe);
        assert_eq!(breaker.outlook(SECOND), Outlook::Due(error("first")));
        assert!(breaker.probe(SECOND).is_some());
    }

    #[test]
    fn a_crowd_that_fails_together_counts_once() {
        let mut breaker = CircuitBreaker::default();
        let crowd = [breaker.pass(); 8];
        for pass in crowd {
            breaker.failed(pass, error("crowd"), 0);
        }
        let probe = breaker.probe(SECOND).expect("one second, not 128");
        breaker.failed(crowd[0], error("late"), SECOND);
        assert_eq!(breaker.outlook(SECOND), Outlook::Probing(error("crowd")));
        breaker.given_up(probe);
        breaker.answered();
        breaker.failed(crowd[0], error("later"), SECOND);
        assert_eq!(breaker.outlook(SECOND), Outlook::Closed);
    }

    #[test]
    fn an_answer_to_anybody_ends_the_trouble_and_a_failure_during_it_changes_nothing() {
        let mut breaker = open_at(0);
        let insistent = breaker.pass();
        breaker.failed(insistent, error("resume"), 0);
        assert_eq!(breaker.outlook(0), Outlook::Resting(error("first")));
        breaker.given_up(insistent);
        breaker.answered();
        assert_eq!(breaker.outlook(0), Outlook::Closed);
    }
}
