//! How the endpoints of one upstream stand: which may be asked now, and what their answers told.
//!
//! Shared by everyone who asks. The locks are held for a look or a note only, never while something is asked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::breaker::{CircuitBreaker, Outlook, Pass};
use super::error::Error;
use super::rate_limit::{Limited, Quota, Told};
use crate::clock::Clock;
use crate::telemetry::{Breaker, Kind, Metrics};

/// How the endpoints of one upstream stand.
pub(super) struct Health {
    upstream: Arc<str>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Told whenever a breaker changes.
    changed: Notify,
}

struct State {
    endpoints: Vec<Endpoint>,
    quota: Quota,
}

#[derive(Default)]
struct Endpoint {
    breaker: CircuitBreaker,
    /// By kind, because some upstreams limit manifests and let blobs through.
    limited: Vec<(Kind, Limited)>,
}

impl Endpoint {
    fn limit(&self, kind: Kind, now: i64) -> Option<u64> {
        let mut limits = self.limited.iter();
        let (_, limited) = limits.find(|(of, _)| *of == kind)?;
        limited.left(now)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// What may be asked of an endpoint now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// As the breaker says.
    Breaker(Outlook),
    /// Nothing: it answered 429 and wants to be left alone.
    Limited(Error),
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The endpoint answered.
    Answered,
    /// It answered 429 with this `Retry-After`.
    Limited(Option<String>),
    /// It is in trouble.
    Failed(Error),
}

impl Health {
    /// Starts with `count` endpoints in good health.
    pub(super) fn new(
        upstream: Arc<str>,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        count: usize,
    ) -> Self {
        for position in 0..count {
            metrics.breaker(&upstream, position, Breaker::Closed);
        }
        metrics.upstream_healthy(&upstream, true);
        let mut endpoints = Vec::new();
        endpoints.resize_with(count, Endpoint::default);
        Self {
            upstream,
            metrics,
            clock,
            state: Mutex::new(State {
                endpoints,
                quota: Quota::default(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment, so that a panic elsewhere cannot have torn it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.clock.monotonic_micros()
    }

    /// Returns whether the endpoint at `position` may be asked for a `kind` now.
    pub(super) fn door(&self, position: usize, kind: Kind) -> Door {
        let now = self.now();
        let state = self.state();
        let endpoint = &state.endpoints[position];
        match (endpoint.breaker.outlook(now), endpoint.limit(kind, now)) {
            (Outlook::Closed, Some(seconds)) => Door::Limited(Error::RateLimited {
                retry_after: Some(seconds.to_string()),
            }),
            (outlook, _) => Door::Breaker(outlook),
        }
    }

    /// Begins an ordinary request to the endpoint at `position`.
    pub(super) fn begin(self: &Arc<Self>, position: usize, kind: Kind) -> Attempt {
        let pass = self.state().endpoints[position].breaker.pass();
        self.attempt(position, kind, pass)
    }

    /// Begins the request that finds out whether the endpoint at `position` is well again; `None` when it is not
    /// time, or somebody else finds out.
    pub(super) fn begin_probe(self: &Arc<Self>, position: usize, kind: Kind) -> Option<Attempt> {
        let now = self.now();
        let pass = self.state().endpoints[position].breaker.probe(now)?;
        self.tell(position);
        Some(self.attempt(position, kind, pass))
    }

    fn attempt(self: &Arc<Self>, position: usize, kind: Kind, pass: Pass) -> Attempt {
        Attempt {
            health: Arc::clone(self),
            position,
            kind,
            pass,
            over: false,
        }
    }

    /// Returns when the probe of the endpoint at `position` is over, at once when there is none.
    pub(super) async fn probe_over(&self, position: usize) {
        self.until(position, |outlook| match outlook {
            Outlook::Probing(_) => None,
            Outlook::Closed | Outlook::Resting(_) | Outlook::Due(_) => Some(()),
        })
        .await;
    }

    /// Returns the error with which the endpoint at `position` fell into trouble, once it did.
    pub(super) async fn trouble(&self, position: usize) -> Error {
        self.until(position, |outlook| match outlook {
            Outlook::Closed => None,
            Outlook::Resting(error) | Outlook::Due(error) | Outlook::Probing(error) => Some(error),
        })
        .await
    }

    async fn until<T>(&self, position: usize, found: impl Fn(Outlook) -> Option<T>) -> T {
        loop {
            // Before the look, so that no change in between is missed.
            let changed = self.changed.notified();
            let outlook = self.state().endpoints[position].breaker.outlook(self.now());
            if let Some(found) = found(outlook) {
                return found;
            }
            changed.await;
        }
    }

    /// Takes note of what an answer told of the rate limit.
    pub(super) fn note_quota(&self, told: &Told) {
        let now = self.now();
        self.state().quota.note(told, now);
        if let Some(remaining) = told.remaining {
            self.metrics.ratelimit_remaining(&self.upstream, remaining);
        }
    }

    /// Returns which endpoints are being asked.
    pub(super) fn healthy(&self) -> Vec<bool> {
        let state = self.state();
        let is_closed = |endpoint: &Endpoint| endpoint.breaker.state() == Breaker::Closed;
        state.endpoints.iter().map(is_closed).collect()
    }

    /// Returns what is left of the rate limit, where that is known.
    pub(super) fn quota_left(&self) -> Option<i64> {
        let now = self.now();
        self.state().quota.remaining(now)
    }

    /// Returns whether an endpoint may be asked that nobody waits for: enough is left, none said 429 lately, and not
    /// all are in trouble.
    pub(super) fn spare(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let may_ask = |endpoint: &Endpoint| match endpoint.breaker.outlook(now) {
            Outlook::Closed | Outlook::Due(_) => {
                let mut limits = endpoint.limited.iter();
                limits.all(|(_, limited)| limited.left(now).is_none())
            }
            Outlook::Resting(_) | Outlook::Probing(_) => false,
        };
        !state.quota.is_low(now) && state.endpoints.iter().any(may_ask)
    }

    /// Tells metrics and those who wait how the endpoint at `position` stands.
    fn tell(&self, position: usize) {
        let breaker = self.state().endpoints[position].breaker.state();
        self.metrics.breaker(&self.upstream, position, breaker);
        let healthy = self.healthy().contains(&true);
        self.metrics.upstream_healthy(&self.upstream, healthy);
        self.changed.notify_waiters();
    }
}

/// A request to an endpoint; one that is dropped told nothing.
pub(super) struct Attempt {
    health: Arc<Health>,
    position: usize,
    kind: Kind,
    pass: Pass,
    over: bool,
}

impl Attempt {
    /// Notes what became of the request.
    pub(super) fn conclude(mut self, verdict: Verdict) {
        self.over = true;
        let health = &self.health;
        let (now, wall) = (health.now(), health.clock.wall_micros());
        let mut state = health.state();
        let endpoint = &mut state.endpoints[self.position];
        let before = endpoint.breaker.state();
        match verdict {
            Verdict::Answered => endpoint.breaker.answered(),
            Verdict::Limited(retry_after) => {
                let limited = Limited::read(retry_after.as_deref(), now, wall);
                endpoint.limited.retain(|(kind, _)| *kind != self.kind);
                endpoint.limited.push((self.kind, limited));
                endpoint.breaker.answered();
            }
            Verdict::Failed(error) => {
                endpoint.breaker.failed(self.pass, error.clone(), now);
                if before == Breaker::Closed && endpoint.breaker.state() == Breaker::Open {
                    let upstream = &*health.upstream;
                    tracing::warn!(upstream, endpoint = self.position, %error, "an endpoint is in trouble and is left alone");
                }
            }
        }
        let after = endpoint.breaker.state();
        drop(state);
        if before != after {
            if after == Breaker::Closed {
                let upstream = &*health.upstream;
                tracing::info!(
                    upstream,
                    endpoint = self.position,
                    "an endpoint is well again"
                );
            }
            health.tell(self.position);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            let mut state = self.health.state();
            state.endpoints[self.position].breaker.given_up(self.pass);
            drop(state);
            self.health.tell(self.position);
        }
    }
}
