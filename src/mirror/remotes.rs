//! The configured upstreams and which one a name belongs to. A closed list: nothing a client sends is
//! ever dialled.

use std::sync::Arc;

use oci::RepositoryName;

use super::blob::Blobs;
use super::error::Error;
use super::flights::Flights;
use super::lists::{ReferrersFound, ReferrersOf, TagsFound, TagsPageOf, ToldReferrers};
use super::manifest::{ManifestFound, Question};
use super::missing::Missing;
use super::noted_tags::NotedTags;
use super::prefetch::Prefetching;
use super::unconfirmed::Unconfirmed;
use crate::clock::Clock;
use crate::config;
use crate::content::Content;
use crate::policy::repositories::refusal;
use crate::telemetry::Metrics;
use crate::upstream::{self, Asking, InstanceId, Via};

/// One configured upstream.
pub struct Remote {
    /// Its configuration.
    pub settings: config::Mirror,
    /// Its client.
    pub client: upstream::Client,
    /// Its name, as metrics are labelled with it.
    pub label: Arc<str>,
}

/// A repository as an upstream knows it and as it is stored here.
#[derive(Clone)]
pub struct Target {
    /// The upstream.
    pub remote: Arc<Remote>,
    /// The repository's name there.
    pub path: RepositoryName,
    /// The repository's name here.
    pub repository: RepositoryName,
    /// The way the request has come that asks for it.
    pub via: Via,
}

impl Target {
    /// Returns the questions that can be put to the upstream for the request.
    pub fn ask(&self) -> Asking<'_> {
        self.remote.client.on_behalf_of(&self.via)
    }
}

/// The mirror room's long-lived part.
pub struct Mirror {
    pub(super) content: Arc<Content>,
    pub(super) remotes: Vec<Arc<Remote>>,
    default: Option<usize>,
    proxy_only: bool,
    pub(super) blobs: Blobs,
    pub(super) asking: Flights<Question, ManifestFound>,
    pub(super) listing: Flights<TagsPageOf, TagsFound>,
    pub(super) referring: Flights<ReferrersOf, ReferrersFound>,
    pub(super) told: ToldReferrers,
    pub(super) noted: NotedTags,
    pub(super) prefetching: Prefetching,
    pub(super) missing: Missing,
    pub(super) unconfirmed: Unconfirmed,
    pub(super) manifest_limit: u64,
    pub(super) metrics: Metrics,
}

impl Mirror {
    /// Returns the mirrors of `config`; no upstream is contacted. `clock` tells when pauses and tokens end, and
    /// `instance` is what this server calls itself in `Via`.
    ///
    /// # Errors
    /// When a client cannot be built for one, for example for want of a usable certificate store.
    pub fn new(
        config: &config::Mirrors,
        content: Arc<Content>,
        manifest_limit: u64,
        metrics: Metrics,
        clock: &Arc<dyn Clock>,
        instance: &InstanceId,
    ) -> Result<Self, upstream::BuildError> {
        let mut remotes = Vec::new();
        for settings in &config.upstreams {
            remotes.push(Arc::new(Remote {
                client: upstream::Client::new(
                    settings,
                    metrics.clone(),
                    Arc::clone(clock),
                    instance,
                )?,
                label: settings.name.as_str().into(),
                settings: settings.clone(),
            }));
        }
        Ok(Self {
            default: remotes.iter().position(|remote| remote.settings.default),
            remotes,
            proxy_only: config.proxy_only,
            content,
            blobs: Blobs::default(),
            asking: Flights::default(),
            listing: Flights::default(),
            referring: Flights::default(),
            told: ToldReferrers::default(),
            noted: NotedTags::default(),
            prefetching: Prefetching::default(),
            missing: Missing::default(),
            unconfirmed: Unconfirmed::default(),
            manifest_limit,
            metrics,
        })
    }

    /// Tells whether there is no upstream at all.
    pub fn is_empty(&self) -> bool {
        self.remotes.is_empty()
    }

    /// Tells whether this is Distribution's read-only mirror of one upstream under plain names.
    pub fn proxy_only(&self) -> bool {
        self.proxy_only
    }

    /// Returns the upstream whose configured name is `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Remote>> {
        self.remotes
            .iter()
            .find(|remote| remote.settings.name == name)
    }

    /// Returns the upstream that answers names which belong to no other.
    pub fn default_remote(&self) -> Option<&Arc<Remote>> {
        self.default.map(|index| &self.remotes[index])
    }

    /// Returns whose the repository is that a client calls `name`.
    pub fn owner(&self, name: &RepositoryName) -> Owner<'_> {
        let first = name.first_component();
        match (self.by_name(first), name.rest_after_first()) {
            (Some(remote), Some(path)) => Owner::Named(remote, path),
            (None, Some(_)) if is_host(first) => Owner::Elsewhere,
            _ => Owner::Unsaid,
        }
    }

    /// Returns the mirrored repository of `remote` that a client calls `path` there, stored below the
    /// upstream's name; `None` when the whole name is too long to be stored.
    pub fn target(remote: &Arc<Remote>, path: &RepositoryName) -> Option<Target> {
        let path = remote.canonical(path)?;
        let repository = RepositoryName::join(&remote.settings.name, &path).ok()?;
        Some(Target {
            remote: Arc::clone(remote),
            path,
            repository,
            via: Via::none(),
        })
    }

    /// Returns the mirrored repository stored under its plain name, as Distribution's proxy does.
    pub fn plain_target(remote: &Arc<Remote>, name: &RepositoryName) -> Option<Target> {
        let path = remote.canonical(name)?;
        Some(Target {
            remote: Arc::clone(remote),
            repository: path.clone(),
            path,
            via: Via::none(),
        })
    }
}

/// Whose a repository is, as the first component of its name says.
#[derive(Clone)]
pub enum Owner<'a> {
    /// That of an upstream, under whose name it is the rest.
    Named(&'a Arc<Remote>, RepositoryName),
    /// That of a registry which is no upstream here.
    Elsewhere,
    /// Not said.
    Unsaid,
}

/// Tells whether the first of several components is a host, as clients read names.
fn is_host(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

impl Remote {
    /// Returns the name the upstream itself uses: Docker Hub keeps single names under `library/`.
    fn canonical(&self, path: &RepositoryName) -> Option<RepositoryName> {
        if self.is_docker_hub() && path.components().count() == 1 {
            return RepositoryName::join("library", path).ok();
        }
        Some(path.clone())
    }

    fn is_docker_hub(&self) -> bool {
        self.settings.name == "docker.io"
    }
}

impl Target {
    /// Refuses a repository that the mirror's `allow` and `deny` lists do not let through, whatever is stored of it.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(super) fn refuse_unlisted(&self) -> Result<(), Error> {
        let settings = &self.remote.settings;
        match refusal(self.path.as_str(), &settings.allow, &settings.deny) {
            None => Ok(()),
            Some(why) => Err(Error::Refused {
                upstream: settings.name.clone(),
                repository: self.path.clone(),
                why,
            }),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.path, self.remote.settings.name)
    }
}
