//! Bytes and rows kept in step: the only writer of blobs and of the rows that describe them. Commit
//! order lives here (bytes first, durable, then one transaction); nothing here knows HTTP, upstreams
//! or who may do what.

mod abandoned;
mod background;
mod backup;
mod buffers;
mod cached;
mod collect;
mod collector;
mod damage;
mod delete;
mod disk;
mod error;
mod evict;
mod export;
mod fill;
mod fsck;
mod fsck_files;
mod fsck_names;
mod holders;
mod import;
mod in_hands;
mod in_use;
mod ingest;
mod leftovers;
mod manifests;
mod mirrored;
mod open;
mod pace;
mod piece;
mod problem;
mod publish;
mod pulls;
mod purge;
mod reading;
mod reclaim;
mod referrers;
mod reserve;
mod room;
mod scrub;
mod state_directory;
mod store;
#[cfg(test)]
mod testing;
mod turns;
mod uploads;

pub use background::Background;
pub use backup::{BackupReport, Backups};
pub use collect::{CollectReport, CollectRequest, Collected};
pub use collector::{CollectorStatus, LastCollection};
pub use error::Error;
pub use evict::{EvictReport, EvictRequest};
pub use export::{ExportConflict, ExportReport};
pub use fill::{Fill, Filled, GrowingFile};
pub use fsck::{Fsck, FsckRequest};
pub use import::{
    ImportReport, ImportRequest, RootOrigin, Unusable, dry_run, import, is_unimported,
};
pub use manifests::{ManifestSource, NewManifest};
pub use metadata::ManifestRow;
pub use mirrored::MirroredBlob;
pub use open::{ByteStream, StoredBlob};
pub use piece::Piece;
pub use problem::{Action, Problem, ProblemKind};
pub use pulls::PullFact;
pub use referrers::fallback_tag;
pub use reserve::Reserve;
pub use room::{CacheSize, ROOM_PATIENCE, Room};
pub use scrub::{Scrub, ScrubRequest};
pub use state_directory::{StateDirectory, StateError};
pub use store::{Content, Settings};
pub use uploads::{Upload, Uploader};
