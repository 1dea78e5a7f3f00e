//! What is mirrored here, gathered from the rows for one eviction or purge: units with what they need and how long ago they
//! were pulled. Read in pages, so it may be a little behind; every deletion is checked again in its own transaction.

use std::collections::{HashMap, HashSet};

use metadata::{CachedRepository, EvictUnit, Metadata, RepositoryId};
use oci::{Digest, Glob};

use super::error::Error;
use super::store::Content;
use crate::policy::eviction::{CachedBytes, CachedUnit};

/// Everything mirrored.
#[derive(Default)]
pub(super) struct Cached {
    /// For the choice, in the order of `names`.
    pub(super) units: Vec<CachedUnit>,
    /// What each unit is.
    pub(super) names: Vec<UnitName>,
    /// For the choice, in the order of `digests`.
    pub(super) blobs: Vec<CachedBytes>,
    pub(super) digests: Vec<Digest>,
    pub(super) repositories: HashMap<RepositoryId, CachedRepository>,
    place_of: HashMap<Digest, u32>,
    manifest_of: HashMap<(RepositoryId, Digest), usize>,
}

/// What a unit is in the database.
pub(super) struct UnitName {
    pub(super) repository: RepositoryId,
    pub(super) unit: EvictUnit,
    /// The tags on it.
    pub(super) tags: Vec<String>,
    /// The manifest it refers to, if it is one that does.
    pub(super) subject: Option<Digest>,
}

impl UnitName {
    pub(super) fn digest(&self) -> &Digest {
        let (EvictUnit::Manifest(digest) | EvictUnit::Blob(digest)) = &self.unit;
        digest
    }
}

/// Calls `$each` with every row of every page.
macro_rules! every {
    ($metadata:expr, $page:ident, $each:expr) => {{
        let mut last = None;
        loop {
            let page = $metadata.$page(last.as_ref()).await?;
            let Some(end) = page.last() else { break };
            let end = end.clone();
            page.into_iter().for_each($each);
            last = Some(end);
        }
    }};
}

impl Content {
    /// Gathers everything mirrored, and corrects the running numbers by it.
    pub(super) async fn gather_cached(&self) -> Result<Cached, Error> {
        let mut cached = Cached::default();
        self.sum_stored(Some(&mut cached)).await?;
        cached.read_rows(&self.metadata).await?;
        cached.set_lifetimes(self);
        Ok(cached)
    }

    /// Sums what is stored, for the metrics and for the bound, while no eviction runs; collects mirrored blobs in `cached` on the way.
    pub(super) async fn sum_stored(&self, mut cached: Option<&mut Cached>) -> Result<(), Error> {
        self.rooms.begin_sum();
        let (mut all, mut mirrored) = (0_u64, 0_u64);
        let now = self.metadata.now();
        every!(self.metadata, stored_bytes, |stored| {
            self.rooms.seen(&stored.digest);
            all = all.saturating_add(stored.size);
            if !stored.mirrored {
                return;
            }
            if !stored.local {
                mirrored = mirrored.saturating_add(stored.size);
            }
            if let Some(cached) = &mut cached {
                let place = cached.place(&stored.digest) as usize;
                cached.blobs[place].size = stored.size;
                cached.blobs[place].local = stored.local;
                cached.blobs[place].busy = stored.lease_until > now;
            }
        });
        self.rooms.settle(mirrored);
        self.metrics.store_size(all);
        self.tell_cache_size().await;
        if let Some(cached) = cached {
            self.mark_busy(cached, now);
        }
        Ok(())
    }

    /// Marks what is in use, or has a lease that could not be written.
    pub(super) fn mark_busy(&self, cached: &mut Cached, now: i64) {
        for (blob, digest) in cached.blobs.iter_mut().zip(&cached.digests) {
            blob.busy |=
                self.in_use.is_held(digest) || self.in_use.has_unwritten_lease(digest, now);
        }
    }

    /// Tells the metrics how large the cache is.
    pub(super) async fn tell_cache_size(&self) {
        let size = self.cache_size().await;
        self.metrics
            .cache_size(size.bytes, size.max_bytes.unwrap_or(0));
    }
}

impl Cached {
    /// Returns the place of the blob, which is not stored unless somebody said so.
    fn place(&mut self, digest: &Digest) -> u32 {
        if let Some(place) = self.place_of.get(digest) {
            return *place;
        }
        let place = u32::try_from(self.digests.len()).unwrap_or(u32::MAX);
        self.digests.push(*digest);
        self.blobs.push(CachedBytes::default());
        self.place_of.insert(*digest, place);
        place
    }

