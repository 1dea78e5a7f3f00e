//! One repository under import: its links, a piece at a time. What a link says is compared with what is remembered of it;
//! only news is looked at and recorded.

use std::collections::HashSet;
use std::sync::Arc;

use blobstore::links::{FoundLink, LinkFile, LinkPlace, Obstacle, RepositoryLinks};
use metadata::{
    FoundBlob, ImportLink, ImportLinks, ImportOutcome, Imported, LinkName, Origin, PushManifest,
    ReferenceCheck, RepositoryKind,
};
use oci::{Algorithm, Digest, RepositoryName, Tag};

use super::check::{self, Layer};
use super::report::Unusable;
use super::run::Importer;
use super::verify::{self, Verified};
use crate::content::error::Error;
use crate::content::manifests::references;

/// A repository whose links are being read.
pub(super) struct Repository {
    links: RepositoryLinks,
    /// What it is called here.
    pub(super) name: RepositoryName,
    kind: RepositoryKind,
    /// Its manifests that can be used.
    usable: HashSet<Digest>,
    /// What cannot be used.
    pub(super) unusable: Vec<Unusable>,
    /// Whether anything of it can be used.
    pub(super) is_used: bool,
    /// Whether something was met of which nobody can say which blobs it links.
    pub(super) is_uncertain: bool,
    /// Whether it exists here as something else.
    pub(super) is_refused: bool,
}

/// The link of a blob.
struct LayerLink {
    name: Digest,
    meaning: Layer,
    at: i64,
}

impl LayerLink {
    fn target(&self) -> Digest {
        match self.meaning {
            Layer::Of(target) => target,
            Layer::ByPath => self.name,
        }
    }
}

/// The link of a manifest; `name` is the digest of its path.
struct RevisionLink {
    name: Digest,
    target: Digest,
    at: i64,
}

/// The link of a tag.
struct TagLink {
    tag: Tag,
    file: LinkFile,
    index: Vec<Digest>,
}

impl Repository {
    pub(super) fn new(links: RepositoryLinks, name: RepositoryName, kind: RepositoryKind) -> Self {
        Self {
            links,
            name,
            kind,
            usable: HashSet::new(),
            unusable: Vec::new(),
            is_used: false,
            is_uncertain: false,
            is_refused: false,
        }
    }

    fn refuse(&mut self, place: LinkPlace<'_>, reason: String) {
        let path = self.links.path_of(place);
        self.unusable.push(Unusable { path, reason });
    }

    fn note_obstacle(&mut self, obstacle: Obstacle) {
        self.is_uncertain = true;
        let Obstacle { path, reason } = obstacle;
        self.unusable.push(Unusable { path, reason });
    }
}

