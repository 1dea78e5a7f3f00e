//! The `warm` list: images that are fetched on a schedule, before anybody asks.

use std::fmt;

use oci::{Digest, Glob, RepositoryName};

use super::mirror_settings::platforms;
use super::mirrors::Mirrors;
use super::patterns::{pattern_fields, tag_pattern};
use super::platform::Platform;
use super::problems::Problems;
use super::schedule::schedule_of_cron;
use super::section::{Field, Section};

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

impl fmt::Display for WarmImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            WarmReference::Tags(tags) => write!(f, "{}:{tags}", self.repository),
            WarmReference::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
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

/// Reads the list; the images' mirrors are among `mirrors`.
pub(super) fn read(root: &Section<'_>, mirrors: &Mirrors, problems: &mut Problems) -> Vec<Warm> {
    let entries = root.items("warm");
    let read = entries.iter().map(|entry| warm(entry, mirrors, problems));
    read.flatten().collect()
}

fn warm(entry: &Section<'_>, mirrors: &Mirrors, problems: &mut Problems) -> Option<Warm> {
    let platforms = platforms(entry, problems);
    let list = entry.section("images");
    let fields = pattern_fields(&list, problems);
    if list.elements().is_empty() {
        entry.error(
            problems,
            "images is missing: it lists what is fetched, like docker.io/library/debian:12",
        );
    }
    let read = |field: &Field<'_>| field.parse(problems, |text| image(text, mirrors));
    let images = fields.iter().filter_map(read).collect();
    let Some(schedule) = entry.field("schedule", problems) else {
        entry.error(
            problems,
            "schedule is missing: it says when, like \"0 3 * * *\" for three o'clock (UTC)",
        );
        return None;
    };
    let schedule = schedule.parse(problems, schedule_of_cron)?;
    Some(Warm {
        schedule,
        images,
        platforms,
    })
}

/// Reads an image: `<mirror>/<repository>`, and then nothing, `:<tag pattern>` or `@<digest>`.
fn image(text: &str, mirrors: &Mirrors) -> Result<WarmImage, String> {
    let wrong =
        |why: &str| format!("{text:?} is not an image like docker.io/library/debian:12: {why}");
    let (mirror, rest) = text
        .split_once('/')
        .ok_or_else(|| wrong("no mirror stands in front"))?;
    if mirrors.by_name(mirror).is_none() {
        return Err(wrong(&format!("no mirror is named {mirror:?}")));
    }
    let (path, reference) = match (rest.split_once('@'), rest.split_once(':')) {
        (Some((path, digest)), _) => {
            let digest = Digest::parse(digest).map_err(|error| wrong(&error.to_string()))?;
            (path, WarmReference::Digest(digest))
        }
        (None, Some((path, tag))) => {
            let tags = tag_pattern(tag).map_err(|reason| wrong(&reason))?;
            (path, WarmReference::Tags(tags))
        }
        (None, None) => {
            let latest = Glob::parse("latest").map_err(|error| wrong(&error.to_string()))?;
            (rest, WarmReference::Tags(latest))
        }
    };
    if path.contains(':') {
        return Err(wrong(
            "a tag and a digest; only one of the two can be meant",
        ));
    }
    let path = RepositoryName::parse(path).map_err(|error| wrong(&error.to_string()))?;
    let repository =
        RepositoryName::join(mirror, &path).map_err(|error| wrong(&error.to_string()))?;
    Ok(WarmImage {
        repository: repository.to_string(),
        reference,
    })
}