    async fn read_rows(&mut self, metadata: &Metadata) -> Result<(), Error> {
        every!(metadata, cached_repositories, |repository| {
            self.repositories.insert(repository.id, repository);
        });
        every!(metadata, cached_manifests, |manifest| {
            let last_pull = manifest.pulled_at.unwrap_or(manifest.created_at);
            let key = (manifest.repository, manifest.digest);
            self.manifest_of.insert(key, self.units.len());
            let name = UnitName {
                repository: manifest.repository,
                unit: EvictUnit::Manifest(manifest.digest),
                tags: Vec::new(),
                subject: manifest.subject,
            };
            self.push(name, last_pull.max(manifest.created_at));
        });
        every!(metadata, cached_tags, |tag| {
            if let Some(unit) = self.manifest_of.get(&(tag.repository, tag.digest)) {
                let last_pull = &mut self.units[*unit].last_pull;
                *last_pull = tag.pulled_at.map_or(*last_pull, |at| at.max(*last_pull));
                self.names[*unit].tags.push(tag.name);
            }
        });
        let mut named = HashSet::new();
        every!(metadata, cached_refs, |reference| {
            let child = self.place(&reference.child);
            named.insert((reference.repository, child));
            if let Some(unit) = self
                .manifest_of
                .get(&(reference.repository, reference.parent))
            {
                self.units[*unit].blobs.push(child);
            }
        });
        every!(metadata, cached_blobs, |blob| {
            let is_manifest = self
                .manifest_of
                .contains_key(&(blob.repository, blob.digest));
            let place = self.place(&blob.digest);
            if !is_manifest && !named.contains(&(blob.repository, place)) {
                let name = UnitName {
                    repository: blob.repository,
                    unit: EvictUnit::Blob(blob.digest),
                    tags: Vec::new(),
                    subject: None,
                };
                let last_pull = blob.pulled_at.unwrap_or(blob.added_at);
                self.push(name, last_pull.max(blob.added_at));
            }
        });
        for unit in &mut self.units {
            unit.blobs.sort_unstable();
            unit.blobs.dedup();
        }
        Ok(())
    }

    fn push(&mut self, name: UnitName, last_pull: i64) {
        let own = self.place(name.digest());
        self.names.push(name);
        self.units.push(CachedUnit {
            last_pull,
            lifetime: None,
            pinned: false,
            blobs: vec![own],
        });
    }

    fn set_lifetimes(&mut self, content: &Content) {
        for (unit, name) in self.units.iter_mut().zip(&self.names) {
            let upstream = self.repositories.get(&name.repository);
            unit.lifetime = upstream.and_then(|of| content.lifetime_of(&of.upstream));
        }
    }

    /// Tells whether a local repository holds the blob.
    pub(super) fn is_local(&self, digest: &Digest) -> bool {
        let place = self.place_of.get(digest);
        place.is_some_and(|place| self.blobs[*place as usize].local)
    }

    /// Returns the name of a repository as patterns have it: `<mirror>/<repository>`, also where a server that is one
    /// mirror as a whole keeps plain names.
    pub(super) fn pattern_name(&self, repository: RepositoryId) -> String {
        let Some(repository) = self.repositories.get(&repository) else {
            return String::new();
        };
        let name = repository.name.as_str();
        let rest = name.strip_prefix(repository.upstream.as_str());
        if rest.is_some_and(|rest| rest.starts_with('/')) {
            name.to_owned()
        } else {
            format!("{}/{name}", repository.upstream)
        }
    }

    /// Marks what `pins` fit as never to be chosen, with the children that are here and what refers to it.
    pub(super) fn pin(&mut self, pins: &[Glob]) {
        if pins.is_empty() {
            return;
        }
        let fits = |unit: &usize| {
            let name = &self.names[*unit];
            let repository = self.pattern_name(name.repository);
            let tagged = |tag: &String| format!("{repository}:{tag}");
            name.tags
                .iter()
                .map(tagged)
                .any(|image| pins.iter().any(|pin| pin.matches(&image)))
        };
        let mut next: Vec<usize> = (0..self.units.len()).filter(fits).collect();
        let referrers = self.referrers();
        while let Some(unit) = next.pop() {
            if std::mem::replace(&mut self.units[unit].pinned, true) {
                continue;
            }
            next.extend(self.children(unit));
            let key = (self.names[unit].repository, *self.names[unit].digest());
            next.extend(referrers.get(&key).into_iter().flatten());
        }
    }

    /// Returns the manifests that a manifest names and that are in its repository.
    pub(super) fn children(&self, unit: usize) -> impl Iterator<Item = usize> + '_ {
        let name = &self.names[unit];
        let digests = self.units[unit]
            .blobs
            .iter()
            .map(|blob| self.digests[*blob as usize]);
        digests
            .filter_map(|digest| self.manifest_of.get(&(name.repository, digest)).copied())
            .filter(move |child| *child != unit)
    }

    /// Returns the manifests that refer to each subject.
    pub(super) fn referrers(&self) -> HashMap<(RepositoryId, Digest), Vec<usize>> {
        let mut referrers: HashMap<_, Vec<usize>> = HashMap::new();
        for (unit, name) in self.names.iter().enumerate() {
            if let Some(subject) = name.subject {
                referrers
                    .entry((name.repository, subject))
                    .or_default()
                    .push(unit);
            }
        }
        referrers
    }
}
