//! One client at work: pushes, moves and deletes in repositories that nobody else writes to, at random, and keeps its ledger.
//! Layers are shared with the other clients, so that they meet in the rows of blobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::client::{Client, Trouble};
use crate::content::{self, Content};
use crate::ledger::{Change, Key, Ledger};
use crate::random::Random;

/// Layers that all clients know; several images share each.
const SHARED_LAYERS: u64 = 10;
/// Images a repository has before more is deleted than pushed.
const IMAGES: usize = 6;
const TAGS: u64 = 5;

/// A client with its repositories.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    repositories: Vec<String>,
    random: Random,
    made: u64,
    name: String,
    /// The largest layer, in bytes.
    pub(crate) largest: u64,
    /// Half of what protects a blob that was said to exist; a push that took longer may find it collected.
    pub(crate) half_lease: std::time::Duration,
}

impl Worker {
    /// Returns the client `name`.
    pub(crate) fn new(name: &str, random: &Random) -> Self {
        Self {
            ledger: Arc::default(),
            repositories: ["app", "base"].map(|end| format!("{name}/{end}")).to_vec(),
            random: random.part(name),
            made: 0,
            name: name.to_owned(),
            largest: 40_000,
            half_lease: std::time::Duration::from_secs(1800),
        }
    }

    /// Returns the ledger, locked.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one random thing.
    pub(crate) async fn step(&mut self, client: &Client) -> Result<(), Trouble> {
        let repository = self
            .random
            .pick(&self.repositories)
            .cloned()
            .unwrap_or_default();
        let images = self.ledger().manifests(&repository).len();
        let chosen = self.random.between(0, 100);
        match chosen {
            _ if images > IMAGES => self.delete_manifest(client, &repository).await,
            0..45 => self.push_image(client, &repository).await,
            45..58 => self.move_tag(client, &repository).await,
            58..66 => self.delete_tag(client, &repository).await,
            66..78 => self.delete_manifest(client, &repository).await,
            78..84 => self.delete_blob(client, &repository).await,
            84..90 => self.push_index(client, &repository).await,
            _ => self.pull(client, &repository).await,
        }
    }

    /// Pushes an image of new and shared layers under a tag, or by its digest alone.
    pub(crate) async fn push_image(
        &mut self,
        client: &Client,
        repository: &str,
    ) -> Result<(), Trouble> {
        self.made += 1;
        let name = format!("{} {}", self.name, self.made);
        let mut layers = Vec::new();
        for _ in 0..self.random.between(0, 3) {
            let shared = self.random.between(0, SHARED_LAYERS);
            let mut bytes = Random::new(shared);
            layers.push(content::layer(bytes.bytes(3000 + 2000 * shared)));
        }
        let size = self.random.between(1, self.largest);
        layers.push(content::layer(self.random.bytes(size)));
        let image = content::image(&name, layers);
        self.ledger().knows(&image);
        let begun = Instant::now();
        for blob in &image.blobs {
            self.bring(client, repository, blob).await?;
        }
        self.push_manifest(client, repository, &image, begun).await
    }

    /// Pushes a manifest whose parts were there at `begun`.
    async fn push_manifest(
        &mut self,
        client: &Client,
        repository: &str,
        manifest: &Content,
        begun: Instant,
    ) -> Result<(), Trouble> {
        let mut changes: Vec<Change> = vec![(
            Key::manifest(repository, &manifest.digest),
            Some(manifest.digest.clone()),
        )];
        let reference = if self.random.chance(85) {
            let tag = format!("v{}", self.random.between(0, TAGS));
            changes.push((Key::tag(repository, &tag), Some(manifest.digest.clone())));
            tag
        } else {
            manifest.digest.clone()
        };
        self.ledger().sends(&changes);
        let answer = client.push(repository, manifest, &reference).await?;
        if [400, 404].contains(&answer.status) && begun.elapsed() > self.half_lease {
            return Ok(());
        }
        answer.expect(&[201])?;
        self.ledger().hears(&changes);
        Ok(())
    }

