//! An export from beginning to end. What the files are to say is remembered before it is written, so that a crash leaves
//! nothing that an import would take for news; doing it again finishes what was left.

use std::io;
use std::sync::Arc;

use blobstore::filesystem::Filesystem;
use blobstore::links::{LinkFiles, RepositoryLinks};
use metadata::{Certainty, Exportable, Link, LinkName, Rekeyed, RepositoryKind};
use oci::{Digest, RepositoryName, Tag};

use super::plan::{self, Plan};
use super::report::{ExportConflict, ExportReport};
use super::write;
use crate::content::error::Error;
use crate::content::import::{RootOrigin, refuse_unimported};
use crate::content::store::{Content, address};
use crate::content::uploads::fresh_id;

/// Names read at once.
const NAMES: u64 = 500;
/// Links handled at once.
const LINKS: usize = 1000;

/// What an export tells on its way.
pub(super) type Told<'a> = dyn FnMut(&ExportReport, Option<&ExportConflict>) + Send + 'a;

impl Content {
    /// Makes the link files below the root say what the rows say; `told` gets how far it is, and what was left.
    ///
    /// Repositories of mirrors are exported only where the whole server is the mirror of one upstream.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a root that was not imported to the end, and what keeps files from being written, for the
    /// operator; storage errors. What was written stays, and doing it again finishes the rest.
    pub async fn export_links(&self, told: &mut Told<'_>) -> Result<ExportReport, Error> {
        let root = &self.settings.root;
        refuse_unimported(root, &self.metadata).await?;
        let mut export = Export {
            content: self,
            files: LinkFiles::below(root).map_err(unwritten)?,
            store: Arc::new(Filesystem::open(root)?),
            report: ExportReport::default(),
            told,
        };
        let mut last = None;
        loop {
            let names = self.metadata.exportable_names(last.as_ref(), NAMES).await?;
            let Some(end) = names.last() else { break };
            last = Some(end.clone());
            for name in &names {
                export.repository(name).await?;
            }
        }
        let (files, report) = (export.files, export.report);
        let flushed = tokio::task::spawn_blocking(move || files.flush()).await?;
        flushed.map_err(unwritten)?;
        // What is there now is known: nothing of it has to be imported when the server starts.
        if self.metadata.ended_import().await?.is_none() {
            let report = "{}".to_owned();
            let ended = self.metadata.end_import(report, Certainty::Certain);
            ended.await?;
        }
        Ok(report)
    }
}

struct Export<'a, 't> {
    content: &'a Content,
    files: LinkFiles,
    store: Arc<Filesystem>,
    report: ExportReport,
    told: &'a mut Told<'t>,
}

impl Export<'_, '_> {
    async fn repository(&mut self, name: &RepositoryName) -> Result<(), Error> {
        let metadata = &self.content.metadata;
        let owner = metadata.owner_of_links(name).await?;
        if owner.is_some_and(|owner| owner != *name) {
            // These files are of a repository that has another name here, and no files of its own.
            return Ok(());
        }
        let repository = metadata.exportable(name).await?;
        if !self.is_exported(name, repository.kind.as_ref()) {
            return Ok(());
        }
        let links = self.files.repository(name);
        if name.as_str().contains(':') {
            let reason = "Distribution stores no repository with a port in its name".to_owned();
            let path = links.path();
            self.conflict(&ExportConflict { path, reason });
            return Ok(());
        }
        self.give_plain_paths(&links, &repository).await?;
        let report = &mut self.report;
        let Exportable {
            layers,
            manifests,
            tags,
            ..
        } = &repository;
        report.repositories += u64::from(!layers.is_empty() || !manifests.is_empty());
        report.blobs += layers.len() as u64;
        report.manifests += manifests.len() as u64;
        report.tags += tags.len() as u64;
        let tags: Vec<Tag> = tags.iter().map(|(tag, _)| tag.clone()).collect();
        let Plan { wanted, gone } = plan::plan(repository);
        let is_empty = wanted.is_empty();
        let mut wanted = wanted.into_iter();
        loop {
            let piece: Vec<_> = wanted.by_ref().take(LINKS).collect();
            if piece.is_empty() {
                break;
            }
            self.write(&links, piece).await?;
        }
        if !gone.is_empty() {
            self.remove(&links, gone, tags, is_empty).await?;
        }
        (self.told)(&self.report, None);
        Ok(())
    }

    fn is_exported(&self, name: &RepositoryName, kind: Option<&RepositoryKind>) -> bool {
        match (kind, &self.content.settings.origin) {
            (None | Some(RepositoryKind::Local), _) => true,
            (
                Some(RepositoryKind::Mirror { upstream }),
                RootOrigin::Proxy {
                    upstream: proxied,
                    plain: true,
                },
            ) => upstream == proxied && name.first_component() != upstream,
            (
                Some(RepositoryKind::Mirror { .. }),
                RootOrigin::Proxy { plain: false, .. } | RootOrigin::Registry { .. },
            ) => false,
        }
    }

    fn conflict(&mut self, conflict: &ExportConflict) {
        self.report.conflicts += 1;
        (self.told)(&self.report, Some(conflict));
    }

