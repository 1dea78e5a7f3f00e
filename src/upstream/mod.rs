//! The client for other registries: manifests, blobs, tags and referrers of one configured
//! upstream, over any of its endpoints.
//!
//! Nothing else talks to upstreams. This room never stores anything, never decides what is
//! fresh, never follows a layer's `urls`, and never lets credentials leave the origins they
//! were configured for.

mod address;
mod asking;
mod authorization;
mod bandwidth;
mod body;
mod breaker;
mod challenge;
mod client;
mod docker_config;
mod endpoint;
mod error;
mod health;
mod helper;
mod listing;
mod login_source;
mod logins;
mod origin;
mod outgoing;
mod questions;
mod rate_limit;
mod request;
mod resolver;
mod round;
mod setup;
mod slots;
mod token;
mod via;

#[cfg(test)]
mod tests;

pub use self::asking::{
    Asking, BlobHead, FetchedManifest, ManifestHead, Manner, Patience, TagsPage,
};
pub use self::body::BlobBody;
pub use self::client::{Client, EndpointStanding, Standing};
pub use self::error::{BuildError, Error};
pub use self::via::{InstanceId, Via};
