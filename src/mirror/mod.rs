//! What to do on a miss: which upstream, one fetch per digest, tags that stay fresh, upstream trouble
//! told as it is. Never decides who may pull, and never pushes anything upstream.

mod ahead;
mod blob;
mod blob_size;
mod download;
mod error;
mod follower;
mod inflight;
mod lists;
mod manifest;
mod noted_tags;
mod passthrough;
mod remotes;
mod tally;

pub use crate::upstream::{Error as UpstreamError, InstanceId, Standing, Via};
pub use blob::BlobFound;
pub use error::{Error, Trouble};
pub use follower::Follower;
pub use lists::{ReferrersFound, TagsFound};
pub use manifest::{CacheState, ManifestFound, ManifestWanted};
pub use remotes::{Mirror, Remote, Target};
pub use tally::Saved;
