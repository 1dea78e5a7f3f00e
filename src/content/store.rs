//! The content room's one long-lived part: the store, the database and what both share. Built once at
//! start; it holds no state that a restart would miss.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobstore::{BlobAddress, BlobKey, BlobStore};
use bytes::Bytes;
use metadata::{ExtendLease, LeaseOf, Metadata};
use oci::{Digest, RepositoryName};
use tokio::sync::{Mutex, Notify, RwLock, Semaphore};

use super::backup::Backups;
use super::buffers::Buffers;
use super::disk::DiskGauge;
use super::error::Error;
use super::evict::LastEviction;
use super::holders::Holders;
use super::import::RootOrigin;
use super::in_hands::InHands;
use super::in_use::InUse;
use super::leftovers::Leftovers;
use super::pace::Spent;
use super::pulls::Pulls;
use super::reserve::Reserve;
use super::room::Rooms;
use crate::clock::micros;
use crate::config::{Cache, Gc, Uploads};
use crate::telemetry::Metrics;

/// Bytes of manifests kept in memory; a manifest is at most a few MiB, most are a few kB.
const MANIFEST_CACHE_BYTES: u64 = 64 << 20;

/// Large manifests read at the same time.
const READERS: usize = 2;

/// What the configuration says about storing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How content is collected, and what protects it meanwhile.
    pub gc: Gc,
    /// The store root, the disk of which is the one whose room counts.
    pub root: PathBuf,
    /// What wrote the root before, or may be given it back.
    pub origin: RootOrigin,
    /// What bounds mirrored content.
    pub cache: Cache,
    /// How long content that nobody pulls is kept, by upstream, where it has a bound of its own.
    pub lifetimes: BTreeMap<String, Duration>,
    /// What bounds open uploads.
    pub uploads: Uploads,
    /// How the database is copied.
    pub backups: Backups,
}

/// Blobs on disk and the rows that describe them.
pub struct Content {
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) metadata: Metadata,
    pub(super) settings: Settings,
    pub(super) holders: Holders,
    pub(super) in_use: InUse,
    pub(super) in_hands: InHands,
    /// Uploads that nobody goes on with.
    pub(super) leftovers: Leftovers,
    /// Held by the one eviction or purge that runs; tells how the last one ended.
    pub(super) evicting: Arc<tokio::sync::Mutex<LastEviction>>,
    /// Held by the one copy of the database that is made.
    pub(super) backing_up: Mutex<()>,
    /// Held by the one collection that runs.
    pub(super) collecting: Mutex<()>,
    /// Held by the one collection that is only rehearsed: it keeps no other waiting.
    pub(super) rehearsing: Mutex<()>,
    /// What background work hashed, which keeps one pace together.
    pub(super) hashed: Spent,
    /// Told when the collector is to look whether it has something to do.
    pub(super) collector_woken: Notify,
    /// Shared by whoever claims blobs and deletes their files, from the claim until the rows are forgotten; alone has it
    /// who takes up claims that others left.
    pub(super) reclaiming: Arc<RwLock<()>>,
    pub(super) disk: DiskGauge,
    pub(super) reserve: Reserve,
    pub(super) metrics: Metrics,
    /// Pulls that are not written yet.
    pub(super) pulls: Pulls,
    /// What is known of the room for mirrored content.
    pub(super) rooms: Rooms,
    /// What blobs are read through.
    pub(super) buffers: Arc<Buffers>,
    /// Turns for reading large manifests.
    pub(super) readers: Semaphore,
    /// Verified manifest bytes by digest. Membership is always asked of the database, so an entry can
    /// never give access to anything, and losing one costs a file read.
    pub(super) manifests: moka::sync::Cache<Digest, Bytes>,
}

impl Content {
    /// Returns the room over `store` and `metadata`.
    pub fn new(
        store: Arc<dyn BlobStore>,
        metadata: Metadata,
        reserve: Reserve,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            metadata,
            holders: Holders::default(),
            in_use: InUse::default(),
            in_hands: InHands::default(),
            leftovers: Leftovers::default(),
            evicting: Arc::default(),
            backing_up: Mutex::default(),
            collecting: Mutex::default(),
            rehearsing: Mutex::default(),
            hashed: Spent::default(),
            collector_woken: Notify::new(),
            reclaiming: Arc::default(),
            disk: DiskGauge::new(settings.root.clone()),
            settings,
            reserve,
            metrics,
            pulls: Pulls::default(),
            rooms: Rooms::default(),
            buffers: Arc::default(),
            readers: Semaphore::new(READERS),
            manifests: moka::sync::Cache::builder()
                .max_capacity(MANIFEST_CACHE_BYTES)
                .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX))
                .build(),
        }
    }

    /// Returns the database, for the rooms that may list names and tags.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the smallest chunk the store's driver takes, in bytes, for `OCI-Chunk-Min-Length`.
    pub fn min_chunk(&self) -> Option<u64> {
        self.store.capabilities().min_chunk
    }

    pub(super) fn lease_micros(&self) -> i64 {
        micros(self.settings.gc.lease)
    }

    /// Runs `work` on the blocking pool with the store.
    pub(super) async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&dyn BlobStore) -> blobstore::Result<T> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        Ok(tokio::task::spawn_blocking(move || work(store.as_ref())).await??)
    }

    /// Extends the lease of what `repository`, a local one, holds, before an "exists" answer to someone who may push.
    ///
    /// Returns false when the repository does not hold it: then it does not exist. A lease that the disk has no room for is
    /// remembered by this process, so that the digest is not reclaimed all the same.
    ///
    /// # Errors
    /// The database's; after [`Error::StorageFull`] the content exists, after any other the caller must not say so.
    pub async fn extend_lease(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        of: LeaseOf,
    ) -> Result<bool, Error> {
        let lease = ExtendLease {
            repository: repository.clone(),
            digest: *digest,
            of,
            lease_micros: self.lease_micros(),
        };
        match self.metadata.extend_lease(lease.clone()).await {
            Err(metadata::Error::StorageFull) => {}
            extended => return Ok(extended?),
        }
        // A reclaim that is being decided did not know of it; one that comes later does.
        let _hold = self.in_use.hold(digest).await;
        let until = self.metadata.now().saturating_add(lease.lease_micros);
        self.in_use.note_unwritten_lease(digest, until);
        self.metadata.rely_on_process(until);
        if self.metadata.holds(lease).await? {
            Err(Error::StorageFull)
        } else {
            Ok(false)
        }
    }
}

/// Returns where the blob of a row lies.
pub(super) fn address(digest: &Digest, key: Option<&str>) -> Result<BlobAddress, Error> {
    let key = key
        .map(|key| BlobKey::parse(key).ok_or(Error::Damaged { digest: *digest }))
        .transpose()?;
    Ok(BlobAddress {
        digest: *digest,
        key,
    })
}
