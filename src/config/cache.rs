//! The `cache` section: how much mirrored content is kept. Local repositories are never bounded by it.

use std::time::Duration;

use oci::Glob;

use super::problems::Problems;
use super::section::Section;

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of the disk's size, at most 100.
    Percent(u8),
}

impl Space {
    /// Returns the bytes this is on a disk of `disk` bytes.
    pub fn on(self, disk: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk / 100 * u64::from(percent),
        }
    }
}

/// What bounds mirrored content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The most bytes of it (`cache.maxsize`; default none: until `minfree`).
    pub maxsize: Option<Space>,
    /// What stays free on the disk (`cache.minfree`; default 10 percent).
    pub minfree: Space,
    /// Percent of `maxsize` at which evicting starts (`cache.highwatermark`; default 95).
    pub highwatermark: u8,
    /// Percent of `maxsize` at which it stops (`cache.lowwatermark`; default 85).
    pub lowwatermark: u8,
    /// Evicts what nobody pulled for so long (`cache.maxage`; default never).
    pub maxage: Option<Duration>,
    /// Images that are never evicted, over `<mirror>/<repository>:<tag>` (`cache.pin`; default none).
    pub pin: Vec<Glob>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            maxsize: None,
            minfree: Space::Percent(10),
            highwatermark: 95,
            lowwatermark: 85,
            maxage: None,
            pin: Vec::new(),
        }
    }
}

/// Reads the section.
pub(super) fn read(_root: &Section<'_>, _problems: &mut Problems) -> Cache {
    Cache::default()
}
