//! What every registry function works with. Built once at start; holds no state of its own.

use std::sync::Arc;
use std::time::Duration;

use metadata::{LeaseOf, Metadata};
use oci::{Digest, RepositoryName};

use crate::auth::Caller;
use crate::clock::micros;
use crate::content::Content;
use crate::mirror::Mirror;

use super::error::Error;
use super::preparation::Preparation;
use super::resolve::{Place, Resolved};

/// What the configuration allows.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether manifests, tags and blobs may be deleted (`storage.delete.enabled`).
    pub delete_enabled: bool,
    /// Whether writes are refused (`storage.maintenance.readonly`).
    pub readonly: bool,
    /// Whether manifests are taken without their references (`validation.disabled`).
    pub validation_disabled: bool,
    /// How long an answer that lets a client skip an upload protects the digest (`gc.lease`).
    pub lease: Duration,
}

/// What a caller is about to be told that it exists.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// Where.
    pub(super) repository: &'a RepositoryName,
    pub(super) digest: &'a Digest,
    /// As what.
    pub(super) of: LeaseOf,
    /// Its lease as just read, in microseconds since 1970.
    pub(super) lease_until: i64,
}

/// The registry: content, mirrors and the rules for them.
pub struct Registry {
    pub(super) content: Arc<Content>,
    pub(super) mirror: Arc<Mirror>,
    pub(super) rules: Rules,
    pub(super) preparation: Preparation,
}

impl Registry {
    /// Returns the registry over its parts.
    pub fn new(content: Arc<Content>, mirror: Arc<Mirror>, rules: Rules) -> Self {
        Self {
            content,
            mirror,
            rules,
            preparation: Preparation::default(),
        }
    }

    /// Returns what the start has still to finish before anything may be asked of the registry.
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Returns the smallest chunk an upload takes before its last, in bytes.
    pub fn min_chunk(&self) -> Option<u64> {
        self.content.min_chunk()
    }

    pub(super) fn metadata(&self) -> &Metadata {
        self.content.metadata()
    }

    /// Refuses a write to a mirrored repository or while the server is read-only.
    pub(super) fn refuse_unless_writable(&self, at: &Resolved) -> Result<(), Error> {
        if self.rules.readonly {
            return Err(Error::ReadOnly);
        }
        match &at.place {
            Place::Local => Ok(()),
            Place::Mirror { target, .. } => Err(Error::Mirrored {
                name: at.asked.clone(),
                upstream: target.remote.settings.name.clone(),
            }),
        }
    }

    /// Refuses the first push to a name under which clients already pull through the default
    /// upstream, unless that mirror allows it.
    pub(super) async fn refuse_shadowing(&self, at: &Resolved) -> Result<(), Error> {
        let Some(remote) = self.mirror.default_remote() else {
            return Ok(());
        };
        if remote.settings.shadow || self.is_local(&at.repository).await? {
            return Ok(());
        }
        let Some(hidden) = Mirror::target(remote, &at.asked) else {
            return Ok(());
        };
        let mirrored = self.metadata().repository(&hidden.repository).await?;
        if mirrored.is_some_and(|repository| repository.has_manifests) {
            return Err(Error::Shadows {
                name: at.asked.clone(),
                upstream: remote.settings.name.clone(),
            });
        }
        Ok(())
    }

    /// Tells whether `name` is local: it has a manifest that was pushed here.
    pub(super) async fn is_local(&self, name: &oci::RepositoryName) -> Result<bool, Error> {
        let repository = self.metadata().repository(name).await?;
        Ok(repository.is_some_and(|repository| {
            repository.kind == metadata::RepositoryKind::Local && repository.has_manifests
        }))
    }

    /// Protects `found` before `caller` is told that it exists; false when it does not any more.
    ///
    /// Nothing is written for callers who may not push, or while more than half the lease remains.
    pub(super) async fn lease(
        &self,
        caller: &Caller,
        at: &Resolved,
        found: Found<'_>,
    ) -> Result<bool, Error> {
        let wanted = [(
            oci::Resource::Repository(at.asked.clone()),
            oci::Action::Push,
        )];
        if self.rules.readonly || !crate::auth::authorize(caller, &wanted) {
            return Ok(true);
        }
        let half = micros(self.rules.lease) / 2;
        if found.lease_until.saturating_sub(self.metadata().now()) > half {
            return Ok(true);
        }
        let Found { digest, of, .. } = found;
        let extended = self.content.extend_lease(found.repository, digest, of);
        match extended.await {
            Ok(exists) => Ok(exists),
            // Reads go on when the disk is full; content remembers the lease and reclaims no such
            // digest (law 3).
            Err(error @ crate::content::Error::StorageFull) => {
                tracing::warn!(%digest, %error, "could not write a lease");
                Ok(true)
            }
            Err(error) => Err(super::error::content_error(error, &at.asked, None)),
        }
    }
}