    /// Makes sure that the repository has the blob, in one of the ways in which clients do.
    async fn bring(
        &mut self,
        client: &Client,
        repository: &str,
        blob: &Content,
    ) -> Result<(), Trouble> {
        let key = Key::blob(repository, &blob.digest);
        let (is_there, may_be_collected) = {
            let ledger = self.ledger();
            (ledger.is_there(&key), ledger.collected)
        };
        if self.random.chance(70) {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            let told = client.head(&path).await?.expect(&[200, 404])?;
            if told.status == 200 {
                return Ok(());
            }
            if is_there && !may_be_collected {
                return Err(Trouble::Wrong(format!("{told}, but it was acknowledged")));
            }
        }
        let change = [(key, Some(blob.digest.clone()))];
        let other = self
            .repositories
            .iter()
            .find(|other| *other != repository)
            .cloned();
        let other = other.filter(|other| self.ledger().is_there(&Key::blob(other, &blob.digest)));
        self.ledger().sends(&change);
        if let Some(other) = other {
            let path = format!(
                "/v2/{repository}/blobs/uploads/?mount={}&from={other}",
                blob.digest
            );
            let mounted = client.post(&path).await?.expect(&[201, 202])?;
            if mounted.status == 201 {
                self.ledger().hears(&change);
                return Ok(());
            }
            let begun = mounted.location()?;
            client.delete(&begun).await?.expect(&[204])?;
        }
        let pieces = if self.random.chance(50) { 1 } else { 3 };
        client.upload(repository, blob, pieces).await?;
        self.ledger().hears(&change);
        Ok(())
    }

    async fn push_index(&mut self, client: &Client, repository: &str) -> Result<(), Trouble> {
        let children = {
            let ledger = self.ledger();
            let manifests = ledger.manifests(repository).into_iter();
            let there = manifests.filter(|manifest| {
                manifest.media_type == content::MANIFEST
                    && ledger.is_there(&Key::manifest(repository, &manifest.digest))
            });
            there.take(2).collect::<Vec<_>>()
        };
        if children.is_empty() {
            return Ok(());
        }
        self.made += 1;
        let index = content::index(&format!("{} {}", self.name, self.made), children);
        self.ledger().knows(&index);
        self.push_manifest(client, repository, &index, Instant::now())
            .await
    }

    /// Points a tag at a manifest that is there.
    pub(crate) async fn move_tag(
        &mut self,
        client: &Client,
        repository: &str,
    ) -> Result<(), Trouble> {
        let Some(manifest) = self.one_manifest(repository) else {
            return Ok(());
        };
        let tag = format!("v{}", self.random.between(0, TAGS));
        let changes = [
            (Key::tag(repository, &tag), Some(manifest.digest.clone())),
            (
                Key::manifest(repository, &manifest.digest),
                Some(manifest.digest.clone()),
            ),
        ];
        self.ledger().sends(&changes);
        let answer = client.push(repository, &manifest, &tag).await?;
        answer.expect(&[201])?;
        self.ledger().hears(&changes);
        Ok(())
    }

    pub(crate) async fn delete_tag(
        &mut self,
        client: &Client,
        repository: &str,
    ) -> Result<(), Trouble> {
        let tag = format!("v{}", self.random.between(0, TAGS));
        let key = Key::tag(repository, &tag);
        let change = [(key.clone(), None)];
        let is_there = self.ledger().is_there(&key);
        self.ledger().sends(&change);
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = client.delete(&path).await?.expect(&[202, 404])?;
        if answer.status == 404 && is_there {
            return Err(Trouble::Wrong(format!("{answer}, but it was acknowledged")));
        }
        self.ledger().hears(&change);
        Ok(())
    }

