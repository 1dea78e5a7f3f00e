//! One of several who push images of the same layers, as clients do: ask whether a layer exists, mount it from a neighbour,
//! else upload it; then push the manifest under a tag. A few images are kept, the others are deleted.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;

use crate::client::{Answer, Client, Trouble};
use crate::content::{Content, digest_of, image, layer};
use crate::random::Random;

/// Layers that the images are made of, and their bytes.
const LAYERS: usize = 24;
const SIZE: u64 = 2_000;
/// Images that one pusher keeps.
const KEPT: usize = 3;
/// Repositories; pushers meet in them.
const REPOSITORIES: [&str; 3] = ["race/a", "race/b", "race/c"];

/// How pushes went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    pub(super) tagged: usize,
    /// Pushes that the server refused or failed.
    pub(super) refused: usize,
}

impl Pushed {
    pub(super) fn add(&mut self, other: Self) {
        self.tagged += other.tagged;
        self.refused += other.refused;
    }
}

/// An image under its tag.
struct Tagged {
    repository: &'static str,
    tag: String,
    image: Arc<Content>,
}

/// One who pushes.
pub(super) struct Pusher {
    number: usize,
    client: Client,
    layers: Arc<Vec<Arc<Content>>>,
    random: Random,
    kept: Vec<Tagged>,
    pushed: Pushed,
    made: u64,
}

/// Returns the layers that all pushers use.
pub(super) fn layers(random: &Random) -> Arc<Vec<Arc<Content>>> {
    let mut random = random.part("layers");
    Arc::new((0..LAYERS).map(|_| layer(random.bytes(SIZE))).collect())
}

impl Pusher {
    pub(super) fn new(
        number: usize,
        client: Client,
        layers: Arc<Vec<Arc<Content>>>,
        random: Random,
    ) -> Self {
        Self {
            number,
            client,
            layers,
            random,
            kept: Vec::new(),
            pushed: Pushed::default(),
            made: 0,
        }
    }

    pub(super) fn pushed(&self) -> Pushed {
        self.pushed
    }

    /// Returns how many images are tagged now.
    pub(super) fn alive(&self) -> usize {
        self.kept.len()
    }

    /// Pushes an image, and deletes one when there are too many.
    pub(super) async fn turn(&mut self) -> Result<(), String> {
        self.made += 1;
        let repository = *self
            .random
            .pick(&REPOSITORIES)
            .ok_or("there are repositories")?;
        let mut chosen = Vec::new();
        for _ in 0..self.random.between(1, 5) {
            let layer = self.random.pick(&self.layers).ok_or("there are layers")?;
            if !chosen
                .iter()
                .any(|known: &Arc<Content>| known.digest == layer.digest)
            {
                chosen.push(Arc::clone(layer));
            }
        }
        let tag = format!("p{}-{}", self.number, self.made);
        let image = image(&tag, chosen);
        match self.push(repository, &tag, &image).await {
            Ok(()) => {
                self.pushed.tagged += 1;
                self.kept.push(Tagged {
                    repository,
                    tag,
                    image,
                });
            }
            // A push that does not end well is told to whoever pushes; it breaks nothing.
            Err(Trouble::Failed(_) | Trouble::Wrong(_)) => self.pushed.refused += 1,
            Err(Trouble::Broken(reason)) => return Err(reason),
        }
        while self.kept.len() > KEPT {
            let oldest = self.kept.remove(0);
            self.delete(&oldest)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn push(
        &mut self,
        repository: &'static str,
        tag: &str,
        image: &Arc<Content>,
    ) -> Result<(), Trouble> {
        for blob in &image.blobs {
            self.provide(repository, blob).await?;
        }
        let answer = self.client.push(repository, image, tag).await?;
        answer.expect(&[201]).map(drop)
    }

    /// Makes sure that the repository has the blob, in the cheapest way.
    async fn provide(
        &mut self,
        repository: &'static str,
        blob: &Arc<Content>,
    ) -> Result<(), Trouble> {
        let digest = &blob.digest;
        let asked = self
            .client
            .head(&format!("/v2/{repository}/blobs/{digest}"))
            .await?;
        if asked.status == 200 {
            return Ok(());
        }
        if self.random.chance(50)
            && let Some(from) = self.random.pick(&REPOSITORIES)
        {
            let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
            let mounted = self.client.post(&path).await?.expect(&[201, 202])?;
            if mounted.status == 201 {
                return Ok(());
            }
            let location = mounted.location()?;
            self.client.delete(&location).await?;
        }
        self.client.upload(repository, blob, 1).await
    }

    /// Deletes an image as clients do, by its digest.
    async fn delete(&self, tagged: &Tagged) -> Result<Answer, Trouble> {
        let Tagged {
            repository, image, ..
        } = tagged;
        let path = format!("/v2/{repository}/manifests/{}", image.digest);
        self.client
            .send(Method::DELETE, &path, "", Bytes::new())
            .await
    }

    /// Pulls every image that is tagged; returns what cannot be pulled whole.
    pub(super) async fn broken(&self) -> Result<Vec<String>, String> {
        let mut broken = Vec::new();
        for tagged in &self.kept {
            let problem = self
                .problem(tagged)
                .await
                .map_err(|error| error.to_string())?;
            broken.extend(problem);
        }
        Ok(broken)
    }

    async fn problem(&self, tagged: &Tagged) -> Result<Option<String>, Trouble> {
        let Tagged {
            repository,
            tag,
            image,
        } = tagged;
        let found = self
            .client
            .get(&format!("/v2/{repository}/manifests/{tag}"))
            .await?;
        if found.status != 200 || found.body != image.bytes {
            return Ok(Some(format!(
                "{repository}:{tag}: its manifest: {}",
                found.status
            )));
        }
        for blob in &image.blobs {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            let problem = match self.client.get(&path).await {
                Ok(found) if found.status != 200 => Some(found.status.to_string()),
                Ok(found) if digest_of(&found.body) != blob.digest => {
                    Some("wrong bytes".to_owned())
                }
                Ok(_) => None,
                Err(Trouble::Broken(reason)) => Some(reason),
                Err(other) => return Err(other),
            };
            if let Some(problem) = problem {
                return Ok(Some(format!(
                    "{repository}:{tag}: {}: {problem}",
                    blob.digest
                )));
            }
        }
        Ok(None)
    }
}
