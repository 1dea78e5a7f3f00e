//! An import from beginning to end: a thread reads the root piece by piece, and each piece becomes one or a few
//! transactions. Whatever stops it, the next run goes on with what is not remembered yet.

use std::io;
use std::path::Path;
use std::sync::Arc;

use blobstore::filesystem::Filesystem;
use blobstore::links::{LinkFiles, Obstacle, RepositoryLinks};
use metadata::{Certainty, Metadata, Standing};
use tokio::sync::mpsc;

use super::origin::RootOrigin;
use super::report::{ImportReport, Unusable};
use super::repository::Repository;
use super::scan::{self, Piece};
use crate::content::error::Error;

/// Pieces that wait for the database.
const AHEAD: usize = 4;

/// What to import.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Whose content it is.
    pub origin: RootOrigin,
    /// Takes links that were taken before too, so that what was deleted or moved since comes back, and gives up what
    /// cannot be used, so that the rest of its repositories is collected again.
    pub force: bool,
    /// The most bytes a manifest may have.
    pub manifest_limit: u64,
}

/// Told how far it is, again and again.
pub(super) type Told<'a> = dyn FnMut(&ImportReport) + Send + 'a;

/// Tells whether link files lie below `root` and none were ever imported, or an import did not come to its end.
///
/// # Errors
/// Storage errors; what may not be read is told with its path.
pub async fn is_unimported(root: &Path, metadata: &Metadata) -> Result<bool, Error> {
    if metadata.upkeep().await?.importing {
        return Ok(true);
    }
    if metadata.ended_import().await?.is_some() {
        return Ok(false);
    }
    let links = LinkFiles::below(root).map_err(unreadable)?;
    let any = tokio::task::spawn_blocking(move || links.any()).await?;
    any.map_err(unreadable)
}

/// Lets only those go on to whom a half-imported root is no danger: nobody knows yet what the rest of it needs.
///
/// # Errors
/// [`Error::Unavailable`] where [`is_unimported`], for the operator; and its own.
pub(in crate::content) async fn refuse_unimported(
    root: &Path,
    metadata: &Metadata,
) -> Result<(), Error> {
    if is_unimported(root, metadata).await? {
        return Err(Error::Unavailable {
            reason: "what Distribution stored here was never imported, or not to the end: run `seawall import` or start the server first".to_owned(),
        });
    }
    Ok(())
}

/// Imports everything below `root` into `metadata`, which this process alone may be using.
///
/// # Errors
/// Storage errors; what may not be read is told with its path. What was taken before stays taken.
pub async fn import(
    root: &Path,
    metadata: &Metadata,
    request: &ImportRequest,
    told: &mut Told<'_>,
) -> Result<ImportReport, Error> {
    let store = Filesystem::open(root)?;
    metadata.begin_import().await?;
    let mut importer = Importer::new(store, Some(metadata.clone()), true, request);
    importer.run(root, told).await?;
    // Only now is it known what nothing needs, and where something was met that nobody can read, it is not known at all.
    let certainty = if importer.is_uncertain && !request.force {
        Certainty::Uncertain
    } else {
        metadata.note_idle_in_repositories().await?;
        metadata.note_idle_bytes().await?;
        Certainty::Certain
    };
    let report = importer.report;
    let counts = ImportReport {
        unusable: Vec::new(),
        unlisted: report.unusable_count(),
        ..report.clone()
    };
    let counts = serde_json::to_string(&counts).map_err(|error| Error::Unavailable {
        reason: error.to_string(),
    })?;
    metadata.end_import(counts, certainty).await?;
    Ok(report)
}

/// Finds what [`import`] would find, without writing anything; `metadata` tells what is known already, nothing without it.
///
/// # Errors
/// As [`import`].
pub async fn dry_run(
    root: &Path,
    metadata: Option<&Metadata>,
    request: &ImportRequest,
    told: &mut Told<'_>,
) -> Result<ImportReport, Error> {
    let store = Filesystem::of_existing(root)?;
    let mut importer = Importer::new(store, metadata.cloned(), false, request);
    importer.run(root, told).await?;
    Ok(importer.report)
}