    /// Deletes a manifest that no index names.
    pub(crate) async fn delete_manifest(
        &mut self,
        client: &Client,
        repository: &str,
    ) -> Result<(), Trouble> {
        let Some(manifest) = self.one_manifest(repository) else {
            return Ok(());
        };
        let digest = &manifest.digest;
        if self.ledger().is_named(repository, digest) {
            let index = self.ledger().manifests(repository).into_iter();
            let mut index = index.filter(|manifest| manifest.media_type == content::INDEX);
            return match index.next() {
                Some(index) => self.delete_named(client, repository, &index.digest).await,
                None => Ok(()),
            };
        }
        self.delete_named(client, repository, digest).await
    }

    async fn delete_named(
        &mut self,
        client: &Client,
        repository: &str,
        digest: &str,
    ) -> Result<(), Trouble> {
        let is_there = self.ledger().is_there(&Key::manifest(repository, digest));
        let changes = self.ledger().deletion(repository, digest);
        self.ledger().sends(&changes);
        let path = format!("/v2/{repository}/manifests/{digest}");
        let answer = client.delete(&path).await?.expect(&[202, 404])?;
        if answer.status == 404 && is_there {
            return Err(Trouble::Wrong(format!("{answer}, but it was acknowledged")));
        }
        self.ledger().hears_manifest_deleted(repository, digest);
        Ok(())
    }

    /// Deletes a blob that no manifest names.
    pub(crate) async fn delete_blob(
        &mut self,
        client: &Client,
        repository: &str,
    ) -> Result<(), Trouble> {
        let chosen = {
            let ledger = self.ledger();
            let unnamed = ledger.of(repository).filter_map(|(key, _)| match key {
                Key::Blob { digest, .. } if !ledger.is_named(repository, digest) => {
                    Some(digest.clone())
                }
                Key::Blob { .. } | Key::Tag { .. } | Key::Manifest { .. } => None,
            });
            unnamed.collect::<Vec<_>>()
        };
        let Some(digest) = self.random.pick(&chosen).cloned() else {
            return Ok(());
        };
        let change = [(Key::blob(repository, &digest), None)];
        self.ledger().sends(&change);
        let path = format!("/v2/{repository}/blobs/{digest}");
        client.delete(&path).await?.expect(&[202, 404])?;
        self.ledger().hears(&change);
        Ok(())
    }

    /// Pulls a tag that is there for certain.
    pub(crate) async fn pull(&mut self, client: &Client, repository: &str) -> Result<(), Trouble> {
        let tags = {
            let ledger = self.ledger();
            let there = ledger.of(repository).filter_map(|(key, states)| match key {
                Key::Tag { tag, .. } if states.len() == 1 && !states.contains(&None) => {
                    Some(tag.clone())
                }
                Key::Tag { .. } | Key::Manifest { .. } | Key::Blob { .. } => None,
            });
            there.collect::<Vec<_>>()
        };
        let Some(tag) = self.random.pick(&tags).cloned() else {
            return Ok(());
        };
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = client.get(&path).await?.expect(&[200])?;
        let digest = content::digest_of(&answer.body);
        let wanted = self.ledger().possible(&Key::tag(repository, &tag));
        if !wanted.contains(&Some(digest.clone())) {
            return Err(Trouble::Wrong(format!(
                "{path} serves {digest}, not {wanted:?}"
            )));
        }
        let Some(manifest) = self.ledger().content(&digest) else {
            return Ok(());
        };
        for blob in &manifest.blobs {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            let got = client.get(&path).await?.expect(&[200])?;
            if got.body != blob.bytes {
                return Err(Trouble::Wrong(format!("{path} serves other bytes")));
            }
        }
        Ok(())
    }

    /// Returns the first repository.
    pub(crate) fn repository(&self) -> String {
        self.repositories.first().cloned().unwrap_or_default()
    }

    fn one_manifest(&mut self, repository: &str) -> Option<Arc<Content>> {
        let manifests = {
            let ledger = self.ledger();
            let mut known = ledger.manifests(repository);
            known.retain(|manifest| ledger.is_there(&Key::manifest(repository, &manifest.digest)));
            known
        };
        self.random.pick(&manifests).cloned()
    }
}
