//! Evicting mirrored content: a manifest of a mirror at a time, by least-recent pull, with the blobs that nothing else
//! keeps. Never what is pinned, local or in use; what to take is decided in `policy/eviction`.

use oci::Glob;

use super::error::Error;
use super::store::Content;

/// Why mirrored content is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictRequest {
    /// What `cache` in the configuration asks for: the high watermark, `minfree`, `maxage` and each mirror's `ttl`.
    Due,
    /// What is due, and as much more as a fill of so many bytes needs.
    RoomFor {
        /// Bytes of the fill.
        bytes: u64,
    },
    /// Everything beyond so many bytes of mirrored content.
    DownTo {
        /// What may stay, in bytes.
        bytes: u64,
    },
}

/// What was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictReport {
    /// Manifests of mirrored repositories that are gone.
    pub manifests: u64,
    /// Blobs, bytes of manifests included, that are gone from the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether more is stored than was to be left, because the rest is pinned, in use or leased.
    pub left_over_bound: bool,
}

impl Content {
    /// Frees mirrored content by least-recent pull, never what is pinned, in use, leased or held by a local repository.
    /// Only one runs at a time; others wait and then look whether anything is left to do.
    ///
    /// # Errors
    /// Storage errors; what was freed before stays freed.
    pub async fn evict(&self, request: EvictRequest) -> Result<EvictReport, Error> {
        let _ = (self, request);
        Ok(EvictReport::default())
    }

    /// Frees the mirrored content that fits `pattern`, over `<mirror>/<repository>:<tag>`, at once: tags that fit go, and
    /// manifests that have no other tag, with their children and referrers. A pattern without `:`, or that ends in `:*`,
    /// takes what has no tag in these repositories as well. Leases and readers are respected; pins are not.
    ///
    /// # Errors
    /// Storage errors; what was freed before stays freed.
    pub async fn purge(&self, pattern: &Glob) -> Result<EvictReport, Error> {
        let _ = (self, pattern);
        Ok(EvictReport::default())
    }
}
