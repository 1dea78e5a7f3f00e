//! One walk: chooses what to do, does it to the server and to the model, and compares what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall::clock::Clock as _;
use serde_json::{Value, json};

use super::compare::compare;
use super::random::Random;
use super::registry::{Digest, Facts, Registry};
use crate::support::images::{
    Algorithm, Blob, Content, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Recipe,
    noise,
};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

const REPOSITORIES: [&str; 3] = ["team/a", "team/b", "other"];
const TAGS: [&str; 6] = ["latest", "v1", "v2", "v3", "nightly", "x"];
const BLOBS: u64 = 40;
/// Manifests that one repository has made, of which operations choose.
const REMEMBERED: usize = 60;
const GRACES: [u64; 3] = [0, 1_800, 86_400];
const COMPARE_EVERY: u64 = 40;

pub(super) struct Walk {
    random: Random,
    server: TestServer,
    /// Kept while it is mirrored.
    _upstream: FakeUpstream,
    model: Registry,
    blobs: Vec<Blob>,
    manifests: Vec<(Manifest, Facts)>,
    images: Vec<Content>,
    /// Files of mirrored content, and whether each must be there.
    mirrored: BTreeMap<Digest, bool>,
    made: u64,
}

impl Walk {
    pub(super) async fn start(seed: u64) -> Self {
        let upstream = FakeUpstream::start().await;
        let image = |number| Recipe::image(&format!("mirrored {number}")).build();
        let images: Vec<Content> = (0..5).map(image).collect();
        for (number, image) in images.iter().enumerate() {
            upstream.hold("mirrored/app", image, &[&format!("t{number}")]);
        }
        let server = TestServer::builder()
            .mirror_of(&upstream)
            .config(|config| config["gc"] = json!({"enabled": false}))
            .start()
            .await;
        let blob = |number: u64| {
            let bytes = noise(
                &format!("{seed}/{number}"),
                60 + usize::try_from(number).expect("small"),
            );
            Blob::new(Algorithm::Sha256, OCI_LAYER, bytes)
        };
        Self {
            random: Random::of(seed),
            server,
            _upstream: upstream,
            model: Registry::of(&REPOSITORIES),
            blobs: (0..BLOBS).map(blob).collect(),
            manifests: Vec::new(),
            images,
            mirrored: BTreeMap::new(),
            made: 0,
        }
    }

    pub(super) async fn step(&mut self, step: u64) {
        match self.random.below(100) {
            0..=17 => self.push_blob().await,
            18..=39 => self.push_image().await,
            40..=46 => self.push_index().await,
            47..=52 => self.push_again().await,
            53..=58 => self.delete_tag().await,
            59..=64 => self.delete_manifest().await,
            65..=67 => self.delete_blob().await,
            68..=72 => self.mount().await,
            73..=77 => self.head().await,
            78..=82 => self.pull_mirrored().await,
            83 => self.evict().await,
            84..=92 => self.let_time_pass(),
            93 => self.jump(),
            94..=98 => self.collect().await,
            _ => self.restart(step).await,
        }
        if step.is_multiple_of(COMPARE_EVERY) {
            self.compare_rows();
        }
    }

    fn compare_rows(&self) {
        compare(&self.server, &self.model, &self.mirrored);
    }

    fn now(&self) -> i64 {
        self.server.now()
    }

