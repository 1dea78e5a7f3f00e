//! The metadata database: the only truth about repositories, tags, memberships, uploads and leases. All SQL of the
//! program is in this crate; it must never touch blob bytes or the network, and no name or digest is looked up
//! without the repository it is asked in.

mod blobs;
mod cached;
mod clock;
mod database;
mod error;
mod job_lines;
mod jobs;
mod manifests;
mod migrate;
#[cfg(feature = "postgres")]
mod postgres;
mod pulls;
mod push;
mod reclaim;
mod referrers;
mod repositories;
mod sqlite;
mod tag_moves;
mod tags;
mod tx;
mod uploads;
mod value;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod plan_tests;

pub use blobs::{BlobRow, CommitBlob, Committed, Mount, MountOutcome};
pub use cached::{CachedBlob, CachedManifest, CachedRef, CachedRepository, CachedTag, StoredBytes};
pub use clock::WallClock;
pub use database::Metadata;
pub use error::{Error, Result};
pub use job_lines::{JOB_LINES_MAX, JobLine};
pub use jobs::{Claim, ClaimedJob, JobRow, JobState, NewJob, Outcome, Postponed, Tick};
pub use manifests::ManifestRow;
#[cfg(feature = "postgres")]
pub use postgres::PostgresSettings;
pub use pulls::Pull;
pub use push::{PushManifest, PushOutcome, Ref, ReferenceCheck};
pub use reclaim::{Claimed, Evict, EvictUnit, Evicted, Place};
pub use referrers::ReferrerRow;
pub use repositories::{CatalogPage, Origin, Repository, RepositoryId, RepositoryKind};
pub use tag_moves::{MOVES_KEPT, TagMove};
pub use tags::{SetTag, TagRow};
pub use uploads::{Advance, AdvanceOutcome, NewUpload, UploadPurpose, UploadRow};

/// The name of the database file in the state directory.
pub const FILE_NAME: &str = "seawall.db";
