//! The `cache` section: how much mirrored content is kept. Local repositories are never bounded by it.

use std::fmt;
use std::time::Duration;

use oci::Glob;

use super::duration::parse_duration;
use super::patterns::{image_pattern, patterns};
use super::problems::Problems;
use super::section::{Field, Section};
use super::size::{parse_percent, parse_space, size_text};

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

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&size_text(*bytes)),
            Self::Percent(percent) => write!(f, "{percent}% of the disk"),
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
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Cache {
    let section = root.section("cache");
    let defaults = Cache::default();
    let maxsize = section.parse("maxsize", problems, parse_space);
    let none = [Space::Bytes(0), Space::Percent(0)];
    let (highwatermark, lowwatermark) = watermarks(&section, &defaults, problems);
    let maxage = section.parse("maxage", problems, parse_duration);
    Cache {
        maxsize: maxsize.filter(|maxsize| !none.contains(maxsize)),
        minfree: section
            .parse("minfree", problems, minfree)
            .unwrap_or(defaults.minfree),
        highwatermark,
        lowwatermark,
        maxage: maxage.filter(|maxage| !maxage.is_zero()),
        pin: patterns(&section.section("pin"), image_pattern, problems),
    }
}

fn minfree(text: &str) -> Result<Space, String> {
    match parse_space(text)? {
        Space::Percent(100) => Err(format!(
            "{text:?} leaves no room: nothing could ever be stored"
        )),
        space => Ok(space),
    }
}

/// Reads both watermarks; the low one lies below the high one.
fn watermarks(section: &Section<'_>, defaults: &Cache, problems: &mut Problems) -> (u8, u8) {
    let high_field = section.field("highwatermark", problems);
    let low_field = section.field("lowwatermark", problems);
    let wrong = || (defaults.highwatermark, defaults.lowwatermark);
    let percent = |field: &Option<_>, default: u8, problems: &mut Problems| match field {
        Some(field) => Field::parse(field, problems, parse_percent),
        None => Some(default),
    };
    let high = percent(&high_field, defaults.highwatermark, problems);
    let low = percent(&low_field, defaults.lowwatermark, problems);
    let Some((high, low)) = high.zip(low) else {
        return wrong();
    };
    if low < high {
        return (high, low);
    }
    let reason = format!("lowwatermark ({low}%) does not lie below highwatermark ({high}%)");
    if let Some(field) = low_field.or(high_field) {
        field.error(problems, &reason);
    }
    wrong()
}