    /// Moves bytes that lie under a key to Distribution's path.
    async fn give_plain_paths(
        &mut self,
        links: &RepositoryLinks,
        repository: &Exportable,
    ) -> Result<(), Error> {
        for (digest, key) in &repository.keyed {
            // Nobody may decide about the digest meanwhile.
            let _hold = self.content.in_use.hold(digest).await;
            let from = address(digest, Some(key))?;
            let to = address(digest, None)?;
            let (store, id) = (Arc::clone(&self.store), fresh_id());
            let is_free = self.content.metadata.is_plain_path_free(digest).await?;
            if is_free {
                tokio::task::spawn_blocking(move || store.name_again(&id, &from, &to)).await??;
            }
            if !is_free || self.content.metadata.rekey_blob(digest, key).await? == Rekeyed::Busy {
                let path = links.path();
                let reason = format!(
                    "an older copy of {digest} is being deleted where Distribution looks for it: do this again later"
                );
                self.conflict(&ExportConflict { path, reason });
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        links: &RepositoryLinks,
        wanted: Vec<(Link, Option<Digest>)>,
    ) -> Result<(), Error> {
        let looking = links.clone();
        let due = tokio::task::spawn_blocking(move || write::look(&looking, wanted)).await?;
        let due = due.map_err(unwritten)?;
        for conflict in &due.conflicts {
            self.conflict(conflict);
        }
        let news = due.write.iter().chain(&due.remember).cloned();
        let news: Vec<Link> = news.collect();
        if news.is_empty() {
            return Ok(());
        }
        let name = links.name();
        self.content
            .metadata
            .remember_links(name, name, news)
            .await?;
        self.report.written += due.write.len() as u64;
        let (writing, links) = (links.clone(), due.write);
        let written = tokio::task::spawn_blocking(move || write::write(&writing, &links)).await?;
        written.map_err(unwritten)
    }

    async fn remove(
        &mut self,
        links: &RepositoryLinks,
        gone: Vec<Link>,
        tags: Vec<Tag>,
        is_empty: bool,
    ) -> Result<(), Error> {
        let (removing, files) = (links.clone(), self.files.clone());
        let done = tokio::task::spawn_blocking(move || {
            let removed = write::remove(&removing, gone)?;
            let revisions = removed.0.iter().filter_map(|name| match name {
                LinkName::Revision(digest) => Some(*digest),
                LinkName::Layer(_) | LinkName::Tag(_) | LinkName::Kept(_) => None,
            });
            let revisions: Vec<Digest> = revisions.collect();
            if !revisions.is_empty() {
                write::remove_from_indexes(&removing, &tags, &revisions)?;
            }
            if is_empty {
                removing.remove_empty(&files)?;
            }
            Ok(removed)
        });
        let (names, files, conflicts) = done.await?.map_err(unwritten)?;
        self.report.removed += files;
        for conflict in &conflicts {
            self.conflict(conflict);
        }
        for names in names.chunks(LINKS) {
            let names = names.to_vec();
            self.content
                .metadata
                .forget_links(links.name(), names)
                .await?;
        }
        Ok(())
    }
}

/// What keeps a file from being written is for the operator, who can mend it.
fn unwritten(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::StorageFull,
        _ => Error::Unavailable {
            reason: format!("the link files cannot be written: {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;
    use metadata::{Evict, EvictUnit};
    use oci::{Algorithm, Digest, Manifest, RepositoryName, Tag};

    use crate::config::Cache;
    use crate::content::{Content, ManifestSource, NewManifest, testing};

    const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

    async fn put(
        content: &std::sync::Arc<Content>,
        repository: &RepositoryName,
        source: ManifestSource<'_>,
    ) {
        let manifest = Manifest::parse(MANIFEST, None).expect("an index");
        let new = NewManifest {
            repository,
            digest: Digest::of(Algorithm::Sha256, MANIFEST),
            bytes: Bytes::from_static(MANIFEST),
            manifest: &manifest,
            media_type: &manifest.media_type,
            tags: vec![Tag::parse("1").expect("a tag")],
            source,
        };
        content.put_manifest(new).await.expect("stores");
    }

    #[tokio::test]
    async fn bytes_under_a_key_get_distributions_path_and_lose_the_other_name_later() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, _) = testing::open(directory.path(), Cache::default());
        let content = std::sync::Arc::new(content);
        let digest = Digest::of(Algorithm::Sha256, MANIFEST);
        let name = |text: &str| RepositoryName::parse(text).expect("a name");
        // The first copy is claimed and not deleted yet, as by a crash, so the second one gets a key.
        let (mirrored, pushed) = (name("docker.io/library/nginx"), name("team/app"));
        put(
            &content,
            &mirrored,
            ManifestSource::Upstream { name: "docker.io" },
        )
        .await;
        let found = content.metadata.repository(&mirrored).await;
        let evict = Evict {
            repository: found.expect("reads").expect("it is there").id,
            unit: EvictUnit::Manifest(digest),
            pulled_at: i64::MAX,
            reclaim: [digest].into(),
        };
        content.metadata.evict(vec![evict]).await.expect("evicts");
        let push = ManifestSource::Push {
            by: "anonymous",
            checked: false,
        };
        put(&content, &pushed, push).await;

        let conflicts = async || {
            let report = content.export_links(&mut |_, _| {}).await;
            report.expect("exports").conflicts
        };
        assert_eq!(conflicts().await, 1, "the older copy is in the way");
        content.finish_left_claims().await.expect("deletes");
        assert_eq!(conflicts().await, 0);
        let hex = digest.hex();
        let blobs = directory.path().join("docker/registry/v2/blobs/sha256");
        let place = blobs.join(&hex[..2]).join(&hex);
        assert_eq!(fs::read(place.join("data")).expect("it is there"), MANIFEST);
        content.finish_left_claims().await.expect("deletes");
        assert_eq!(fs::read_dir(&place).expect("it is there").count(), 1);
        let row = content.metadata.find_blob_anywhere(&digest).await;
        assert_eq!(row.expect("reads").expect("it is live").key, None);
        assert_eq!(conflicts().await, 0);
    }
}
