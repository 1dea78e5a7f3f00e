//! Reading a root, on a thread of its own and in pieces, so that neither the disk nor the database waits for the other. It
//! ends early when nobody takes the pieces any more.

use std::io;
use std::ops::ControlFlow;

use blobstore::BlobStore;
use blobstore::filesystem::Filesystem;
use blobstore::links::{FoundLink, FoundRepository, LinkFiles, Obstacle, RepositoryLinks};
use metadata::FoundBlob;
use tokio::sync::mpsc::Sender;

/// Blobs in a piece: a row each.
const BLOBS: usize = 1000;
/// Links in a piece: a few rows each.
const LINKS: usize = 500;

/// A piece of a root.
pub(super) enum Piece {
    /// Blobs at Distribution's paths.
    Blobs(Vec<FoundBlob>),
    /// What keeps repositories from being found.
    Obstacle(Obstacle),
    /// A repository begins.
    Begin(RepositoryLinks),
    /// Links of it: blobs, then manifests, then tags.
    Links(Vec<FoundLink>),
    /// It ends.
    End,
}

/// Sends all of a root: the blobs, then one repository after the other.
pub(super) fn scan(
    store: &Filesystem,
    links: &LinkFiles,
    to: &Sender<Piece>,
) -> Result<(), io::Error> {
    let mut blobs = Vec::with_capacity(BLOBS);
    let listed = store.list(&mut |at, size| {
        // Bytes under a key were stored by Seawall, which has a row for them.
        if at.key.is_some() {
            return ControlFlow::Continue(());
        }
        let digest = at.digest;
        blobs.push(FoundBlob { digest, size });
        if blobs.len() < BLOBS {
            return ControlFlow::Continue(());
        }
        send(to, Piece::Blobs(std::mem::take(&mut blobs)))
    });
    listed.map_err(|error| io::Error::other(error.to_string()))?;
    if send(to, Piece::Blobs(blobs)).is_break() {
        return Ok(());
    }
    let mut failed = None;
    links.repositories(&mut |found| match found {
        FoundRepository::Obstacle(obstacle) => send(to, Piece::Obstacle(obstacle)),
        FoundRepository::Repository(repository) => match scan_links(&repository, to) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    })?;
    failed.map_or(Ok(()), Err)
}

fn scan_links(
    repository: &RepositoryLinks,
    to: &Sender<Piece>,
) -> Result<ControlFlow<()>, io::Error> {
    if send(to, Piece::Begin(repository.clone())).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let mut links = Vec::with_capacity(LINKS);
    repository.links(&mut |found| {
        links.push(found);
        if links.len() < LINKS {
            return ControlFlow::Continue(());
        }
        send(to, Piece::Links(std::mem::take(&mut links)))
    })?;
    if send(to, Piece::Links(links)).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    Ok(send(to, Piece::End))
}

fn send(to: &Sender<Piece>, piece: Piece) -> ControlFlow<()> {
    match to.blocking_send(piece) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}
