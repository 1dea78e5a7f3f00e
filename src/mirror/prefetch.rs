//! What is fetched because a client came for a manifest: its config and layers, or the platforms of an index. Bounded,
//! and never in a client's way: what does not fit is left to the clients.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use oci::{Digest, Reference, RepositoryName, media_type};
use tokio::sync::Semaphore;

use super::error::Error;
use super::manifest::CacheState;
use super::remotes::{Mirror, Target};
use crate::upstream;

/// Images that are fetched at the same time.
const IMAGES_AT_ONCE: usize = 4;

/// Images that may wait or be fetched; more are not taken.
const QUEUE: usize = 64;

/// Images remembered as whole here.
const REMEMBERED: u64 = 4096;

type Image = (RepositoryName, Digest);

/// The images under way.
pub(super) struct Prefetching {
    turns: Semaphore,
    open: Arc<Mutex<HashSet<Image>>>,
    /// Spares the look at every blob when a manifest is served from here once more.
    whole: moka::sync::Cache<Image, ()>,
}

impl Default for Prefetching {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(IMAGES_AT_ONCE),
            open: Arc::default(),
            whole: moka::sync::Cache::new(REMEMBERED),
        }
    }
}

impl Mirror {
    /// Begins to fetch what the configuration wants after a client's GET of the manifest `digest`: config and layers of
    /// an image (`prefetch.layers`), or the images of an index for some platforms (`prefetch.platforms`). Returns at
    /// once; a failure is only logged, for the clients will ask themselves.
    pub fn prefetch_after(
        self: &Arc<Self>,
        target: &Target,
        digest: &Digest,
        media_type: &str,
        cache: &CacheState,
    ) {
        let wanted = &target.remote.settings.prefetch;
        let is_asked = if media_type::is_index(media_type) {
            !wanted.platforms.is_empty()
        } else {
            wanted.layers
        };
        if !is_asked {
            return;
        }
        let image = (target.repository.clone(), *digest);
        match cache {
            // What was removed here comes as a miss, whatever is remembered.
            CacheState::Miss => {}
            CacheState::Hit | CacheState::Revalidated => {
                if self.prefetching.whole.contains_key(&image) {
                    return;
                }
            }
            CacheState::Stale { .. } => return,
        }
        if !target.remote.client.spare() {
            return;
        }
        let Some(entry) = self.prefetching.enter(image) else {
            return;
        };
        let (mirror, target) = (Arc::clone(self), target.clone());
        tokio::spawn(async move { mirror.prefetch(&target, entry).await });
    }

    async fn prefetch(self: &Arc<Self>, target: &Target, entry: Entry) {
        let Ok(_turn) = self.prefetching.turns.acquire().await else {
            return;
        };
        let reference = Reference::Digest(entry.image.1);
        let platforms = &target.remote.settings.prefetch.platforms;
        let fetched = self.fetch_image(target, &reference, platforms, &|_| {});
        let upstream = &target.remote.settings.name;
        match fetched.await {
            Ok(fetched) => {
                tracing::debug!(upstream, repository = %target.repository, manifest = %reference, layers = fetched.progress.layers_total, "prefetched an image");
                self.prefetching.whole.insert(entry.image.clone(), ());
            }
            Err(Error::Upstream(failed)) if matches!(failed.error, upstream::Error::NoSpare) => {
                tracing::debug!(upstream, repository = %target.repository, manifest = %reference, "left an image to the clients: the upstream has nothing to spare");
            }
            Err(error) => {
                tracing::warn!(upstream, repository = %target.repository, manifest = %reference, %error, "could not prefetch an image");
            }
        }
    }
}

impl Prefetching {
    /// Takes an image in, unless it is under way already or too many are.
    fn enter(&self, image: Image) -> Option<Entry> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&image) {
            return None;
        }
        if open.len() >= QUEUE {
            tracing::info!(repository = %image.0, manifest = %image.1, "left an image to the clients: too many are being prefetched");
            return None;
        }
        open.insert(image.clone());
        Some(Entry {
            open: Arc::clone(&self.open),
            image,
        })
    }
}

/// An image under way; it leaves when this is dropped.
struct Entry {
    open: Arc<Mutex<HashSet<Image>>>,
    image: Image,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.image);
    }
}

#[cfg(test)]
mod tests {
    use oci::{Algorithm, Digest, RepositoryName};

    use super::{Prefetching, QUEUE};

    fn image(number: usize) -> (RepositoryName, Digest) {
        let name = RepositoryName::parse("docker.io/library/nginx").expect("a name");
        (
            name,
            Digest::of(Algorithm::Sha256, number.to_string().as_bytes()),
        )
    }

    #[test]
    fn an_image_is_taken_once_until_it_leaves() {
        let prefetching = Prefetching::default();
        let entry = prefetching.enter(image(0)).expect("there is room");
        assert!(prefetching.enter(image(0)).is_none());
        drop(entry);
        assert!(prefetching.enter(image(0)).is_some());
    }

    #[test]
    fn what_does_not_fit_the_queue_is_left_to_the_clients() {
        let prefetching = Prefetching::default();
        let mut entries: Vec<_> = (0..QUEUE)
            .map(|number| prefetching.enter(image(number)).expect("there is room"))
            .collect();
        assert!(prefetching.enter(image(QUEUE)).is_none());
        entries.pop();
        assert!(prefetching.enter(image(QUEUE)).is_some());
    }
}