/// An import under way.
pub(super) struct Importer<'a> {
    pub(super) store: Arc<Filesystem>,
    /// `None` when nothing is known and nothing is written.
    pub(super) metadata: Option<Metadata>,
    /// Whether anything is written.
    pub(super) writes: bool,
    pub(super) request: &'a ImportRequest,
    pub(super) report: ImportReport,
    /// Something was met of which nobody can say which blobs it links.
    pub(super) is_uncertain: bool,
}

impl<'a> Importer<'a> {
    fn new(
        store: Filesystem,
        metadata: Option<Metadata>,
        writes: bool,
        request: &'a ImportRequest,
    ) -> Self {
        let report = ImportReport {
            changed: Some(0),
            ..ImportReport::default()
        };
        Self {
            store: Arc::new(store),
            metadata,
            writes,
            request,
            report,
            is_uncertain: false,
        }
    }

    async fn run(&mut self, root: &Path, told: &mut Told<'_>) -> Result<(), Error> {
        let links = LinkFiles::below(root).map_err(unreadable)?;
        let (to, mut pieces) = mpsc::channel(AHEAD);
        let store = Arc::clone(&self.store);
        let scan = tokio::task::spawn_blocking(move || scan::scan(&store, &links, &to));
        let mut current: Option<Repository> = None;
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Blobs(blobs) => {
                    self.report.blobs += blobs.len() as u64;
                    self.report.bytes += blobs.iter().map(|blob| blob.size).sum::<u64>();
                    self.take_blobs(blobs).await?;
                }
                Piece::Obstacle(obstacle) => self.note_obstacle(obstacle),
                Piece::Begin(links) => current = self.begin(links),
                Piece::Links(links) => {
                    if let Some(repository) = &mut current {
                        self.take_links(repository, links).await?;
                    }
                }
                Piece::End => {
                    if let Some(repository) = current.take() {
                        self.end(repository).await?;
                    }
                }
            }
            told(&self.report);
        }
        scan.await?.map_err(unreadable)
    }

    /// Makes rows for blobs that have none.
    pub(super) async fn take_blobs(&self, blobs: Vec<metadata::FoundBlob>) -> Result<u64, Error> {
        match &self.metadata {
            Some(metadata) if self.writes => {
                let is_local = self.request.origin.is_local();
                Ok(metadata.import_blobs(blobs, is_local).await?)
            }
            Some(_) | None => Ok(0),
        }
    }

    /// Notes what belongs to no repository here.
    fn note_obstacle(&mut self, obstacle: Obstacle) {
        self.is_uncertain = true;
        let Obstacle { path, reason } = obstacle;
        self.report.add_unusable(vec![Unusable { path, reason }]);
    }

    fn begin(&mut self, links: RepositoryLinks) -> Option<Repository> {
        match self.request.origin.place(links.name()) {
            Ok((name, kind)) => Some(Repository::new(links, name, kind)),
            Err(reason) => {
                let path = links.path();
                self.note_obstacle(Obstacle { path, reason });
                None
            }
        }
    }

    async fn end(&mut self, repository: Repository) -> Result<(), Error> {
        let Repository {
            name,
            mut unusable,
            is_used,
            is_uncertain,
            is_refused,
            ..
        } = repository;
        self.report.repositories += u64::from(is_used);
        self.is_uncertain |= is_uncertain;
        let standing = if unusable.is_empty() || self.request.force {
            Standing::Sound
        } else {
            Standing::Held
        };
        unusable.sort_unstable();
        self.report.add_unusable(unusable);
        match &self.metadata {
            // What is here under a refused name is another repository.
            Some(metadata) if self.writes && !is_refused => {
                Ok(metadata.end_import_of(&name, standing).await?)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What the file system says is for the operator, who can mend it.
fn unreadable(error: io::Error) -> Error {
    Error::Unavailable {
        reason: error.to_string(),
    }
}
