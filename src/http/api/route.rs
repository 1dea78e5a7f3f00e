//! The endpoints of the management API and the grammar of their paths.
//! A segment stands for itself: nothing is decoded, no slash is forgiven.

use hyper::Method;
use oci::{Action, Resource};

use super::paging::Page;
use super::problem::Problem;
use super::repository_path::{self, TagName, TagNoun};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The description of this API.
    OpenApi,
    /// How the mirrors stand.
    Mirrors,
    /// Fetch images before anybody asks.
    Warm,
    /// Forget mirrored images.
    Purge,
    /// How the collector stands.
    Collector,
    /// Collect what nothing names any more.
    Collect,
    /// Let the collector pause.
    PauseCollector,
    /// Let the collector go on.
    ResumeCollector,
    /// Write the link files of Distribution.
    ExportLinks,
    /// Copy the database.
    Backup,
    /// Hash stored blobs again.
    Scrub,
    /// Compare rows with files.
    Fsck,
    /// The list of jobs.
    Jobs(Page),
    /// One job.
    Job(i64),
    /// The moves of a tag.
    TagHistory(TagName, Page),
    /// Put a tag back.
    TagRestore(TagName),
    /// What a job found.
    JobLines(i64, Page),
}

/// A path with the methods it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    OpenApi,
    Mirrors,
    Warm,
    Purge,
    Collector,
    Collect,
    PauseCollector,
    ResumeCollector,
    ExportLinks,
    Backup,
    Scrub,
    Fsck,
    Jobs,
    Job,
    TagHistory,
    TagRestore,
    JobLines,
}

impl Endpoint {
    /// Returns every endpoint; the tests compare them with the OpenAPI document.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        // A match, so that a new endpoint cannot be forgotten.
        let next = |endpoint: &Self| match endpoint {
            Self::OpenApi => Some(Self::Mirrors),
            Self::Mirrors => Some(Self::Warm),
            Self::Warm => Some(Self::Purge),
            Self::Purge => Some(Self::Collector),
            Self::Collector => Some(Self::Collect),
            Self::Collect => Some(Self::PauseCollector),
            Self::PauseCollector => Some(Self::ResumeCollector),
            Self::ResumeCollector => Some(Self::ExportLinks),
            Self::ExportLinks => Some(Self::Backup),
            Self::Backup => Some(Self::Scrub),
            Self::Scrub => Some(Self::Fsck),
            Self::Fsck => Some(Self::Jobs),
            Self::Jobs => Some(Self::Job),
            Self::Job => Some(Self::JobLines),
            Self::JobLines => Some(Self::TagHistory),
            Self::TagHistory => Some(Self::TagRestore),
            Self::TagRestore => None,
        };
        std::iter::successors(Some(Self::OpenApi), next)
    }

    /// Returns the path below the root of the API, as the OpenAPI document writes it.
    #[cfg(test)]
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::OpenApi => "/openapi.json",
            Self::Mirrors => "/mirrors",
            Self::Warm => "/mirrors/warm",
            Self::Purge => "/mirrors/purge",
            Self::Collector => "/gc",
            Self::Collect => "/gc/run",
            Self::PauseCollector => "/gc/pause",
            Self::ResumeCollector => "/gc/resume",
            Self::ExportLinks => "/export-links",
            Self::Backup => "/backup",
            Self::Scrub => "/scrub",
            Self::Fsck => "/fsck",
            Self::Jobs => "/jobs",
            Self::Job => "/jobs/{id}",
            Self::TagHistory => "/repositories/{name}/-/tags/{tag}/history",
            Self::TagRestore => "/repositories/{name}/-/tags/{tag}/restore",
            Self::JobLines => "/jobs/{id}/lines",
        }
    }

    /// Returns the value of `Allow`.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::OpenApi
            | Self::Mirrors
            | Self::Collector
            | Self::Jobs
            | Self::Job
            | Self::JobLines
            | Self::TagHistory => "GET, HEAD",
            Self::Warm
            | Self::Purge
            | Self::Collect
            | Self::PauseCollector
            | Self::ResumeCollector
            | Self::ExportLinks
            | Self::Backup
            | Self::Scrub
            | Self::Fsck
            | Self::TagRestore => "POST",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| method == allowed)
    }
}

