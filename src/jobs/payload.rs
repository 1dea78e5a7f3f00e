//! What a job is to do, checked before it is queued, and how it is written into its row: JSON with a version, so that
//! a later program knows what an earlier one meant.

use std::time::Duration;

use oci::{Digest, Glob, RepositoryName, Tag, split_tag};
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
    /// Collect what nothing names any more.
    Collect(CollectNow),
    /// Write the link files of Distribution.
    ExportLinks,
    /// Copy the database to where the configuration says.
    Backup(BackUp),
    /// Hash stored blobs again.
    Scrub(ScrubBlobs),
    /// Compare rows with files.
    Fsck(CompareAll),
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

/// A collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectNow {
    grace_micros: u64,
    pub(super) delete_untagged: bool,
    pub(super) dry_run: bool,
}

/// A copy of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackUp {}

/// Blobs to hash again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubBlobs {
    repository: Option<String>,
    pub(super) repair: bool,
}

/// A comparison of rows with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareAll {
    /// Whether something is done about what is wrong.
    pub repair: bool,
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
            Self::Collect(_) => JobKind::Gc,
            Self::ExportLinks => JobKind::ExportLinks,
            Self::Backup(_) => JobKind::Backup,
            Self::Scrub(_) => JobKind::Scrub,
            Self::Fsck(_) => JobKind::Fsck,
        }
    }

    /// Tells whether it asks upstreams for something.
    pub fn needs_upstreams(&self) -> bool {
        match self {
            Self::Warm(_) => true,
            Self::Scrub(scrub) => scrub.repair,
            Self::Purge(_)
            | Self::Collect(_)
            | Self::ExportLinks
            | Self::Backup(_)
            | Self::Fsck(_) => false,
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
            Self::Collect(collect) => Self::Collect(collect),
            Self::ExportLinks => Self::ExportLinks,
            Self::Backup(backup) => Self::Backup(backup),
            Self::Scrub(scrub) => Self::Scrub(ScrubBlobs::new(scrub.repository, scrub.repair)?),
            Self::Fsck(compare) => Self::Fsck(compare),
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

impl ScrubBlobs {
    /// Returns the job of hashing the blobs of the repositories that fit `repository` again, all blobs without it; with
    /// `repair` what is damaged is fetched again where it is mirrored, and what was and is right again comes back.
    ///
    /// # Errors
    /// [`PayloadError`], naming what is wrong with the pattern.
    pub fn new(repository: Option<String>, repair: bool) -> Result<Self, PayloadError> {
        if let Some(pattern) = &repository {
            Glob::parse(pattern).map_err(|error| PayloadError::new(error.to_string()))?;
        }
        Ok(Self { repository, repair })
    }

    /// Returns the pattern.
    pub(super) fn glob(&self) -> Option<Glob> {
        Glob::parse(self.repository.as_deref()?).ok()
    }
}

impl CollectNow {
    /// Returns the job of collecting what nothing named for `grace`; with `delete_untagged` manifests too that nothing
    /// keeps but the rule that untagged ones stay; with `dry_run` of telling only what that would be.
    pub fn new(grace: Duration, delete_untagged: bool, dry_run: bool) -> Self {
        Self {
            grace_micros: u64::try_from(grace.as_micros()).unwrap_or(u64::MAX),
            delete_untagged,
            dry_run,
        }
    }

    /// Returns the grace.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_micros(self.grace_micros)
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
    let (repository, tag) = split_tag(text);
    let tag = tag.unwrap_or("latest");
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

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::{BackUp, CollectNow, Duration, IMAGES, Payload, PurgePattern, WarmImages};
    use crate::config::WarmReference;

    fn warm(images: &[&str], platforms: &[&str]) -> Result<WarmImages, String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        WarmImages::new(owned(images), owned(platforms)).map_err(|error| error.to_string())
    }

    fn refused(images: &[&str], platforms: &[&str]) -> String {
        warm(images, platforms).expect_err("it makes no sense")
    }

    #[test]
    fn an_image_is_a_repository_with_a_tag_a_pattern_or_a_digest() {
        let digest = Digest::of(oci::Algorithm::Sha256, b"x").to_string();
        let by_digest = format!("quay.io/a/b@{digest}");
        let written = [
            ("docker.io/nginx", "docker.io/nginx", "latest"),
            (
                "docker.io/library/nginx:1.*",
                "docker.io/library/nginx",
                "1.*",
            ),
            ("localhost:5000/app", "localhost:5000/app", "latest"),
            ("localhost:5000/app:v1", "localhost:5000/app", "v1"),
            (by_digest.as_str(), "quay.io/a/b", digest.as_str()),
        ];
        for (text, repository, reference) in written {
            let images = warm(&[text], &["linux/amd64"]).unwrap_or_else(|error| panic!("{error}"));
            let read: Vec<_> = images.images().collect();
            let [(shown, name, found)] = read.as_slice() else {
                panic!("{text} is one image");
            };
            let found = match found {
                WarmReference::Tags(glob) => glob.to_string(),
                WarmReference::Digest(digest) => digest.to_string(),
            };
            assert_eq!(
                (*shown, name.as_str(), found.as_str()),
                (text, repository, reference)
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_by_name() {
        assert_eq!(refused(&[], &[]), "no image is named");
        let many = vec!["docker.io/a"; IMAGES + 1];
        assert!(refused(&many, &[]).starts_with("more than"));
        for bad in [
            "docker.io/UPPER",
            "docker.io/a:-tag",
            "docker.io/a:[",
            "docker.io/a@sha256:12",
            "",
        ] {
            let told = refused(&["docker.io/good", bad], &[]);
            assert!(
                told.starts_with(&format!("{bad:?} is no image: ")),
                "{told}"
            );
        }
        let told = refused(&["docker.io/a"], &["amd64"]);
        assert!(told.contains("\"amd64\""), "{told}");
        let pattern = PurgePattern::new("a[".to_owned()).expect_err("no pattern");
        assert!(pattern.to_string().contains("a["), "{pattern}");
    }

    #[test]
    fn a_stored_payload_comes_back_and_is_checked_again() {
        let images = warm(&["docker.io/a:1.*"], &["linux/arm/v7"]).expect("makes sense");
        let purge = PurgePattern::new("docker.io/**".to_owned()).expect("a pattern");
        let collect = CollectNow::new(Duration::from_secs(60), true, false);
        for payload in [
            Payload::Warm(images),
            Payload::Purge(purge),
            Payload::Collect(collect),
            Payload::Backup(BackUp::default()),
        ] {
            assert_eq!(Payload::from_row(&payload.to_row()), Ok(payload));
        }
        let wrong = [
            r#"{"version":2,"job":{"purge":{"pattern":"a"}}}"#,
            r#"{"version":1,"job":{"scrub":{}}}"#,
            r#"{"version":1,"job":{"warm":{"images":[],"platforms":[]}}}"#,
            "{}",
        ];
        for text in wrong {
            Payload::from_row(text).expect_err(text);
        }
    }

    #[test]
    fn the_same_work_is_the_same_job_and_other_work_another() {
        let key = |images: &[&str]| Payload::Warm(warm(images, &[]).expect("sense")).unique_key();
        assert_eq!(key(&["docker.io/a"]), key(&["docker.io/a"]));
        assert_ne!(key(&["docker.io/a"]), key(&["docker.io/b"]));
        assert!(key(&["docker.io/a"]).starts_with("warm:"));
    }
}
