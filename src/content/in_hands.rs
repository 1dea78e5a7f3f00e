//! Which files in the uploads directory somebody has in hands although no row says so: manifests have none, and an upload's
//! row ends with its commit, a moment before its file goes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use oci::UploadId;

/// The files of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct InHands(Arc<Mutex<HashSet<UploadId>>>);

/// A file that is nobody else's to remove while this lives.
#[derive(Debug)]
pub(super) struct Handled {
    all: InHands,
    id: UploadId,
}

impl InHands {
    /// Takes the file of `id` in hands.
    pub(super) fn take(&self, id: &UploadId) -> Handled {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(id.clone());
        Handled {
            all: self.clone(),
            id: id.clone(),
        }
    }

    /// Tells whether somebody has the file of `id` in hands.
    pub(super) fn has(&self, id: &UploadId) -> bool {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.contains(id)
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        let mut ids = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
    }
}
