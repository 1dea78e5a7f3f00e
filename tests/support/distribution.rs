//! A store root as Debian's docker-registry 2.8 leaves it on disk: blobs and link files, whole or as crashes leave them.

use std::fs;
use std::path::{Path, PathBuf};

use super::images::{Algorithm, Content, digest_of};

/// The root of a Distribution registry.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the bytes of a digest lie.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        let blobs = self.path.join("docker/registry/v2/blobs");
        blobs.join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    /// Returns the directory of a repository.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.path.join("docker/registry/v2/repositories").join(name)
    }

    pub(crate) fn layer(&self, repository: &str, digest: &str) -> PathBuf {
        let layers = self.repository(repository).join("_layers");
        layers.join(digest.replace(':', "/")).join("link")
    }

    pub(crate) fn revision(&self, repository: &str, digest: &str) -> PathBuf {
        let revisions = self.repository(repository).join("_manifests/revisions");
        revisions.join(digest.replace(':', "/")).join("link")
    }

    pub(crate) fn tag(&self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository)
            .join("_manifests/tags")
            .join(tag)
    }

    pub(crate) fn current(&self, repository: &str, tag: &str) -> PathBuf {
        self.tag(repository, tag).join("current/link")
    }

    pub(crate) fn index(&self, repository: &str, tag: &str, digest: &str) -> PathBuf {
        let index = self.tag(repository, tag).join("index");
        index.join(digest.replace(':', "/")).join("link")
    }

    /// Stores bytes, as all are stored there: under their sha256; returns that digest.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> String {
        let digest = digest_of(Algorithm::Sha256, bytes);
        write(&self.blob(&digest), bytes);
        digest
    }

    /// Pushes a blob; one that is pushed by another digest is linked by both.
    pub(crate) fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let stored = self.put_blob(bytes);
        write(&self.layer(repository, &stored), stored.as_bytes());
        write(&self.layer(repository, digest), stored.as_bytes());
    }

    pub(crate) fn push_manifest(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = self.put_blob(bytes);
        write(&self.revision(repository, &digest), digest.as_bytes());
        digest
    }

    pub(crate) fn point(&self, repository: &str, tag: &str, digest: &str) {
        write(&self.index(repository, tag, digest), digest.as_bytes());
        write(&self.current(repository, tag), digest.as_bytes());
    }

    /// Pushes content as a client does, and points `tags` to the last manifest.
    pub(crate) fn push(&self, repository: &str, content: &Content, tags: &[&str]) {
        for blob in &content.blobs {
            self.push_blob(repository, &blob.digest, &blob.bytes);
        }
        for manifest in &content.manifests {
            self.push_manifest(repository, &manifest.bytes);
        }
        for tag in tags {
            self.point(repository, tag, &content.top().digest);
        }
    }
}

/// Writes a file with everything above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file lies in a directory"))
        .expect("the test's own directory can be written");
    fs::write(path, bytes).expect("the test's own directory can be written");
}

/// Removes a directory with everything in it.
pub(crate) fn remove(directory: &Path) {
    fs::remove_dir_all(directory).expect("the directory is there");
}
