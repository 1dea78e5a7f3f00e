//! What a job is to do, checked before it is queued, and how it is written into its row: JSON with a version, so that
//! a later program knows what an earlier one meant.

use oci::{Digest, Glob, RepositoryName, Tag};
use serde::{Deserialize, Serialize};

use super::view::JobKind;
use crate::config::{Platform, WarmReference, parse_platform};

/// The version of the JSON written here.
const VERSION: u32 = 1;

/// Most images of one job.
const IMAGES: usize = 1000;

/// Most platforms of one job.
const PLATFORMS: usize = 64;

/// The longest image, in bytes: a repository's name, a separator, and the longest pattern.
const IMAGE_LENGTH: usize = 255 + 1 + 512;

/// Why a job makes no sense; the text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PayloadError {
    reason: String,
}

impl PayloadError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Fetch images before anybody asks for them.
    Warm(WarmImages),
    /// Remove mirrored content.
    Purge(PurgePattern),
}

/// Images to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmImages {
    images: Vec<String>,
    platforms: Vec<String>,
}

/// Mirrored content to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgePattern {
    pattern: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    job: Payload,
}

impl Payload {
    /// Returns what kind of work it is.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Warm(_) => JobKind::Warm,
            Self::Purge(_) => JobKind::Purge,
        }
    }

    /// Returns the JSON to store.
    pub(super) fn to_row(&self) -> String {
        let stored = Stored {
            version: VERSION,
            job: self.clone(),
        };
        serde_json::to_string(&stored).expect("strings and numbers can always be written as JSON")
    }

    /// Reads stored JSON and checks it like a new one.
    ///
    /// # Errors
    /// [`PayloadError`] for what a later version wrote.
    pub(super) fn from_row(text: &str) -> Result<Self, PayloadError> {
        let stored: Stored = serde_json::from_str(text)
            .map_err(|_| PayloadError::new("this version does not know such a job"))?;
        if stored.version != VERSION {
            let reason = format!(
                "this version does not know jobs of format {}",
                stored.version
            );
            return Err(PayloadError::new(reason));
        }
        Ok(match stored.job {
            Self::Warm(warm) => Self::Warm(WarmImages::new(warm.images, warm.platforms)?),
            Self::Purge(purge) => Self::Purge(PurgePattern::new(purge.pattern)?),
        })
    }

    /// Returns what makes two jobs the same.
    pub(super) fn unique_key(&self) -> String {
        let digest = Digest::of(oci::Algorithm::Sha256, self.to_row().as_bytes());
        format!("{}:{digest}", self.kind().name())
    }
}

impl WarmImages {
    /// Returns the job of fetching `images`, each `<mirror>/<repository>` with `:<tag>` (a pattern, `latest` without
    /// one) or `@<digest>`, for `platforms` such as `linux/amd64`; for all that an index lists when there are none.
    ///
    /// # Errors
    /// [`PayloadError`], naming what is wrong with which of them.
    pub fn new(images: Vec<String>, platforms: Vec<String>) -> Result<Self, PayloadError> {
        if images.is_empty() {
            return Err(PayloadError::new("no image is named"));
        }
        if images.len() > IMAGES || platforms.len() > PLATFORMS {
            let reason = format!("more than {IMAGES} images or {PLATFORMS} platforms are named");
            return Err(PayloadError::new(reason));
        }
        for image in &images {
            parse_image(image)?;
        }
        for platform in &platforms {
            parse_platform(platform).map_err(PayloadError::new)?;
        }
        Ok(Self { images, platforms })
    }

    /// Returns the images, as written beside what they mean.
    pub(super) fn images(&self) -> impl Iterator<Item = (&str, RepositoryName, WarmReference)> {
        self.images.iter().filter_map(|image| {
            let (repository, reference) = parse_image(image).ok()?;
            Some((image.as_str(), repository, reference))
        })
    }

    /// Returns the platforms.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        let parsed = self.platforms.iter().map(|text| parse_platform(text));
        parsed.filter_map(Result::ok).collect()
    }
}

impl PurgePattern {
    /// Returns the job of removing the mirrored images that fit `pattern`, a glob over
    /// `<mirror>/<repository>:<tag>`.
    ///
    /// # Errors
    /// [`PayloadError`], naming what is wrong.
    pub fn new(pattern: String) -> Result<Self, PayloadError> {
        Glob::parse(&pattern).map_err(|error| PayloadError::new(error.to_string()))?;
        Ok(Self { pattern })
    }

    /// Returns the pattern.
    pub(super) fn glob(&self) -> Result<Glob, PayloadError> {
        Glob::parse(&self.pattern).map_err(|error| PayloadError::new(error.to_string()))
    }
}

fn parse_image(text: &str) -> Result<(RepositoryName, WarmReference), PayloadError> {
    let wrong = |reason: String| {
        let shown: String = text.chars().take(128).collect();
        PayloadError::new(format!("{shown:?} is no image: {reason}"))
    };
    if text.len() > IMAGE_LENGTH {
        return Err(wrong(format!("it is longer than {IMAGE_LENGTH} bytes")));
    }
    let name = |text: &str| RepositoryName::parse(text).map_err(|error| wrong(error.to_string()));
    if let Some((repository, digest)) = text.split_once('@') {
        let digest = Digest::parse(digest).map_err(|error| wrong(error.to_string()))?;
        return Ok((name(repository)?, WarmReference::Digest(digest)));
    }
    // A colon before the last slash belongs to a port.
    let tagged = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let (repository, tag) = tagged.unwrap_or((text, "latest"));
    let glob = Glob::parse(tag).map_err(|error| wrong(error.to_string()))?;
    if !is_pattern(tag) {
        Tag::parse(tag).map_err(|error| wrong(error.to_string()))?;
    }
    Ok((name(repository)?, WarmReference::Tags(glob)))
}

/// Tells whether a glob can fit more than one text.
pub(super) fn is_pattern(tag: &str) -> bool {
    tag.contains(['*', '?', '['])
}
