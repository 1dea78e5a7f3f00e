//! Whole images in the background: manifest, the children that are wanted, configs and layers, through the same single
//! flight as clients. Gives way: nothing is asked for while an upstream has no requests to spare.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{TryStreamExt, stream};
use oci::{
    Descriptor, Digest, Glob, ManifestKind, Page, Reference, RepositoryName, Tag, media_type,
};

use super::error::{Error, protocol, trouble};
use super::follower::Arrived;
use super::manifest::{CacheState, ManifestFound, ManifestWanted};
use super::remotes::{Mirror, Owner, Target};
use crate::config::Platform;
use crate::content::MirroredBlob;
use crate::upstream;

/// Blobs of one image that are fetched at the same time; the rest of the connections are the clients'.
const BLOBS_AT_ONCE: usize = 3;

/// How deep indexes may lie in each other.
const DEPTH: usize = 8;

/// Most manifests of one image.
const MANIFESTS: usize = 1000;

/// Most configs and layers of one image.
const BLOBS: usize = 50_000;

/// Most tags that are looked through for a pattern, and those of one page.
const TAGS: usize = 10_000;
const TAGS_OF_PAGE: u64 = 1000;

/// How far the fetch of an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageProgress {
    /// Manifests that are here.
    pub manifests: u64,
    /// Those of them that are images and not lists; none when an index lists nothing for the platforms.
    pub images: u64,
    /// Configs and layers that are here.
    pub layers_done: u64,
    /// Configs and layers in all; grows while manifests are read.
    pub layers_total: u64,
    /// Their bytes that are here.
    pub bytes_done: u64,
    /// Their bytes in all, as the manifests state them.
    pub bytes_total: u64,
}

/// An image that is here with everything it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFetched {
    /// Its manifests, the one that was asked for first.
    pub manifests: Vec<Digest>,
    /// All that is here of it.
    pub progress: ImageProgress,
}

/// What is told how far a fetch is.
pub type Tell<'a> = dyn Fn(ImageProgress) + Send + Sync + 'a;

impl Mirror {
    /// Returns the mirrored repository that `name` means: below an upstream's name, else at the default upstream;
    /// `None` for one of a registry that is not mirrored.
    pub fn image_target(&self, name: &RepositoryName) -> Option<Target> {
        let (remote, path) = match self.owner(name) {
            Owner::Named(remote, path) => (remote, path),
            Owner::Unsaid => (self.default_remote()?, name.clone()),
            Owner::Elsewhere => return None,
        };
        if self.proxy_only() {
            return Self::plain_target(remote, &path);
        }
        Self::target(remote, &path)
    }

    /// Fetches the image `reference` of `target` with everything it needs: of an index the children for `platforms`,
    /// all of them when none is named. `tell` hears how far it is.
    ///
    /// # Errors
    /// The upstream's answer or trouble, [`upstream::Error::NoSpare`] when background work has to wait, and storage
    /// errors. What was fetched before stays.
    pub async fn fetch_image(
        self: &Arc<Self>,
        target: &Target,
        reference: &Reference,
        platforms: &[Platform],
        tell: &Tell<'_>,
    ) -> Result<ImageFetched, Error> {
        let mut gathering = Gathering {
            mirror: self,
            target,
            platforms,
            manifests: HashSet::new(),
            gathered: Vec::new(),
            known_blobs: HashSet::new(),
            blobs: Vec::new(),
            progress: ImageProgress::default(),
        };
        gathering.gather(reference, tell).await?;
        let Gathering {
            gathered,
            blobs,
            progress,
            ..
        } = gathering;
        let progress = Mutex::new(progress);
        let now = || *progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (counted, now_here) = (&progress, &now);
        stream::iter(blobs.into_iter().map(Ok::<Descriptor, Error>))
            .try_for_each_concurrent(BLOBS_AT_ONCE, |blob| async move {
                let here = AtomicU64::new(0);
                let arrived = |bytes: u64| {
                    // An upstream may send more than the manifest says; that is its blob's trouble.
                    let bytes = bytes.min(blob.size);
                    let before = here.fetch_max(bytes, Ordering::Relaxed);
                    if bytes > before {
                        let mut progress = counted.lock().unwrap_or_else(PoisonError::into_inner);
                        progress.bytes_done += bytes - before;
                        drop(progress);
                        tell(now_here());
                    }
                };
                self.fetch_blob(target, &blob.digest, &arrived).await?;
                arrived(blob.size);
                let mut progress = counted.lock().unwrap_or_else(PoisonError::into_inner);
                progress.layers_done += 1;
                drop(progress);
                tell(now_here());
                Ok(())
            })
            .await?;
        Ok(ImageFetched {
            manifests: gathered,
            progress: now(),
        })
    }

    /// Returns the tags of `target` at its upstream that fit `pattern`.
    ///
    /// # Errors
    /// As [`Mirror::fetch_image`], and when the repository has too many tags to be looked through.
    pub async fn matching_tags(
        self: &Arc<Self>,
        target: &Target,
        pattern: &Glob,
    ) -> Result<Vec<Tag>, Error> {
        let mut fitting = Vec::new();
        let mut seen = 0;
        let mut last: Option<String> = None;
        loop {
            self.unless_scarce(target)?;
            let page = Page {
                n: Some(TAGS_OF_PAGE),
                last: last.clone(),
            };
            let found = self.tags(target, &page).await?;
            if let Some(reason) = found.stale {
                return Err(trouble(target, upstream::Error::Unavailable { reason }));
            }
            seen += found.tags.len();
            let tags = found.tags.iter().filter(|tag| pattern.matches(tag));
            fitting.extend(tags.filter_map(|tag| Tag::parse(tag).ok()));
            match found.next {
                None => return Ok(fitting),
                Some(next) if Some(&next) == last.as_ref() => {
                    let reason = format!("repeats the page of tags after {next:?}");
                    return Err(protocol(target, reason));
                }
                Some(_) if seen >= TAGS => {
                    let reason = format!("has more than {TAGS} tags in {}", target.path);
                    return Err(protocol(target, reason));
                }
                Some(next) => last = Some(next),
            }
        }
    }

