//! A content room for tests, over a real store and database in a temporary directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use blobstore::BlobStore;
use blobstore::filesystem::Filesystem;
use bytes::Bytes;
use metadata::Metadata;
use oci::{Algorithm, Digest, Manifest, RepositoryName, Tag};

use super::{Backups, Content, ManifestSource, NewManifest, Reserve, RootOrigin, Settings};
use crate::clock::Fake;
use crate::config::{Cache, Gc, Space, Uploads};
use crate::telemetry::Metrics;

/// An index of nothing, the smallest manifest.
pub(super) const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Returns the digest of [`MANIFEST`].
pub(super) fn manifest_digest() -> Digest {
    Digest::of(Algorithm::Sha256, MANIFEST)
}

/// Stores [`MANIFEST`] in `repository`, under the tag `1`.
pub(super) async fn put_manifest(
    content: &Arc<Content>,
    repository: &RepositoryName,
    source: ManifestSource<'_>,
) {
    let manifest = Manifest::parse(MANIFEST, None).expect("an index");
    let new = NewManifest {
        repository,
        digest: manifest_digest(),
        bytes: Bytes::from_static(MANIFEST),
        manifest: &manifest,
        media_type: &manifest.media_type,
        tags: vec![Tag::parse("1").expect("a tag")],
        source,
    };
    content.put_manifest(new).await.expect("stores");
}

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
