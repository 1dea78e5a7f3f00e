//! One file per thing a user can do with the registry. Knows callers, repositories and upstreams, and
//! keeps to the order resolve, decide, do; never HTTP, status codes, file paths or SQL.

mod catalog;
mod delete;
mod error;
mod mirror_status;
mod mount_blob;
mod preparation;
mod pull_blob;
mod pull_manifest;
mod push_blob;
mod push_manifest;
mod ready;
mod referrers;
mod resolve;
mod restore_tag;
mod service;
mod tag_history;
mod tags;

pub use catalog::{CatalogPage, catalog};
pub use delete::{delete_blob, delete_manifest};
pub use error::Error;
pub use mirror_status::{CacheSize, MirrorStatus, MirrorsStatus, mirror_status};
pub use mount_blob::mount_blob;
pub use preparation::Preparation;
pub use pull_blob::{BlobAnswer, head_blob, pull_blob};
pub use pull_manifest::{ManifestAnswer, ManifestRequest, pull_manifest};
pub use push_blob::{append, cancel, finish, push_whole, start_upload, status};
pub use push_manifest::{NewPush, PushedManifest, push_manifest};
pub use ready::ready;
pub use referrers::{ReferrersAnswer, ReferrersPage, referrers};
pub use resolve::{Intent, Place, Resolved, Rule, resolve};
pub use restore_tag::{RestoreError, RestoredTag, restore_tag};
pub use service::{Registry, Rules};
pub use tag_history::{TagMove, tag_history};
pub use tags::{TagsAnswer, tags};

pub use crate::content::{ByteStream, Piece, Upload};
pub use crate::mirror::{CacheState, InstanceId, ManifestWanted, UpstreamError, Via};
pub use crate::policy::negotiation::Accepted;
pub use crate::policy::repositories::Refusal;
