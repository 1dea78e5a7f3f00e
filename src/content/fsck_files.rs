//! The half of comparing that begins with files: stored bytes without a row, and what uploads left. Bytes that are right
//! get a row, so that a database that was restored from before them loses nothing; others are nobody's and go.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use blobstore::{BlobAddress, BlobFile, BlobKey, BlobStore, ErrorKind};
use metadata::{Entered, StoredPlace};
use oci::UploadId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::damage::hash;
use super::error::Error;
use super::fsck::Fsck;
use super::problem::{Action, Problem, ProblemKind};

/// Files that are looked up together, and how many such pages wait.
const TOGETHER: usize = 200;
const PAGES: usize = 2;

/// Every stored file, a page at a time; listing goes no further ahead than a few.
pub(super) struct Files {
    pages: mpsc::Receiver<Vec<BlobAddress>>,
    listing: Option<JoinHandle<blobstore::Result<()>>>,
}

/// What bytes without a row are.
enum Bytes {
    /// Those of their digest: how many.
    Right(u64),
    /// Others.
    Wrong,
    /// They cannot be read, and so nothing is done about them.
    Unreadable,
    /// They are gone.
    Gone,
}

impl Files {
    /// Begins to list.
    pub(super) fn list(store: &Arc<dyn BlobStore>) -> Self {
        let (sender, pages) = mpsc::channel(PAGES);
        let store = Arc::clone(store);
        let listing = tokio::task::spawn_blocking(move || {
            let mut page = Vec::with_capacity(TOGETHER);
            store.list(&mut |at, _| {
                page.push(at);
                if page.len() < TOGETHER {
                    return ControlFlow::Continue(());
                }
                let full = std::mem::replace(&mut page, Vec::with_capacity(TOGETHER));
                match sender.blocking_send(full) {
                    Ok(()) => ControlFlow::Continue(()),
                    // Nobody looks any more.
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            drop(sender.blocking_send(page));
            Ok(())
        });
        Self {
            pages,
            listing: Some(listing),
        }
    }

    /// Returns the next page; none at the end.
    ///
    /// # Errors
    /// That the store could not be listed to its end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<BlobAddress>>, Error> {
        if let Some(page) = self.pages.recv().await {
            return Ok(Some(page));
        }
        if let Some(listing) = self.listing.take() {
            listing.await??;
        }
        Ok(None)
    }
}

impl Fsck<'_> {
    /// Looks at a page of stored files.
    pub(super) async fn files(&mut self, page: Vec<BlobAddress>) -> Result<(), Error> {
        let places = page.into_iter().map(|at| StoredPlace {
            digest: at.digest,
            key: at.key.as_ref().map(|key| key.as_str().to_owned()),
        });
        let unknown = self.content.metadata.unknown_places(places.collect());
        for place in unknown.await? {
            if let Some(action) = self.without_row(&place).await? {
                let at = address_of(&place);
                let path = self.content.settings.root.join(at.path());
                self.found.push_back(Problem {
                    digest: Some(place.digest),
                    path: path.display().to_string(),
                    problem: ProblemKind::NoRow,
                    action,
                });
            }
        }
        Ok(())
    }

    /// Looks once more at bytes that no row has, and does what is to be done; none when there is nothing wrong.
    async fn without_row(&mut self, place: &StoredPlace) -> Result<Option<Action>, Error> {
        let content = self.content;
        let bytes = if self.repair {
            self.read(place).await?
        } else {
            Bytes::Unreadable
        };
        // Who stores these bytes now holds their digest until its row is there; who wants to waits from here on.
        let Some(claim) = content.in_use.claim(&BTreeSet::from([place.digest])) else {
            return Ok(None);
        };
        let still = content.metadata.unknown_places(vec![place.clone()]);
        if still.await?.is_empty() || self.open(place).await?.is_none() {
            return Ok(None);
        }
        let action = match bytes {
            Bytes::Gone => None,
            Bytes::Unreadable => Some(Action::None),
            Bytes::Wrong => {
                self.delete(place, claim).await?;
                Some(Action::Removed)
            }
            Bytes::Right(size) => match content.metadata.enter_bytes(place.clone(), size).await? {
                Entered::Entered => Some(Action::Entered),
                Entered::Known => None,
                Entered::Superfluous => {
                    self.delete(place, claim).await?;
                    Some(Action::Removed)
                }
            },
        };
        Ok(action)
    }

    async fn read(&mut self, place: &StoredPlace) -> Result<Bytes, Error> {
        let Some(opened) = self.open(place).await? else {
            return Ok(Bytes::Gone);
        };
        let Ok(BlobFile { file, size }) = opened else {
            return Ok(Bytes::Unreadable);
        };
        let hashed = hash(file, &place.digest, size, &mut self.pace).await?;
        Ok(match hashed {
            Ok(Some(digest)) if digest == place.digest => Bytes::Right(size),
            Ok(_) => Bytes::Wrong,
            Err(error) => {
                tracing::error!(digest = %place.digest, %error, "a stored file cannot be read");
                Bytes::Unreadable
            }
        })
    }

    /// Opens stored bytes; nothing when they are not there.
    async fn open(
        &self,
        place: &StoredPlace,
    ) -> Result<Option<blobstore::Result<BlobFile>>, Error> {
        let (store, at) = (Arc::clone(&self.content.store), address_of(place));
        let opened = tokio::task::spawn_blocking(move || store.open(&at)).await?;
        let is_gone = matches!(&opened, Err(error) if error.kind() == ErrorKind::NotFound);
        Ok((!is_gone).then_some(opened))
    }

    /// Deletes bytes that nobody has a row for; whoever wants to store them waits until they are gone.
    async fn delete<C: Send + 'static>(&self, place: &StoredPlace, claim: C) -> Result<(), Error> {
        let at = address_of(place);
        self.content
            .blocking(move |store| {
                // Goes with the deletion, also when nobody waits for that any longer.
                let _claim = claim;
                store.delete(&at)
            })
            .await
    }

    /// Looks at what uploads left.
    pub(super) async fn uploads(&mut self) -> Result<(), Error> {
        let content = self.content;
        let files = content.blocking(|store| store.list_uploads()).await?;
        // Afterwards: an upload has its row before its file.
        let open = content.metadata.open_uploads().await?;
        let open: HashSet<UploadId> = open.into_iter().map(|(id, _)| id).collect();
        let is_left = |id: &UploadId| !open.contains(id) && !content.in_hands.has(id);
        let left: HashSet<UploadId> = files.into_iter().filter(is_left).collect();
        if left.is_empty() {
            return Ok(());
        }
        // Whoever had one in hands until now has removed it; no one takes it again.
        let still = content.blocking(|store| store.list_uploads()).await?;
        for id in still.into_iter().filter(|id| left.contains(id)) {
            let action = if self.repair {
                content.discard_bytes(&id).await;
                Action::Removed
            } else {
                Action::None
            };
            let path = content.settings.root.join("uploads").join(id.as_str());
            self.found.push_back(Problem {
                digest: None,
                path: path.display().to_string(),
                problem: ProblemKind::TempFile,
                action,
            });
        }
        Ok(())
    }
}

fn address_of(place: &StoredPlace) -> BlobAddress {
    BlobAddress {
        digest: place.digest,
        key: place.key.as_deref().and_then(BlobKey::parse),
    }
}
