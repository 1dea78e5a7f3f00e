//! Open uploads: the `uploads` section, and Distribution's `storage.maintenance.uploadpurging`.

use std::time::Duration;

use super::duration::parse_duration;
use super::problems::Problems;
use super::section::{Section, switch};

/// What bounds open uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploads {
    /// The most one client may have open (`uploads.maxpersubject`; default 1000, `None` for 0: no limit).
    pub maxpersubject: Option<u64>,
    /// How abandoned ones are purged; `None` where they are not (`storage.maintenance.uploadpurging.enabled: false`).
    pub purging: Option<UploadPurging>,
}

/// How abandoned uploads are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPurging {
    /// How long after its last piece an upload is abandoned: the smaller one of `storage.maintenance.uploadpurging.age` and
    /// `uploads.maxage`, of those that are set (default 168 h).
    pub age: Duration,
    /// How often they are looked for, the first time so long after the start
    /// (`storage.maintenance.uploadpurging.interval`; default 24 h).
    pub interval: Duration,
    /// Whether they are only logged (`storage.maintenance.uploadpurging.dryrun`; default false).
    pub dryrun: bool,
}

impl Default for UploadPurging {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(168 * 3600),
            interval: Duration::from_secs(24 * 3600),
            dryrun: false,
        }
    }
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            maxpersubject: Some(1000),
            purging: Some(UploadPurging::default()),
        }
    }
}

/// Reads both sections.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Uploads {
    let defaults = Uploads::default();
    let section = root.section("uploads");
    let maxpersubject = section.parse("maxpersubject", problems, parse_count);
    let purging = root
        .section("storage")
        .section("maintenance")
        .section("uploadpurging");
    let enabled = purging.parse("enabled", problems, switch).unwrap_or(true);
    let maxage = section.parse("maxage", problems, parse_duration);
    if !enabled && let Some(field) = section.field("maxage", problems) {
        field.warning(
            problems,
            "has no effect while storage.maintenance.uploadpurging.enabled is false",
        );
    }
    let age = purging.parse("age", problems, some_time);
    let interval = purging.parse("interval", problems, some_time);
    let dryrun = purging.switch("dryrun", problems);
    let built_in = UploadPurging::default();
    let ages = [age, maxage.filter(|age| !age.is_zero())];
    Uploads {
        maxpersubject: maxpersubject.map_or(defaults.maxpersubject, |most| {
            Some(most).filter(|most| *most > 0)
        }),
        purging: enabled.then_some(UploadPurging {
            age: ages.into_iter().flatten().min().unwrap_or(built_in.age),
            interval: interval.unwrap_or(built_in.interval),
            dryrun,
        }),
    }
}

fn parse_count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number of uploads"))
}

fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all")),
        time => Ok(time),
    }
}
