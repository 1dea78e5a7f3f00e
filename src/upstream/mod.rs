//! The client for other registries: manifests, blobs, tags and referrers of one configured
//! upstream, over any of its endpoints.
//!
//! Nothing else talks to upstreams. This room never stores anything, never decides what is
//! fresh, never follows a layer's `urls`, and never lets credentials leave the origins they
//! were configured for.

mod address;
mod authorization;
mod body;
mod challenge;
mod client;
mod endpoint;
mod error;
mod listing;
mod origin;
mod request;
mod resolver;
mod token;

#[cfg(test)]
mod tests;

pub use self::body::BlobBody;
pub use self::client::{BlobHead, Client, FetchedManifest, ManifestHead, TagsPage};
pub use self::error::{BuildError, Error};
