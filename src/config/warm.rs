//! The `warm` list: images that are fetched on a schedule, before anybody asks.

use oci::Glob;

use super::platform::Platform;
use super::problems::Problems;
use super::section::Section;

/// Images to fetch at certain times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warm {
    /// When, as five fields of cron in UTC (`warm[].schedule`); checked.
    pub schedule: String,
    /// Which (`warm[].images`), as `<mirror>/<repository>:<tag>` or `@<digest>`; the tag may be a pattern.
    pub images: Vec<WarmImage>,
    /// The platforms that are fetched of an index (`warm[].platforms`; default: all it lists).
    pub platforms: Vec<Platform>,
}

/// One image of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmImage {
    /// The repository with the mirror's name in front, as written.
    pub repository: String,
    /// Its tag (a pattern) or digest, as written; `latest` where there is none.
    pub reference: WarmReference,
}

/// What of a repository is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmReference {
    /// Every tag that fits.
    Tags(Glob),
    /// One manifest.
    Digest(oci::Digest),
}

/// Reads the list.
pub(super) fn read(_root: &Section<'_>, _problems: &mut Problems) -> Vec<Warm> {
    Vec::new()
}
