//! What an import tells: how much it found, how much of that was news, and what it could not use.

use serde::Serialize;

/// Things that are told one by one; the rest is counted.
const LISTED: usize = 100_000;

/// What was found below a root so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Repositories with anything in them that can be used.
    pub repositories: u64,
    /// Tags that can be used.
    pub tags: u64,
    /// Manifests that can be used.
    pub manifests: u64,
    /// Files of blobs, those of manifests too, linked or not.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Links that said something new: those that were taken or, in a dry run, would be. `None` where nobody could be
    /// asked what is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// What cannot be used.
    pub unusable: Vec<Unusable>,
    /// How many more there are that cannot be used.
    #[serde(skip_serializing_if = "is_zero")]
    pub unlisted: u64,
}

/// Something that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unusable {
    /// Where it lies, below the root.
    pub path: String,
    /// Why it cannot be used.
    pub reason: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes every field by reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ImportReport {
    /// Returns how many things cannot be used.
    pub fn unusable_count(&self) -> u64 {
        self.unusable.len() as u64 + self.unlisted
    }

    /// Adds what cannot be used, as many as are told one by one.
    pub(super) fn add_unusable(&mut self, unusable: Vec<Unusable>) {
        for one in unusable {
            if self.unusable.len() < LISTED {
                self.unusable.push(one);
            } else {
                self.unlisted += 1;
            }
        }
    }
}
