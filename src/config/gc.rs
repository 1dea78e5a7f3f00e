//! The `gc` section, as far as pushes depend on it.

use std::time::Duration;

use super::duration::parse_duration;
use super::problems::Problems;
use super::section::Section;

/// What protects content from the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gc {
    /// How long an answer that lets a client skip an upload protects the digest (`gc.lease`; default 1 h).
    pub lease: Duration,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3600),
        }
    }
}

/// Reads the section.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Gc {
    let lease = root
        .section("gc")
        .parse("lease", problems, |text| match parse_duration(text)? {
            Duration::ZERO => Err("a lease of no time protects nothing".to_owned()),
            lease => Ok(lease),
        });
    lease.map_or_else(Gc::default, |lease| Gc { lease })
}