impl Importer<'_> {
    /// Takes what the links of a piece say that is new.
    pub(super) async fn take_links(
        &mut self,
        repository: &mut Repository,
        found: Vec<FoundLink>,
    ) -> Result<(), Error> {
        let (mut layers, mut revisions, mut tags) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = Vec::new();
        for link in found {
            match link {
                FoundLink::Obstacle(obstacle) => repository.note_obstacle(obstacle),
                FoundLink::Layer(name, file) => match check::layer(&name, &file) {
                    Ok(meaning) => layers.push(LayerLink {
                        name,
                        meaning,
                        at: file.written_at,
                    }),
                    Err(reason) => {
                        repository.refuse(LinkPlace::Layer(&name), reason);
                        kept.extend(both(name, &file));
                    }
                },
                FoundLink::Revision(name, file) => match check::revision(&name, &file) {
                    Ok(target) => revisions.push(RevisionLink {
                        name,
                        target,
                        at: file.written_at,
                    }),
                    Err(reason) => {
                        repository.refuse(LinkPlace::Revision(&name), reason);
                        kept.extend(both(name, &file));
                    }
                },
                FoundLink::Tag { tag, file, index } => tags.push(TagLink { tag, file, index }),
            }
        }
        if repository.is_refused {
            return Ok(());
        }
        self.take_layers(repository, layers).await?;
        kept.extend(self.take_revisions(repository, revisions).await?);
        kept.extend(self.take_tags(repository, tags).await?);
        self.keep(repository, kept).await
    }

    async fn take_layers(
        &mut self,
        repository: &mut Repository,
        layers: Vec<LayerLink>,
    ) -> Result<(), Error> {
        let names = layers
            .iter()
            .map(|link| (LinkName::Layer(link.name), link.target()));
        let known = self.known(repository, names.collect()).await?;
        let mut links = Vec::new();
        for (link, is_known) in layers.into_iter().zip(known) {
            if is_known {
                repository.is_used = true;
                continue;
            }
            let (name, target, at) = (link.name, link.target(), link.at);
            let name = self.second_name(repository, name, target).await?;
            self.make_empty(&target).await?;
            if link.meaning == Layer::ByPath && is_not_plain(&self.store, &target) {
                let reason = "it is empty, and nothing is stored under the digest of its path";
                repository.refuse(LinkPlace::Layer(&target), reason.to_owned());
                continue;
            }
            links.push(ImportLink::Layer { name, target, at });
        }
        for outcome in self.record(repository, links).await? {
            // A link without bytes is what Distribution's own collector leaves.
            repository.is_used |= outcome == Imported::Taken;
        }
        Ok(())
    }

    /// Gives bytes whose link names them by another digest than its path that digest too; returns the digest that is to
    /// be remembered as the link's name.
    async fn second_name(
        &mut self,
        repository: &mut Repository,
        name: Digest,
        target: Digest,
    ) -> Result<Digest, Error> {
        if name == target {
            return Ok(name);
        }
        let (store, writes) = (Arc::clone(&self.store), self.writes);
        let named = tokio::task::spawn_blocking(move || {
            if verify::is_there(&store, &name) {
                return Ok(None);
            }
            verify::check_second_name(&store, &name, &target).and_then(|size| {
                if writes && size.is_some() {
                    verify::name_again(&store, &name, &target)?;
                }
                Ok(size)
            })
        });
        match named.await? {
            Ok(None) => Ok(name),
            Ok(Some(size)) => {
                self.add_blob(name, size).await?;
                Ok(name)
            }
            Err(reason) => {
                repository.refuse(LinkPlace::Layer(&name), reason);
                Ok(target)
            }
        }
    }

    /// Makes the file of no bytes, which Distribution may not have made.
    async fn make_empty(&mut self, digest: &Digest) -> Result<(), Error> {
        let is_of_nothing = *digest == Digest::of(digest.algorithm(), b"");
        if !is_of_nothing || !self.writes || verify::is_there(&self.store, digest) {
            return Ok(());
        }
        let (store, at) = (Arc::clone(&self.store), *digest);
        tokio::task::spawn_blocking(move || verify::make_empty(&store, &at)).await??;
        self.add_blob(*digest, 0).await
    }

    /// Counts a file that was made, and makes its row.
    async fn add_blob(&mut self, digest: Digest, size: u64) -> Result<(), Error> {
        self.report.blobs += 1;
        self.report.bytes += size;
        self.take_blobs(vec![FoundBlob { digest, size }])
            .await
            .map(drop)
    }

    /// Returns what to keep of manifests that cannot be used.
    async fn take_revisions(
        &mut self,
        repository: &mut Repository,
        revisions: Vec<RevisionLink>,
    ) -> Result<Vec<(Digest, i64)>, Error> {
        let names = revisions
            .iter()
            .map(|link| (LinkName::Revision(link.target), link.target));
        let known = self.known(repository, names.collect()).await?;
        let mut news = Vec::new();
        for (link, is_known) in revisions.into_iter().zip(known) {
            if is_known {
                self.note_usable(repository, link.target);
            } else {
                news.push(link);
            }
        }
        let (store, limit) = (Arc::clone(&self.store), self.request.manifest_limit);
        let read = tokio::task::spawn_blocking(move || {
            let verified = |link: RevisionLink| {
                let verified = verify::manifest(&store, &link.target, limit);
                (link, verified)
            };
            news.into_iter().map(verified).collect::<Vec<_>>()
        });
        let (mut links, mut taken, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (link, verified) in read.await? {
            match verified {
                Ok(verified) => {
                    let manifest = Box::new(push(repository, verified));
                    links.push(ImportLink::Manifest {
                        manifest,
                        at: link.at,
                    });
                    taken.push(link);
                }
                Err(reason) => {
                    repository.refuse(LinkPlace::Revision(&link.name), reason);
                    kept.push((link.target, link.at));
                }
            }
        }
        let outcomes = self.record(repository, links).await?;
        for (link, outcome) in taken.into_iter().zip(outcomes) {
            match outcome {
                Imported::Taken => self.note_usable(repository, link.target),
                Imported::Absent => {
                    let reason = "its bytes are not those that are recorded here";
                    repository.refuse(LinkPlace::Revision(&link.name), reason.to_owned());
                }
            }
        }
        Ok(kept)
    }

    fn note_usable(&mut self, repository: &mut Repository, manifest: Digest) {
        repository.is_used = true;
        if repository.usable.insert(manifest) {
            self.report.manifests += 1;
        }
    }

    /// Returns what to keep of tags that cannot be used.
    async fn take_tags(
        &mut self,
        repository: &mut Repository,
        tags: Vec<TagLink>,
    ) -> Result<Vec<(Digest, i64)>, Error> {
        let (mut claims, mut kept) = (Vec::new(), Vec::new());
        for link in tags {
            let at = link.file.written_at;
            match check::tag(&link.file, &link.index, &repository.usable) {
                Ok(target) if repository.usable.contains(&target) => {
                    claims.push((link.tag, target, at));
                }
                Ok(target) => {
                    let reason = format!(
                        "the manifest it points to cannot be used or is not linked: {target}"
                    );
                    repository.refuse(LinkPlace::Current(&link.tag), reason);
                    kept.push((target, at));
                }
                Err(reason) => repository.refuse(LinkPlace::Current(&link.tag), reason),
            }
        }
        let names = claims
            .iter()
            .map(|(tag, target, _)| (LinkName::Tag(tag.clone()), *target));
        let known = self.known(repository, names.collect()).await?;
        let (mut links, mut taken) = (Vec::new(), Vec::new());
        for ((tag, target, at), is_known) in claims.into_iter().zip(known) {
            if is_known {
                self.report.tags += 1;
                continue;
            }
            taken.push(tag.clone());
            links.push(ImportLink::Tag { tag, target, at });
        }
        let outcomes = self.record(repository, links).await?;
        for (tag, outcome) in taken.iter().zip(outcomes) {
            match outcome {
                Imported::Taken => self.report.tags += 1,
                Imported::Absent => {
                    let reason = "the manifest it points to was deleted through Seawall; --force takes it back";
                    repository.refuse(LinkPlace::Current(tag), reason.to_owned());
                }
            }
        }
        Ok(kept)
    }

    /// Keeps bytes of what cannot be used from being collected while the repository is held.
    async fn keep(
        &mut self,
        repository: &mut Repository,
        kept: Vec<(Digest, i64)>,
    ) -> Result<(), Error> {
        if self.request.force || kept.is_empty() {
            return Ok(());
        }
        let names = kept
            .iter()
            .map(|(digest, _)| (LinkName::Kept(*digest), *digest));
        let known = self.known(repository, names.collect()).await?;
        let links = kept.into_iter().zip(known).filter(|(_, known)| !known);
        let links = links.map(|((digest, at), _)| ImportLink::Kept { digest, at });
        let links: Vec<ImportLink> = links.collect();
        if self.writes {
            self.send(repository, links).await?;
        }
        Ok(())
    }

    /// Tells of each link whether what it says is remembered already.
    async fn known(
        &self,
        repository: &Repository,
        links: Vec<(LinkName, Digest)>,
    ) -> Result<Vec<bool>, Error> {
        let metadata = match &self.metadata {
            Some(metadata) if !self.request.force && !links.is_empty() => metadata,
            Some(_) | None => return Ok(vec![false; links.len()]),
        };
        let (names, targets): (Vec<_>, Vec<_>) = links.into_iter().unzip();
        let known = metadata.known_links(repository.links.name(), names).await?;
        let pairs = known.into_iter().zip(targets);
        let is_known = |(known, target): (Option<metadata::Known>, Digest)| {
            known.is_some_and(|known| known.covers(&target))
        };
        Ok(pairs.map(is_known).collect())
    }

    /// Records links, or says what would become of them; one answer for each.
    async fn record(
        &mut self,
        repository: &mut Repository,
        links: Vec<ImportLink>,
    ) -> Result<Vec<Imported>, Error> {
        if links.is_empty() || repository.is_refused {
            return Ok(vec![Imported::Absent; links.len()]);
        }
        let outcomes = if self.writes {
            self.send(repository, links).await?
        } else {
            let store = Arc::clone(&self.store);
            let outcome = move |link: &ImportLink| match link {
                ImportLink::Layer { target, .. } if !verify::is_there(&store, target) => {
                    Imported::Absent
                }
                ImportLink::Layer { .. }
                | ImportLink::Manifest { .. }
                | ImportLink::Tag { .. }
                | ImportLink::Kept { .. } => Imported::Taken,
            };
            let looked = move || links.iter().map(outcome).collect();
            tokio::task::spawn_blocking(looked).await?
        };
        let taken = |outcome: &&Imported| **outcome == Imported::Taken;
        let taken = outcomes.iter().filter(taken).count() as u64;
        if let Some(changed) = &mut self.report.changed {
            *changed += taken;
        }
        Ok(outcomes)
    }

    async fn send(
        &mut self,
        repository: &mut Repository,
        links: Vec<ImportLink>,
    ) -> Result<Vec<Imported>, Error> {
        let count = links.len();
        let Some(metadata) = self.metadata.as_ref().filter(|_| count > 0) else {
            return Ok(vec![Imported::Absent; count]);
        };
        let sent = metadata.import_links(ImportLinks {
            files: repository.links.name().clone(),
            repository: repository.name.clone(),
            kind: repository.kind.clone(),
            links,
        });
        match sent.await? {
            ImportOutcome::Done(outcomes) => Ok(outcomes),
            ImportOutcome::KindConflict => {
                repository.is_refused = true;
                repository.note_obstacle(Obstacle {
                    path: repository.links.path(),
                    reason: "the repository is here already, as one of another origin".to_owned(),
                });
                Ok(vec![Imported::Absent; count])
            }
        }
    }
}

