//! What is told of requests to mirrors: one count each, and for everything that was not served from here a line that says
//! why, and how long it took.

use std::fmt::Display;
use std::time::Instant;

use super::error::Error;
use super::manifest::{CacheState, ManifestFound};
use super::remotes::{Mirror, Target};
use crate::telemetry::{CacheResult, Kind};

/// Why something was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissReason {
    /// Nothing of it is stored.
    NotStored,
    /// Nobody asked for this tag yet.
    NeverAsked,
    /// What is stored is damaged.
    Damaged,
    /// The tag was due, and the upstream has moved it.
    Moved,
    /// The tag was due, and the upstream's HEAD does not tell what it points to.
    Untold,
    /// Nothing of it is stored, and there is no room to keep it.
    NoRoom,
    /// Lists are always asked for.
    List,
}

impl MissReason {
    /// Returns the words in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStored => "not stored",
            Self::NeverAsked => "never asked",
            Self::Damaged => "damaged",
            Self::Moved => "tag due and moved",
            Self::Untold => "tag due and the upstream's HEAD tells no digest",
            Self::NoRoom => "no room",
            Self::List => "a list is always asked for",
        }
    }
}

/// How a miss came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Why.
    pub reason: MissReason,
    /// Whether another request had asked already.
    pub joined: bool,
}

impl CacheState {
    /// Returns how metrics call it.
    pub fn result(&self) -> CacheResult {
        match self {
            Self::Hit => CacheResult::Hit,
            Self::Revalidated => CacheResult::Revalidated,
            Self::Stale { .. } => CacheResult::Stale,
            Self::Miss => CacheResult::Miss,
        }
    }
}

/// A request being answered, for its line in the log.
pub(super) struct Told<'a> {
    target: &'a Target,
    kind: Kind,
    reference: &'a (dyn Display + Sync),
    began: Instant,
}

impl<'a> Told<'a> {
    /// Starts to measure.
    pub(super) fn begin(
        target: &'a Target,
        kind: Kind,
        reference: &'a (dyn Display + Sync),
    ) -> Self {
        Self {
            target,
            kind,
            reference,
            began: Instant::now(),
        }
    }

    /// Tells why a manifest was fetched, or is served stale.
    pub(super) fn found(&self, found: &ManifestFound) {
        if let Some(miss) = found.miss {
            self.miss(miss);
        }
        if let CacheState::Stale { reason } = &found.cache {
            self.stale(reason);
        }
    }

    /// Tells why it is served from here although the upstream could not confirm it.
    pub(super) fn stale(&self, reason: &str) {
        tracing::warn!(
            upstream = %self.target.remote.settings.name,
            repository = %self.target.repository,
            reference = %self.reference,
            kind = self.kind.as_str(),
            reason,
            took_ms = self.took_ms(),
            "serving stale"
        );
    }

    /// Tells why it was a miss.
    pub(super) fn miss(&self, miss: Miss) {
        tracing::info!(
            upstream = %self.target.remote.settings.name,
            repository = %self.target.repository,
            reference = %self.reference,
            kind = self.kind.as_str(),
            reason = miss.reason.as_str(),
            joined = miss.joined,
            took_ms = self.took_ms(),
            "a miss"
        );
    }

    /// Tells why it was refused or failed.
    pub(super) fn error(&self, error: &Error) {
        tracing::info!(
            upstream = %self.target.remote.settings.name,
            repository = %self.target.repository,
            reference = %self.reference,
            kind = self.kind.as_str(),
            reason = %error,
            took_ms = self.took_ms(),
            "not served"
        );
    }

    fn took_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Mirror {
    /// Counts a client's request and how it was answered, and `saved` bytes that are sent without having been fetched for
    /// it. Called once per request, by what answers it.
    pub fn count(&self, target: &Target, kind: Kind, result: CacheResult, saved: u64) {
        let upstream = &target.remote.label;
        self.metrics.mirror_request(upstream, kind, result);
        if saved > 0 {
            self.metrics.bytes_saved(upstream, saved);
        }
    }
}