    fn repository(&mut self) -> &'static str {
        self.random.one_of(&REPOSITORIES).expect("there are some")
    }

    fn tag(&mut self) -> &'static str {
        self.random.one_of(&TAGS).expect("there are some")
    }

    fn blob(&mut self) -> Blob {
        self.random
            .one_of(&self.blobs)
            .expect("there are some")
            .clone()
    }

    fn manifest(&mut self) -> Option<(Manifest, Facts)> {
        self.random.one_of(&self.manifests).cloned()
    }

    async fn push_blob(&mut self) {
        let (name, blob) = (self.repository(), self.blob());
        self.server.client().push_blob(name, &blob.bytes).await;
        self.model.commit(name, &blob.digest, self.now());
    }

    /// Pushes a new image of blobs that mostly are there, now and then as a referrer.
    async fn push_image(&mut self) {
        let name = self.repository();
        let members: Vec<Digest> = self.model.at(name).members.iter().cloned().collect();
        let mut layers = Vec::new();
        for _ in 0..=self.random.below(3) {
            let from_here = self.random.one_of(&members);
            let of_here =
                from_here.and_then(|wanted| self.blobs.iter().find(|blob| blob.digest == *wanted));
            let layer = match of_here.cloned() {
                Some(layer) if self.random.percent(97) => layer,
                _ => self.blob(),
            };
            layers.push(layer);
        }
        self.made += 1;
        let config = Blob::new(
            Algorithm::Sha256,
            OCI_CONFIG,
            format!("{{\"made\":{}}}", self.made % 25),
        );
        self.server.client().push_blob(name, &config.bytes).await;
        self.model.commit(name, &config.digest, self.now());
        let mut json = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
            "annotations": {"made": self.made.to_string()},
        });
        let mut facts = Facts {
            needs: std::iter::once(&config)
                .chain(&layers)
                .map(|blob| blob.digest.clone())
                .collect(),
            ..Facts::default()
        };
        if self.random.percent(25)
            && let Some((subject, _)) = self.manifest()
        {
            json["subject"] = subject.descriptor();
            facts.subject = Some(subject.digest);
        }
        self.push_new(name, json, facts).await;
    }

    /// Pushes an index over manifests that mostly are there, indexes among them.
    async fn push_index(&mut self) {
        let name = self.repository();
        let mut children: Vec<(Manifest, Facts)> = Vec::new();
        for _ in 0..=self.random.below(3) {
            children.extend(self.manifest());
        }
        if self.random.percent(80) {
            let here = &self.model.at(name).manifests;
            children.retain(|(child, _)| here.contains_key(&child.digest));
        }
        self.made += 1;
        let json = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": children.iter().map(|(child, _)| child.descriptor()).collect::<Vec<_>>(),
            "annotations": {"made": self.made.to_string()},
        });
        let facts = Facts {
            children: children
                .into_iter()
                .map(|(child, _)| child.digest)
                .collect(),
            ..Facts::default()
        };
        self.push_new(name, json, facts).await;
    }

    async fn push_new(&mut self, name: &'static str, json: Value, facts: Facts) {
        let manifest = Manifest::new(Algorithm::Sha256, json);
        self.put(name, &manifest, &facts).await;
        if self.manifests.len() == REMEMBERED {
            let oldest = self.random.below(REMEMBERED as u64);
            self.manifests
                .swap_remove(usize::try_from(oldest).expect("an index"));
        }
        self.manifests.push((manifest, facts));
    }

    /// Moves a tag, or brings a manifest back.
    async fn push_again(&mut self) {
        let name = self.repository();
        if let Some((manifest, facts)) = self.manifest() {
            self.put(name, &manifest, &facts).await;
        }
    }

    async fn put(&mut self, name: &'static str, manifest: &Manifest, facts: &Facts) {
        let tag = self.random.percent(60).then(|| self.tag());
        let reference = tag.unwrap_or(&manifest.digest);
        let reply = self
            .server
            .client()
            .push_manifest(name, reference, manifest)
            .await;
        let now = self.now();
        let taken = self.model.push(name, (&manifest.digest, facts), tag, now);
        assert_eq!(reply.status == 201, taken, "{name} {reference}: {reply:?}");
    }

    async fn delete_tag(&mut self) {
        let (name, tag) = (self.repository(), self.tag());
        let path = format!("/v2/{name}/manifests/{tag}");
        let reply = self.server.client().delete(&path).await;
        let now = self.now();
        let went = self.model.delete_tag(name, tag, now);
        assert_eq!(reply.status == 202, went, "{path}: {reply:?}");
    }

    async fn delete_manifest(&mut self) {
        let name = self.repository();
        let here: Vec<Digest> = self.model.at(name).manifests.keys().cloned().collect();
        let Some(digest) = self.random.one_of(&here).cloned() else {
            return;
        };
        let path = format!("/v2/{name}/manifests/{digest}");
        self.server.client().delete(&path).await.expect_status(202);
        let now = self.now();
        assert!(self.model.delete_manifest(name, &digest, now));
    }

    async fn delete_blob(&mut self) {
        let (name, blob) = (self.repository(), self.blob());
        let path = format!("/v2/{name}/blobs/{}", blob.digest);
        let reply = self.server.client().delete(&path).await;
        let now = self.now();
        let went = self.model.delete_blob(name, &blob.digest, now);
        assert_eq!(reply.status == 202, went, "{path}: {reply:?}");
    }

    async fn mount(&mut self) {
        let (from, to, blob) = (self.repository(), self.repository(), self.blob());
        let digest = &blob.digest;
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        let reply = self.server.client().post(&path).await;
        let now = self.now();
        let mounted = self.model.mount(from, to, digest, now);
        assert_eq!(reply.status == 201, mounted, "{path}: {reply:?}");
        if !mounted {
            let location = reply.expect_status(202).location();
            self.server
                .client()
                .delete(&location)
                .await
                .expect_status(204);
        }
    }

    /// Asks whether something exists, as clients do before they push.
    async fn head(&mut self) {
        let (name, blob) = (self.repository(), self.blob());
        let path = format!("/v2/{name}/blobs/{}", blob.digest);
        let reply = self.server.client().head(&path).await;
        let served = self.model.serves(name, &blob.digest);
        assert_eq!(reply.status == 200, served, "{path}: {reply:?}");
        if served {
            let now = self.now();
            self.model.exists(&blob.digest, now);
        }
    }

    async fn pull_mirrored(&mut self) {
        let number = usize::try_from(self.random.below(5)).expect("small");
        let name = format!("{UPSTREAM}/mirrored/app");
        let path = format!("/v2/{name}/manifests/t{number}");
        let image = &self.images[number];
        let reply = self.server.client().get(&path).await.expect_status(200);
        assert_eq!(reply.body, image.top().bytes);
        self.server.client().expect_pull(&name, image).await;
        let blobs = image.blobs.iter().map(|blob| &blob.digest);
        let manifests = image.manifests.iter().map(|manifest| &manifest.digest);
        let all = blobs.chain(manifests).map(|digest| (digest.clone(), true));
        self.mirrored.extend(all);
    }

    async fn evict(&mut self) {
        self.server.evict_down_to(0).await;
        self.mirrored.clear();
        self.compare_rows();
    }

    /// Lets a time pass that meets no end of a lease or of a grace exactly.
    fn let_time_pass(&mut self) {
        let longest = *self.random.one_of(&[600, 7_200, 100_000]).expect("one");
        let micros = self.random.below(longest * 1_000_000);
        self.server.clock().advance(Duration::from_micros(micros));
    }

    /// Sets the wall clock to another time; what is stored must not notice more than the monotonic clock allows.
    fn jump(&mut self) {
        let before = self.now();
        let far = i64::try_from(self.random.below(400_000_000_000)).expect("a few days");
        let by = if self.random.percent(50) { far } else { -far };
        let wall = self.server.clock().wall_micros();
        self.server.clock().set_wall(wall + by);
        assert!(self.now() >= before, "time went back");
    }

    async fn collect(&mut self) {
        let grace = *self.random.one_of(&GRACES).expect("one");
        let delete_untagged = self.random.percent(40);
        self.server
            .collect_after(Duration::from_secs(grace), delete_untagged)
            .await;
        let now = self.now();
        let grace = i64::try_from(grace * 1_000_000).expect("a day");
        self.model.collect(grace, delete_untagged, now);
        self.compare_rows();
    }

    async fn restart(&mut self, step: u64) {
        // Rarely: it costs more than everything else.
        if step.is_multiple_of(5) {
            self.server.restart().await;
        }
    }

    /// Compares rows and files, and what the server answers about everything that was ever remembered.
    pub(super) async fn compare_all(&mut self) {
        self.compare_rows();
        for name in REPOSITORIES {
            for blob in &self.blobs {
                let path = format!("/v2/{name}/blobs/{}", blob.digest);
                let reply = self.server.client().get(&path).await;
                let served = self.model.serves(name, &blob.digest);
                assert_eq!(reply.status == 200, served, "{path}");
                assert!(!served || reply.body == blob.bytes, "{path}");
            }
            for (manifest, _) in &self.manifests {
                let path = format!("/v2/{name}/manifests/{}", manifest.digest);
                let reply = self.server.client().get(&path).await;
                let here = self.model.at(name).manifests.contains_key(&manifest.digest);
                assert_eq!(reply.status == 200, here, "{path}");
                assert!(!here || reply.body == manifest.bytes, "{path}");
            }
        }
        let listed = self
            .server
            .client()
            .get("/v2/_catalog?n=100")
            .await
            .expect_status(200);
        for name in REPOSITORIES {
            let here = !self.model.at(name).manifests.is_empty();
            let told = listed
                .texts("repositories")
                .iter()
                .any(|listed| listed == name);
            assert_eq!(told, here, "{name} in the catalog");
        }
    }
}