/// Returns the digests that a link has to do with.
fn both(name: Digest, file: &LinkFile) -> Vec<(Digest, i64)> {
    let mut both = vec![(name, file.written_at)];
    if let blobstore::links::LinkContent::Digest(target) = file.content {
        both.push((target, file.written_at));
    }
    both
}

/// Whether bytes are stored under another digest, if they are here at all: Distribution stores all under sha256.
fn is_not_plain(store: &blobstore::filesystem::Filesystem, digest: &Digest) -> bool {
    digest.algorithm() != Algorithm::Sha256 && !verify::is_there(store, digest)
}

/// Returns the manifest as it is recorded: without its tags, which are links of their own.
fn push(repository: &Repository, verified: Verified) -> PushManifest {
    let Verified {
        digest,
        size,
        manifest,
    } = verified;
    let (origin, upstream) = match &repository.kind {
        RepositoryKind::Local => (Origin::Imported, None),
        RepositoryKind::Mirror { upstream } => (Origin::Mirrored, Some(upstream.clone())),
    };
    PushManifest {
        repository: repository.name.clone(),
        kind: repository.kind.clone(),
        digest,
        media_type: manifest.media_type.clone(),
        size,
        artifact_type: manifest.artifact_type.clone(),
        config_media_type: manifest.config_media_type.clone(),
        subject: manifest.subject.as_ref().map(|subject| subject.digest),
        annotations: manifest.annotations.clone(),
        references: references(&manifest),
        tags: Vec::new(),
        by: "system:import".to_owned(),
        origin,
        upstream,
        lease_micros: 0,
        key: None,
        check: ReferenceCheck::Skip,
        checked_at: 0,
    }
}
