//! The `scrub` section: when stored blobs are hashed again, and how fast.

use super::problems::Problems;
use super::schedule::schedule_of_cron;
use super::section::Section;
use super::size::parse_size;

/// How stored blobs are hashed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrub {
    /// When, as five fields of cron in UTC (`scrub.schedule`; default empty: only when asked); checked.
    pub schedule: Option<String>,
    /// The most bytes that are read in a second (`scrub.rate`; default 50MB; 0 is no limit).
    pub rate: u64,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            schedule: None,
            rate: 50_000_000,
        }
    }
}

/// Reads the section.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Scrub {
    let section = root.section("scrub");
    let schedule = section.parse("schedule", problems, |text| {
        if text.is_empty() {
            return Ok(None);
        }
        schedule_of_cron(text).map(Some)
    });
    let rate = section.parse("rate", problems, parse_size);
    Scrub {
        schedule: schedule.flatten(),
        rate: rate.unwrap_or(Scrub::default().rate),
    }
}