impl Route {
    /// Reads what `method`, `path` (what follows the root of the API; empty, or begins with `/`) and
    /// `query` ask for.
    pub(super) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Problem> {
        if let Some(below) = path.strip_prefix("/repositories/") {
            return Self::of_repository(method, below, query);
        }
        let mut segments = path.split('/');
        segments.next();
        let segments: Vec<&str> = segments.take(4).collect();
        let (endpoint, id) = match segments.as_slice() {
            ["openapi.json"] => (Endpoint::OpenApi, None),
            ["mirrors"] => (Endpoint::Mirrors, None),
            ["mirrors", "warm"] => (Endpoint::Warm, None),
            ["mirrors", "purge"] => (Endpoint::Purge, None),
            ["gc"] => (Endpoint::Collector, None),
            ["gc", "run"] => (Endpoint::Collect, None),
            ["gc", "pause"] => (Endpoint::PauseCollector, None),
            ["gc", "resume"] => (Endpoint::ResumeCollector, None),
            ["export-links"] => (Endpoint::ExportLinks, None),
            ["backup"] => (Endpoint::Backup, None),
            ["scrub"] => (Endpoint::Scrub, None),
            ["fsck"] => (Endpoint::Fsck, None),
            ["jobs"] => (Endpoint::Jobs, None),
            ["jobs", id] => (Endpoint::Job, Some(number(id)?)),
            ["jobs", id, "lines"] => (Endpoint::JobLines, Some(number(id)?)),
            _ => return Err(Problem::not_found()),
        };
        if !endpoint.allows(method) {
            return Err(Problem::method_not_allowed(endpoint.allow()));
        }
        let is_list = matches!(endpoint, Endpoint::Jobs | Endpoint::JobLines);
        let page = Page::parse(query, is_list)?;
        Ok(match (endpoint, id) {
            (Endpoint::OpenApi, _) => Self::OpenApi,
            (Endpoint::Mirrors, _) => Self::Mirrors,
            (Endpoint::Warm, _) => Self::Warm,
            (Endpoint::Purge, _) => Self::Purge,
            (Endpoint::Collector, _) => Self::Collector,
            (Endpoint::Collect, _) => Self::Collect,
            (Endpoint::PauseCollector, _) => Self::PauseCollector,
            (Endpoint::ResumeCollector, _) => Self::ResumeCollector,
            (Endpoint::ExportLinks, _) => Self::ExportLinks,
            (Endpoint::Backup, _) => Self::Backup,
            (Endpoint::Scrub, _) => Self::Scrub,
            (Endpoint::Fsck, _) => Self::Fsck,
            (Endpoint::Jobs, _) => Self::Jobs(page),
            (Endpoint::Job, Some(id)) => Self::Job(id),
            (Endpoint::JobLines, Some(id)) => Self::JobLines(id, page),
            (Endpoint::Job | Endpoint::JobLines, None)
            | (Endpoint::TagHistory | Endpoint::TagRestore, _) => {
                return Err(Problem::not_found());
            }
        })
    }

    /// Reads what follows `/repositories/`.
    fn of_repository(method: &Method, below: &str, query: Option<&str>) -> Result<Self, Problem> {
        let (tag, noun) = repository_path::parse(below)?;
        let endpoint = match noun {
            TagNoun::History => Endpoint::TagHistory,
            TagNoun::Restore => Endpoint::TagRestore,
        };
        if !endpoint.allows(method) {
            return Err(Problem::method_not_allowed(endpoint.allow()));
        }
        let page = Page::parse(query, noun == TagNoun::History)?;
        Ok(match noun {
            TagNoun::History => Self::TagHistory(tag, page),
            TagNoun::Restore => Self::TagRestore(tag),
        })
    }

    /// Returns what the gate has to allow for the endpoints of this API: nothing here is for everybody.
    pub(super) fn access() -> [(Resource, Action); 1] {
        [(Resource::Server, Action::Administer)]
    }
}

/// Reads the number of a job; anything else names no job.
fn number(text: &str) -> Result<i64, Problem> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    match text.parse() {
        Ok(number) if plain => Ok(number),
        _ => Err(Problem::not_found()),
    }
}