    /// Refuses background work while the upstream has nothing to spare for it, or did not answer lately.
    fn unless_scarce(&self, target: &Target) -> Result<(), Error> {
        let client = &target.remote.client;
        if client.spare() {
            return Ok(());
        }
        if client.standing().healthy {
            return Err(trouble(target, upstream::Error::NoSpare));
        }
        let reason = "it did not answer lately".to_owned();
        Err(trouble(target, upstream::Error::Unavailable { reason }))
    }

    async fn fetch_blob(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
        arrived: &Arrived<'_>,
    ) -> Result<(), Error> {
        let repository = &target.repository;
        if let MirroredBlob::Whole(_) = self.content.mirrored_blob(repository, digest).await? {
            return Ok(());
        }
        // Asked here and not by the fetch itself: a client that joins it must not be refused with it.
        self.unless_scarce(target)?;
        self.store_blob(target, digest, arrived).await.map(drop)
    }
}

/// The manifests of an image, and what they need.
struct Gathering<'a> {
    mirror: &'a Arc<Mirror>,
    target: &'a Target,
    platforms: &'a [Platform],
    /// Those that are here, or will be.
    manifests: HashSet<Digest>,
    /// Those that are here.
    gathered: Vec<Digest>,
    known_blobs: HashSet<Digest>,
    blobs: Vec<Descriptor>,
    progress: ImageProgress,
}

impl Gathering<'_> {
    /// Fetches every manifest that is wanted, the outermost first.
    async fn gather(&mut self, reference: &Reference, tell: &Tell<'_>) -> Result<(), Error> {
        let mut pending = vec![(reference.clone(), 0)];
        while let Some((reference, depth)) = pending.pop() {
            let found = self.manifest(&reference).await?;
            let bytes = found.bytes.unwrap_or_default();
            let media_type = Some(found.media_type.as_str());
            let manifest = self.mirror.content.read_manifest(&bytes, media_type).await;
            let manifest = manifest.map_err(|error| {
                protocol(self.target, format!("sent an unusable manifest: {error}"))
            })?;
            self.manifests.insert(found.digest);
            self.gathered.push(found.digest);
            self.progress.manifests += 1;
            match manifest.kind {
                ManifestKind::Image => {
                    self.progress.images += 1;
                    for reference in manifest.references {
                        self.needs(reference.descriptor)?;
                    }
                }
                ManifestKind::Index => {
                    for child in manifest.into_children() {
                        if self.wants(&child) && self.manifests.insert(child.digest) {
                            self.bounded(depth)?;
                            pending.push((Reference::Digest(child.digest), depth + 1));
                        }
                    }
                }
            }
            tell(self.progress);
        }
        Ok(())
    }

    async fn manifest(&self, reference: &Reference) -> Result<ManifestFound, Error> {
        let is_here = match reference {
            Reference::Digest(_) => {
                let row = self
                    .mirror
                    .content
                    .manifest_row(&self.target.repository, reference);
                row.await?.is_some()
            }
            Reference::Tag(_) => false,
        };
        if !is_here {
            self.mirror.unless_scarce(self.target)?;
        }
        let wanted = ManifestWanted::Bytes;
        let found = self.mirror.manifest(self.target, reference, wanted).await?;
        match found.cache {
            // Whoever warms wants what is there now.
            CacheState::Stale { reason } => {
                self.mirror.unless_scarce(self.target)?;
                let error = upstream::Error::Unavailable { reason };
                Err(trouble(self.target, error))
            }
            CacheState::Hit | CacheState::Revalidated | CacheState::Miss => Ok(found),
        }
    }

    /// Tells whether an entry of an index is asked for. Without a platform it is when it may list some itself.
    fn wants(&self, entry: &Descriptor) -> bool {
        if self.platforms.is_empty() {
            return true;
        }
        match &entry.platform {
            Some(listed) => self.platforms.iter().any(|asked| asked.fits(listed)),
            None => media_type::is_index(&entry.media_type),
        }
    }

    fn needs(&mut self, blob: Descriptor) -> Result<(), Error> {
        // What lives elsewhere is never fetched.
        if !blob.urls.is_empty() || !self.known_blobs.insert(blob.digest) {
            return Ok(());
        }
        if self.blobs.len() >= BLOBS {
            let reason = format!("sent an image with more than {BLOBS} blobs");
            return Err(protocol(self.target, reason));
        }
        self.progress.layers_total += 1;
        self.progress.bytes_total = self.progress.bytes_total.saturating_add(blob.size);
        self.blobs.push(blob);
        Ok(())
    }

    fn bounded(&self, depth: usize) -> Result<(), Error> {
        if depth >= DEPTH {
            let reason = format!("sent indexes more than {DEPTH} deep");
            return Err(protocol(self.target, reason));
        }
        if self.manifests.len() > MANIFESTS {
            let reason = format!("sent an image of more than {MANIFESTS} manifests");
            return Err(protocol(self.target, reason));
        }
        Ok(())
    }
}
