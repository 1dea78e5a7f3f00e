//! The client of one mirror's upstream, and how the upstream stands.

use std::sync::Arc;

use super::asking::Asking;
use super::error::BuildError;
use super::request::Requests;
use super::setup::prepare;
use super::via::{InstanceId, Via};
use crate::clock::Clock;
use crate::config::Mirror;
use crate::telemetry::Metrics;

/// How an upstream stands, as the last answers told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether any endpoint is being asked.
    pub healthy: bool,
    /// The endpoints, in the mirror's order.
    pub endpoints: Vec<EndpointStanding>,
    /// What is left of the rate limit, in requests, where the upstream tells it.
    pub ratelimit_remaining: Option<i64>,
}

/// How an endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStanding {
    /// Its URL as configured.
    pub url: String,
    /// Whether it is being asked.
    pub healthy: bool,
}

/// The client of one mirror's upstream. It keeps connections, tokens and how the upstream stands, and nothing else.
#[derive(Debug)]
pub struct Client {
    pub(super) requests: Arc<Requests>,
}

impl Client {
    /// Prepares a client of `mirror`, whose requests are counted in `metrics` and carry `instance` in `Via`; tokens
    /// and pauses end by the monotonic time of `clock`. Nothing is connected to or looked up, so this succeeds with
    /// every upstream down.
    ///
    /// # Errors
    /// When the mirror's URLs or credentials cannot be used, or TLS cannot be set up.
    pub fn new(
        mirror: &Mirror,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        instance: &InstanceId,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            requests: Arc::new(prepare(mirror, metrics, clock, instance)?),
        })
    }

    /// Returns the questions that can be put for a request that came along `via`.
    pub fn on_behalf_of<'a>(&'a self, via: &'a Via) -> Asking<'a> {
        Asking::new(self, via)
    }

    /// Returns how the upstream stands; nothing is asked for it.
    pub fn standing(&self) -> Standing {
        self.requests.standing()
    }

    /// Returns whether background work may ask now: no endpoint's trouble lasts, and enough is left of the rate limit.
    pub fn spare(&self) -> bool {
        self.requests.health.spare()
    }
}
