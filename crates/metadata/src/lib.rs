//! The metadata database: the only truth about repositories, tags, memberships, uploads and leases. All SQL of the
//! program is in this crate; it must never touch blob bytes or the network, and no name or digest is looked up
//! without the repository it is asked in.

mod backup;
mod blobs;
mod cached;
mod candidates;
mod clock;
mod consistency;
mod counts;
mod damage;
mod database;
mod error;
mod export;
mod held;
mod idle;
mod import;
mod job_lines;
mod jobs;
mod leases;
mod links;
mod manifests;
mod migrate;
#[cfg(feature = "postgres")]
mod postgres;
mod pulls;
mod push;
mod reclaim;
mod referrers;
mod rehearsal;
mod repositories;
mod restore;
mod review;
mod sqlite;
mod tag_moves;
mod tags;
mod tx;
mod upkeep;
mod uploads;
mod value;

#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod owner_tests;
#[cfg(test)]
mod plan_tests;

pub use backup::{BackedUp, Cancel, CancelOnDrop, CopyError, back_up, used_bytes};
pub use blobs::{BlobRow, CommitBlob, Committed, Mount, MountOutcome};
pub use cached::{CachedBlob, CachedManifest, CachedRef, CachedRepository, CachedTag, StoredBytes};
pub use candidates::{Candidate, CandidateCounts, CandidateKind, Due, Half};
pub use clock::WallClock;
pub use consistency::{
    Entered, NameCursor, NameKind, Named, Namer, StoredPlace, Unnoted, UnnotedKind,
};
pub use damage::{CheckCursor, CheckPage, CheckScope, CheckedBlob, Holder};
pub use database::Metadata;
pub use error::{Error, Result};
pub use export::{Exportable, Rekeyed};
pub use held::HeldRepositories;
pub use import::{
    Certainty, EndedImport, FoundBlob, ImportLink, ImportLinks, ImportOutcome, Imported, Standing,
};
pub use job_lines::{JOB_LINES_MAX, JobLine};
pub use jobs::{Claim, ClaimedJob, JobRow, JobState, NewJob, Outcome, Postponed, Tick};
pub use leases::{ExtendLease, LeaseOf};
pub use links::{Known, LinkName};
pub use manifests::ManifestRow;
#[cfg(feature = "postgres")]
pub use postgres::PostgresSettings;
pub use pulls::Pull;
pub use push::{PushManifest, PushOutcome, Ref, ReferenceCheck};
pub use reclaim::{Claimed, Evict, EvictUnit, Evicted, Place};
pub use referrers::ReferrerRow;
pub use rehearsal::Rehearsal;
pub use repositories::{CatalogPage, Origin, Repository, RepositoryId, RepositoryKind};
pub use restore::{Restored, finish_restore, is_there, restore};
pub use review::{Review, Reviewed, Verdict};
pub use tag_moves::{GONE_KEPT, MOVES_KEPT, TagMove};
pub use tags::{SetTag, TagRow};
pub use upkeep::Upkeep;
pub use uploads::{
    Advance, AdvanceOutcome, IdleUpload, NewUpload, UploadBegun, UploadPurpose, UploadRow,
};

/// The name of the database file in the state directory.
pub const FILE_NAME: &str = "seawall.db";
