//! What to do on a miss: which upstream, one fetch per digest, tags that stay fresh, upstream trouble
//! told as it is. Never decides who may pull, and never pushes anything upstream.

mod account;
mod ahead;
mod blob;
mod blob_size;
mod download;
mod error;
mod flights;
mod follower;
mod image;
mod inflight;
mod lists;
mod loops;
mod manifest;
mod manifest_fetch;
mod missing;
mod no_room;
mod noted_tags;
mod passthrough;
mod prefetch;
mod refetch;
mod remotes;
mod status;
mod tally;
mod unconfirmed;

pub use crate::upstream::{Error as UpstreamError, InstanceId, Via};
pub use account::{Miss, MissReason};
pub use blob::BlobFound;
pub use error::{Error, Trouble};
pub use follower::Follower;
pub use image::{ImageFetched, ImageProgress, Tell};
pub use lists::{ReferrersFound, TagsFound};
pub use manifest::{CacheState, ManifestFound, ManifestWanted};
pub use refetch::Refetched;
pub use remotes::{Mirror, Owner, Remote, Target};
pub use status::MirrorStatus;
pub use tally::Saved;
