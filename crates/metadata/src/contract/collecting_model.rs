//! Random pushes, moves, deletions and collections beside a model that knows no candidates: it looks at everything, again
//! and again, until nothing without a holder is left. What a collection leaves must be what the model leaves.

use std::collections::{BTreeMap, BTreeSet};

use oci::ReferenceKind;

use super::collecting::{AT_ONCE, UNTAGGED, collected};
use super::support::{World, commit, digest, name, push, references, tag};
use crate::clock::tests::HOUR;
use crate::{Mount, MountOutcome, Place, PushManifest};

const SEEDS: u64 = 60;
const STEPS: u64 = 40;
const REPOSITORIES: [&str; 2] = ["a", "b"];

/// A small generator of numbers; the same seed gives the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }

    fn pick<T: Clone>(&mut self, from: &BTreeSet<T>) -> Option<T> {
        let place = self.below(u64::try_from(from.len()).expect("a few").max(1));
        from.iter()
            .nth(usize::try_from(place).expect("a few"))
            .cloned()
    }
}

#[derive(Clone, Default)]
struct Manifest {
    layers: BTreeSet<String>,
    children: BTreeSet<String>,
    subject: Option<String>,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<String>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
}

impl Repository {
    fn is_named(&self, content: &String) -> bool {
        let names = |manifest: &Manifest| {
            manifest.layers.contains(content) || manifest.children.contains(content)
        };
        self.manifests.values().any(names)
    }

    fn is_kept(&self, content: &String) -> bool {
        let subject = &self.manifests[content].subject;
        let subject = subject.as_ref();
        self.tags.values().any(|tagged| tagged == content)
            || self.is_named(content)
            || subject.is_some_and(|subject| self.manifests.contains_key(subject))
    }

    fn sweep(&mut self, delete_untagged: bool) {
        if delete_untagged {
            let loose = |here: &Self| {
                here.manifests
                    .keys()
                    .find(|content| !here.is_kept(content))
                    .cloned()
            };
            while let Some(loose) = loose(self) {
                self.manifests.remove(&loose);
            }
        }
        let blobs = std::mem::take(&mut self.blobs);
        self.blobs = blobs
            .into_iter()
            .filter(|blob| self.is_named(blob) || self.manifests.contains_key(blob))
            .collect();
    }

    fn manifests(&self) -> BTreeSet<String> {
        self.manifests.keys().cloned().collect()
    }
}

/// One history.
struct History<'a> {
    world: &'a World,
    seed: u64,
    random: Random,
    model: BTreeMap<&'static str, Repository>,
    /// Everything that was ever pushed.
    blobs: BTreeSet<String>,
    manifests: BTreeSet<String>,
}

