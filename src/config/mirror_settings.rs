//! How one upstream is asked: its certificate, its proxy, its freshness, its times and bounds, and what is fetched ahead.

use std::path::PathBuf;
use std::time::Duration;

use oci::Glob;

use super::duration::{parse_duration, some_time};
use super::files::{certificates, private_key};
use super::patterns::tag_pattern;
use super::platform::{Platform, parse_platform};
use super::problems::Problems;
use super::section::Section;
use super::size::parse_size;

/// TLS towards an upstream (`tls`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file of PEM certificates that are trusted beside the system's (`tls.ca`).
    pub ca: Option<PathBuf>,
    /// The client certificate and its key, PEM files (`tls.certificate`, `tls.key`).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate is believed (`tls.insecure`; default false).
    pub insecure: bool,
}

/// How long answers about tags count as fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// For every tag (`freshness.default`; default one minute).
    pub default: Duration,
    /// By tag pattern, the longest pattern first (`freshness.tags`; default none).
    pub tags: Vec<(Glob, Duration)>,
    /// Whether a tag that is due is served at once and checked afterwards (`freshness.background`; default false).
    pub background: bool,
    /// How long a 404 of the upstream is believed (`freshness.negative`; default 30 s).
    pub negative: Duration,
}

/// How much is asked of an upstream at once (`limits`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Requests, bodies included (`limits.connections`; default 32).
    pub connections: usize,
    /// Bytes per second of all bodies together (`limits.bandwidth`; default 0: no limit).
    pub bandwidth: u64,
}

/// What is fetched before anybody asks (`prefetch`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefetch {
    /// Whether config and layers follow a manifest GET at once (`prefetch.layers`; default false).
    pub layers: bool,
    /// Platforms whose manifests and layers follow an index (`prefetch.platforms`, as `linux/amd64`; default none).
    pub platforms: Vec<Platform>,
}

/// How long an upstream may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection (`timeout.connect`; default 5 s).
    pub connect: Duration,
    /// Between two reads (`timeout.read`; default 30 s).
    pub read: Duration,
    /// For a whole answer, body included, however often a blob is asked for again in the middle (`timeout.total`; default 0:
    /// no limit).
    pub total: Option<Duration>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(60),
            tags: Vec::new(),
            background: false,
            negative: Duration::from_secs(30),
        }
    }
}

impl Default for MirrorLimits {
    fn default() -> Self {
        Self {
            connections: 32,
            bandwidth: 0,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            total: None,
        }
    }
}

/// Reads `tls`.
pub(super) fn tls(mirror: &Section<'_>, problems: &mut Problems) -> Tls {
    let section = mirror.section("tls");
    let certificate = section.field("certificate", problems);
    let key = section.field("key", problems);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let certificate = certificate.parse(problems, certificates);
            certificate.zip(key.parse(problems, private_key))
        }
        (Some(certificate), None) => {
            certificate.error(problems, "is set without key; both are needed");
            None
        }
        (None, Some(key)) => {
            key.error(problems, "is set without certificate; both are needed");
            None
        }
        (None, None) => None,
    };
    Tls {
        ca: section.parse("ca", problems, certificates),
        identity,
        insecure: section.switch("insecure", problems),
    }
}

/// Reads `freshness`.
pub(super) fn freshness(mirror: &Section<'_>, problems: &mut Problems) -> Freshness {
    let section = mirror.section("freshness");
    let defaults = Freshness::default();
    let mut tags = Vec::new();
    for (pattern, value) in section.section("tags").names() {
        let time = value.value(problems);
        let time = time.and_then(|time| time.parse(problems, parse_duration));
        match tag_pattern(pattern) {
            Ok(pattern) => tags.extend(time.map(|time| (pattern, time))),
            Err(reason) => value.error(problems, &reason),
        }
    }
    // Of several that fit, the longest counts; among equals, the first of the file.
    tags.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.as_str().len()));
    Freshness {
        default: section
            .parse("default", problems, parse_duration)
            .unwrap_or(defaults.default),
        tags,
        background: section.switch("background", problems),
        negative: section
            .parse("negative", problems, parse_duration)
            .unwrap_or(defaults.negative),
    }
}

/// Reads `timeout`.
pub(super) fn timeouts(mirror: &Section<'_>, problems: &mut Problems) -> Timeouts {
    let section = mirror.section("timeout");
    let defaults = Timeouts::default();
    Timeouts {
        connect: section
            .parse("connect", problems, some_time)
            .unwrap_or(defaults.connect),
        read: section
            .parse("read", problems, some_time)
            .unwrap_or(defaults.read),
        total: section
            .parse("total", problems, parse_duration)
            .filter(|total| !total.is_zero()),
    }
}

/// Reads `limits`.
pub(super) fn limits(mirror: &Section<'_>, problems: &mut Problems) -> MirrorLimits {
    let section = mirror.section("limits");
    let defaults = MirrorLimits::default();
    MirrorLimits {
        connections: section
            .parse("connections", problems, connections)
            .unwrap_or(defaults.connections),
        bandwidth: section
            .parse("bandwidth", problems, parse_size)
            .unwrap_or(defaults.bandwidth),
    }
}

/// Reads `prefetch`.
pub(super) fn prefetch(mirror: &Section<'_>, problems: &mut Problems) -> Prefetch {
    let section = mirror.section("prefetch");
    Prefetch {
        layers: section.switch("layers", problems),
        platforms: platforms(&section, problems),
    }
}

/// Reads the list `platforms` of a section.
pub(super) fn platforms(section: &Section<'_>, problems: &mut Problems) -> Vec<Platform> {
    let fields = section.section("platforms").values(problems);
    let read = fields
        .iter()
        .map(|field| field.parse(problems, parse_platform));
    read.flatten().collect()
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse::<u16>() {
        Ok(0) => Err("0 would let no request through".to_owned()),
        Ok(number) => Ok(usize::from(number)),
        Err(_) => Err(format!("{text:?} is not a whole number from 1 to 65535")),
    }
}
