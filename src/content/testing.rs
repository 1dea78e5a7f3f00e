//! A content room for tests, over a real store and database in a temporary directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use blobstore::BlobStore;
use blobstore::filesystem::Filesystem;
use metadata::Metadata;

use super::{Backups, Content, Reserve, RootOrigin, Settings};
use crate::clock::Fake;
use crate::config::{Cache, Gc, Space, Uploads};
use crate::telemetry::Metrics;

/// Opens it in `directory`; nothing has to stay free on the disk.
pub(super) fn open(directory: &Path, cache: Cache) -> (Content, Arc<Filesystem>) {
    open_by(directory, cache, Arc::new(Fake::at(1_000_000)))
}

/// The same, by a clock that the test moves.
pub(super) fn open_by(
    directory: &Path,
    cache: Cache,
    clock: Arc<Fake>,
) -> (Content, Arc<Filesystem>) {
    let store = Arc::new(Filesystem::open(directory).expect("an empty directory opens"));
    let database = directory.join(metadata::FILE_NAME);
    let settings = Settings {
        gc: Gc::default(),
        root: directory.to_owned(),
        origin: RootOrigin::Registry {
            mirrors: Vec::new(),
        },
        cache: Cache {
            minfree: Space::Bytes(0),
            ..cache
        },
        lifetimes: BTreeMap::new(),
        uploads: Uploads::default(),
        backups: Backups {
            database: database.clone(),
            directory: directory.join("backups"),
            keep: 7,
        },
    };
    let metadata = Metadata::open(&database, clock).expect("a new database opens");
    let reserve = Reserve::take(directory);
    let shared: Arc<dyn BlobStore> = store.clone();
    let content = Content::new(shared, metadata, reserve, settings, Metrics::new());
    (content, store)
}
