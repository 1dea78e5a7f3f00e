//! The `gc` section: what frees the space of content that nothing names any more, and what protects content from it.

use std::time::Duration;

use super::duration::parse_duration;
use super::problems::Problems;
use super::section::{Section, switch};

/// How the collector works, and what protects content from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gc {
    /// Whether it runs by itself (`gc.enabled`; default true). Asked for, it runs in any case.
    pub enabled: bool,
    /// How long content that nothing names any more is kept (`gc.grace`; default 24 h).
    pub grace: Duration,
    /// How long an answer that lets a client skip an upload protects the digest (`gc.lease`; default 1 h).
    pub lease: Duration,
    /// Whether manifests go that no tag names and nothing else keeps (`gc.deleteuntagged`; default false).
    pub deleteuntagged: bool,
    /// How long it waits from one run to the next (`gc.interval`; default 1 h).
    pub interval: Duration,
    /// The most files it deletes in a second (`gc.rate`; default 0: no limit).
    pub rate: u64,
    /// The grace while less than `cache.minfree` of the disk is free, if it is shorter (`gc.lowspacegrace`; default
    /// 10 min).
    pub lowspacegrace: Duration,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            enabled: true,
            grace: Duration::from_hours(24),
            lease: Duration::from_hours(1),
            deleteuntagged: false,
            interval: Duration::from_hours(1),
            rate: 0,
            lowspacegrace: Duration::from_mins(10),
        }
    }
}

/// Reads the section.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Gc {
    let section = root.section("gc");
    let defaults = Gc::default();
    let enabled = section.parse("enabled", problems, switch);
    let grace = section.parse("grace", problems, parse_duration);
    let lease = section.parse("lease", problems, |text| {
        not_zero(text, "a lease of no time protects nothing")
    });
    let deleteuntagged = section.parse("deleteuntagged", problems, switch);
    let interval = section.parse("interval", problems, |text| {
        not_zero(
            text,
            "without a pause it would never end; enabled: false turns it off",
        )
    });
    let rate = section.parse("rate", problems, |text| {
        let rate = text.parse();
        rate.map_err(|_| {
            format!("{text:?} is not a whole number of files per second; 0 is no limit")
        })
    });
    let lowspacegrace = section.parse("lowspacegrace", problems, parse_duration);
    Gc {
        enabled: enabled.unwrap_or(defaults.enabled),
        grace: grace.unwrap_or(defaults.grace),
        lease: lease.unwrap_or(defaults.lease),
        deleteuntagged: deleteuntagged.unwrap_or(defaults.deleteuntagged),
        interval: interval.unwrap_or(defaults.interval),
        rate: rate.unwrap_or(defaults.rate),
        lowspacegrace: lowspacegrace.unwrap_or(defaults.lowspacegrace),
    }
}

fn not_zero(text: &str, otherwise: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(otherwise.to_owned()),
        duration => Ok(duration),
    }
}
