//! An export from beginning to end. What the files are to say is remembered before it is written, beside what they said,
//! and what they said is forgotten when they are on the disk: so neither a crash nor a power cut leaves anything that an
//! import would take for news, and doing it again finishes what was left.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use blobstore::filesystem::Filesystem;
use blobstore::links::{LinkFiles, RepositoryLinks};
use metadata::{Certainty, Exportable, Known, LinkName, RepositoryKind};
use oci::{Digest, RepositoryName, Tag};

use super::plan::{self, Plan, Wanted};
use super::report::{ExportConflict, ExportReport};
use super::write;
use crate::content::error::Error;
use crate::content::import::{RootOrigin, refuse_unimported};
use crate::content::store::Content;

/// Names read at once.
const NAMES: u64 = 500;
/// Links handled at once.
const LINKS: usize = 1000;

/// Links that wait for one flush, about.
const UNFLUSHED: usize = 10_000;

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
        // What will be there is known: nothing of it has to be imported, also when this breaks off.
        if self.metadata.ended_import().await?.is_none() {
            let report = "{}".to_owned();
            let ended = self.metadata.end_import(report, Certainty::Certain);
            ended.await?;
        }
        let mut export = Export {
            content: self,
            files: LinkFiles::below(root).map_err(unwritten)?,
            store: Arc::new(Filesystem::open(root)?),
            report: ExportReport::default(),
            unflushed: Unflushed::default(),
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
        export.settle().await?;
        Ok(export.report)
    }
}

/// What a power cut could undo, by repository.
#[derive(Default)]
struct Unflushed {
    written: Vec<(RepositoryName, Vec<LinkName>)>,
    removed: Vec<(RepositoryName, Vec<LinkName>)>,
    count: usize,
}

struct Export<'a, 't> {
    content: &'a Content,
    files: LinkFiles,
    store: Arc<Filesystem>,
    report: ExportReport,
    unflushed: Unflushed,
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
            let content = self.content;
            if let Some(reason) = content.give_plain_path(&self.store, digest, key).await? {
                let path = links.path();
                self.conflict(&ExportConflict { path, reason });
            }
        }
        Ok(())
    }

    async fn write(&mut self, links: &RepositoryLinks, wanted: Vec<Wanted>) -> Result<(), Error> {
        let looking = links.clone();
        let due = tokio::task::spawn_blocking(move || write::look(&looking, wanted)).await?;
        let due = due.map_err(unwritten)?;
        for conflict in &due.conflicts {
            self.conflict(conflict);
        }
        let news: Vec<_> = due.write.iter().chain(&due.remember).cloned().collect();
        if news.is_empty() {
            return Ok(());
        }
        if due.flush_first {
            flush(&self.files).await?;
        }
        let name = links.name();
        let unsettled = news.iter().filter(|(_, known)| known.previous.is_some());
        let unsettled: Vec<LinkName> = unsettled.map(|(name, _)| name.clone()).collect();
        self.content
            .metadata
            .remember_links(name, name, news)
            .await?;
        self.report.written += due.write.len() as u64;
        let (writing, links) = (links.clone(), due.write);
        let written = tokio::task::spawn_blocking(move || write::write(&writing, &links)).await?;
        written.map_err(unwritten)?;
        if !unsettled.is_empty() {
            self.unflushed.count += unsettled.len();
            self.unflushed.written.push((name.clone(), unsettled));
        }
        self.settle_if_many().await
    }

    async fn remove(
        &mut self,
        links: &RepositoryLinks,
        gone: Vec<(LinkName, Known)>,
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
            let revisions: HashSet<Digest> = revisions.collect();
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
        self.unflushed.count += names.len();
        self.unflushed.removed.push((links.name().clone(), names));
        self.settle_if_many().await
    }

    async fn settle_if_many(&mut self) -> Result<(), Error> {
        if self.unflushed.count < UNFLUSHED {
            return Ok(());
        }
        self.settle().await
    }

    /// Makes all that was done survive a power cut, and then remembers nothing else any more.
    async fn settle(&mut self) -> Result<(), Error> {
        flush(&self.files).await?;
        let metadata = &self.content.metadata;
        let Unflushed {
            written, removed, ..
        } = std::mem::take(&mut self.unflushed);
        for (files, names) in &written {
            for names in names.chunks(LINKS) {
                metadata.settle_links(files, names.to_vec()).await?;
            }
        }
        for (files, names) in &removed {
            for names in names.chunks(LINKS) {
                metadata.forget_links(files, names.to_vec()).await?;
            }
        }
        Ok(())
    }
}

/// Makes all that was written survive a power cut.
async fn flush(files: &LinkFiles) -> Result<(), Error> {
    let files = files.clone();
    let flushed = tokio::task::spawn_blocking(move || files.flush()).await?;
    flushed.map_err(unwritten)
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
    use std::sync::Arc;

    use oci::RepositoryName;

    use crate::config::Cache;
    use crate::content::{Content, FsckRequest, ManifestSource, is_unimported, testing};

    async fn push(content: &Arc<Content>, repository: &str) {
        let repository = RepositoryName::parse(repository).expect("a name");
        let source = ManifestSource::Push {
            by: "anonymous",
            checked: false,
        };
        testing::put_manifest(content, &repository, source).await;
    }

    #[tokio::test]
    async fn a_root_whose_first_export_broke_off_does_not_have_to_be_imported() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (content, _) = testing::open(directory.path(), Cache::default());
        let content = Arc::new(content);
        push(&content, "team/a").await;
        push(&content, "team/b").await;
        let first_is_done = tokio::sync::Notify::new();
        let mut told = |_: &_, _: Option<&_>| first_is_done.notify_one();
        tokio::select! {
            biased;
            () = first_is_done.notified() => {}
            exported = content.export_links(&mut told) => panic!("it went on: {exported:?}"),
        }
        let repositories = directory.path().join("docker/registry/v2/repositories");
        assert!(repositories.join("team/a/_manifests").exists());
        let unimported = is_unimported(directory.path(), &content.metadata).await;
        assert!(!unimported.expect("looks"));
        let request = FsckRequest {
            repair: false,
            rate: 0,
        };
        assert!(content.fsck(request).await.is_ok());
        let exported = content.export_links(&mut |_, _| {}).await;
        assert_eq!(exported.expect("exports").tags, 2);
    }
}