impl History<'_> {
    fn real(&self, repository: &str) -> String {
        format!("{repository}{}", self.seed)
    }

    /// Returns something to refer to of what the set holds, or nothing.
    fn some(&mut self, of: &BTreeSet<String>) -> BTreeSet<String> {
        let wanted = self.random.below(3);
        (0..wanted).filter_map(|_| self.random.pick(of)).collect()
    }

    async fn step(&mut self, number: u64) {
        let repository = REPOSITORIES[usize::try_from(self.random.below(2)).expect("0 or 1")];
        match self.random.below(16) {
            0..=3 => self.push_blob(repository, number).await,
            4 => self.mount(repository).await,
            5..=9 => self.push_manifest(repository, number).await,
            10 => self.delete_manifest(repository).await,
            11 => self.delete_tag(repository).await,
            12 => self.unlink(repository).await,
            13 => self.collect(true).await,
            _ => self.collect(false).await,
        }
    }

    async fn push_blob(&mut self, repository: &'static str, number: u64) {
        let known = self.blobs.clone();
        let again = self.random.below(3) == 0;
        let known = again.then(|| self.random.pick(&known)).flatten();
        let blob = known.unwrap_or_else(|| format!("blob {number} of {}", self.seed));
        self.world
            .commit(commit(&self.real(repository), &blob))
            .await;
        self.blobs.insert(blob.clone());
        let of_model = self.model.entry(repository).or_default();
        of_model.blobs.insert(blob);
    }

    async fn mount(&mut self, to: &'static str) {
        let from = REPOSITORIES[usize::from(to == "a")];
        let held = self.model.entry(from).or_default().blobs.clone();
        let Some(blob) = self.random.pick(&held) else {
            return;
        };
        let mount = Mount {
            from: name(&self.real(from)),
            to: name(&self.real(to)),
            digest: digest(&blob),
            by: "alice".into(),
            lease_micros: HOUR,
        };
        let mounted = self.world.metadata.mount_blob(mount).await.expect("mounts");
        assert!(matches!(mounted, MountOutcome::Mounted { .. }));
        self.model.entry(to).or_default().blobs.insert(blob);
    }

    async fn push_manifest(&mut self, repository: &'static str, number: u64) {
        let of_model = self.model.entry(repository).or_default();
        let (blobs, stored) = (of_model.blobs.clone(), of_model.manifests());
        let subjects = self.manifests.clone();
        let manifest = Manifest {
            layers: self.some(&blobs),
            children: self.some(&stored),
            subject: (self.random.below(3) == 0)
                .then(|| self.random.pick(&subjects))
                .flatten(),
        };
        let content = format!("manifest {number} of {}", self.seed);
        let tag_name = format!("v{}", self.random.below(3));
        let is_tagged = self.random.below(2) == 0;
        let text = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<String>>();
        let (layers, children) = (text(&manifest.layers), text(&manifest.children));
        let texts = |list: &[String], kind| {
            let texts: Vec<&str> = list.iter().map(String::as_str).collect();
            references(kind, &texts)
        };
        let mut all = texts(&layers, ReferenceKind::Layer);
        all.extend(texts(&children, ReferenceKind::Child));
        for (position, reference) in (0..).zip(&mut all) {
            reference.position = position;
        }
        self.world
            .push(PushManifest {
                references: all,
                subject: manifest.subject.as_deref().map(digest),
                tags: is_tagged.then(|| tag(&tag_name)).into_iter().collect(),
                ..push(&self.real(repository), &content)
            })
            .await;
        self.manifests.insert(content.clone());
        let of_model = self.model.entry(repository).or_default();
        of_model.manifests.insert(content.clone(), manifest);
        if is_tagged {
            of_model.tags.insert(tag_name, content);
        }
    }

    async fn delete_manifest(&mut self, repository: &'static str) {
        let stored = self.model.entry(repository).or_default().manifests();
        let Some(content) = self.random.pick(&stored) else {
            return;
        };
        let (real, manifest) = (name(&self.real(repository)), digest(&content));
        let metadata = &self.world.metadata;
        let deleted = metadata.delete_manifest(&real, &manifest, "alice").await;
        assert!(deleted.expect("deletes"), "{content} was there");
        let of_model = self.model.entry(repository).or_default();
        of_model.manifests.remove(&content);
        of_model.tags.retain(|_, tagged| *tagged != content);
    }

    async fn delete_tag(&mut self, repository: &'static str) {
        let of_model = self.model.entry(repository).or_default();
        let Some((gone, _)) = of_model.tags.pop_first() else {
            return;
        };
        let (real, gone) = (name(&self.real(repository)), tag(&gone));
        let deleted = self.world.metadata.delete_tag(&real, &gone, "alice").await;
        assert!(deleted.expect("deletes"));
    }

    async fn unlink(&mut self, repository: &'static str) {
        let held = self.model.entry(repository).or_default().blobs.clone();
        let Some(blob) = self.random.pick(&held) else {
            return;
        };
        let (real, unlinked) = (name(&self.real(repository)), digest(&blob));
        let metadata = &self.world.metadata;
        let unlinked = metadata.unlink_blob(&real, &unlinked).await;
        assert!(unlinked.expect("unlinks"));
        self.model
            .entry(repository)
            .or_default()
            .blobs
            .remove(&blob);
    }

    async fn collect(&mut self, delete_untagged: bool) {
        self.world.clock.advance(HOUR);
        let how = if delete_untagged { UNTAGGED } else { AT_ONCE };
        collected(self.world, how).await;
        for of_model in self.model.values_mut() {
            of_model.sweep(delete_untagged);
        }
        self.compare().await;
    }

    async fn compare(&self) {
        let seed = self.seed;
        for (repository, of_model) in &self.model {
            let real = self.real(repository);
            for blob in &self.blobs {
                let held = self.world.gives(&real, blob).await;
                assert_eq!(
                    held,
                    of_model.blobs.contains(blob),
                    "seed {seed}: {blob} in {repository}"
                );
            }
            for manifest in &self.manifests {
                let stored = self.world.by_digest(&real, manifest).await.is_some();
                let expected = of_model.manifests.contains_key(manifest);
                assert_eq!(stored, expected, "seed {seed}: {manifest} in {repository}");
            }
        }
        for content in self.blobs.union(&self.manifests) {
            let needed = self.model.values().any(|of_model| {
                of_model.blobs.contains(content)
                    || of_model.manifests.contains_key(content)
                    || of_model.is_named(content)
            });
            let place = self.world.metadata.find_place(&digest(content)).await;
            let is_live = matches!(place.expect("reads"), Place::Live(_));
            assert_eq!(is_live, needed, "seed {seed}: the bytes of {content}");
        }
    }
}

pub(super) async fn a_collection_leaves_what_a_look_at_everything_leaves(world: World) {
    for seed in 1..=SEEDS {
        let mut history = History {
            world: &world,
            seed,
            random: Random(seed),
            model: BTreeMap::new(),
            blobs: BTreeSet::new(),
            manifests: BTreeSet::new(),
        };
        for number in 0..STEPS {
            history.step(number).await;
        }
        history.collect(true).await;
    }
}
