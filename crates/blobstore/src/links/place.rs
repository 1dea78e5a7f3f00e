//! Where the link files of a repository lie, made from parsed parts only.

use std::path::{Path, PathBuf};

use oci::{Digest, Tag};

/// The name of every link file.
const LINK: &str = "link";

/// A link file of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPlace<'a> {
    /// That of a blob.
    Layer(&'a Digest),
    /// That of a manifest.
    Revision(&'a Digest),
    /// What a tag points to.
    Current(&'a Tag),
    /// Something that a tag points to or pointed to.
    Index(&'a Tag, &'a Digest),
}

impl LinkPlace<'_> {
    /// Returns the file, below `repository`.
    pub(super) fn file(&self, repository: &Path) -> PathBuf {
        match self {
            Self::Current(name) => tag(repository, name).join("current").join(LINK),
            Self::Layer(_) | Self::Revision(_) | Self::Index(..) => {
                self.directory(repository).join(LINK)
            }
        }
    }

    /// Returns the directory that goes when the link goes.
    pub(super) fn directory(&self, repository: &Path) -> PathBuf {
        match self {
            Self::Layer(digest) => of_digest(layers(repository), digest),
            Self::Revision(digest) => of_digest(revisions(repository), digest),
            Self::Current(name) => tag(repository, name),
            Self::Index(name, digest) => of_digest(index(&tag(repository, name)), digest),
        }
    }
}

pub(super) fn layers(repository: &Path) -> PathBuf {
    repository.join("_layers")
}

pub(super) fn manifests(repository: &Path) -> PathBuf {
    repository.join("_manifests")
}

pub(super) fn revisions(repository: &Path) -> PathBuf {
    manifests(repository).join("revisions")
}

pub(super) fn tags(repository: &Path) -> PathBuf {
    manifests(repository).join("tags")
}

pub(super) fn uploads(repository: &Path) -> PathBuf {
    repository.join("_uploads")
}

pub(super) fn index(tag: &Path) -> PathBuf {
    tag.join("index")
}

pub(super) fn tag(repository: &Path, name: &Tag) -> PathBuf {
    tags(repository).join(name.as_str())
}

fn of_digest(directory: PathBuf, digest: &Digest) -> PathBuf {
    directory
        .join(digest.algorithm().as_str())
        .join(digest.hex())
}
