//! What an export tells.

use serde::{Deserialize, Serialize};

/// What was exported so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Repositories with anything in them.
    pub repositories: u64,
    /// Their tags.
    pub tags: u64,
    /// Their manifests.
    pub manifests: u64,
    /// Their blobs, each counted in every repository that holds it.
    pub blobs: u64,
    /// Links that were written.
    pub written: u64,
    /// Links that were removed.
    pub removed: u64,
    /// Links and blobs that were left as they are.
    pub conflicts: u64,
}

/// Something that was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportConflict {
    /// Where it lies, below the root.
    pub path: String,
    /// Why it was left.
    pub reason: String,
}
