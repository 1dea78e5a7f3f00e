//! Images, indexes and artifacts made from a seed: the same seed gives the same bytes, and nothing
//! here asks Seawall what a digest is.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const SBOM: &str = "application/vnd.example.sbom.v1";
pub(crate) const SIGNATURE: &str = "application/vnd.example.signature.v1";

/// The bytes of a layer: enough to see a body cut, small enough to make hundreds.
const LAYER_SIZE: usize = 700;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

/// The algorithms that are equals here; stories about content run with each.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> String {
    let raw = match algorithm {
        Algorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        Algorithm::Sha512 => Sha512::digest(bytes).to_vec(),
    };
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{hex}", algorithm.name())
}

/// Returns `size` bytes that look random and depend on the seed alone.
pub(crate) fn noise(seed: &str, size: usize) -> Bytes {
    let mut state = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
}

impl Blob {
    pub(crate) fn new(algorithm: Algorithm, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type: media_type.to_owned(),
            digest: digest_of(algorithm, &bytes),
            bytes,
        }
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
    pub(crate) json: Value,
}

impl Manifest {
    /// Writes `json` down; its media type is the one it states, OCI's image manifest without one.
    pub(crate) fn new(algorithm: Algorithm, json: Value) -> Self {
        let bytes = Bytes::from(serde_json::to_vec(&json).expect("a value can be written"));
        Self {
            media_type: json["mediaType"]
                .as_str()
                .unwrap_or(OCI_MANIFEST)
                .to_owned(),
            digest: digest_of(algorithm, &bytes),
            bytes,
            json,
        }
    }

    /// Returns the descriptor an index or a `subject` names this manifest by.
    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }

    /// Returns the same document changed by hand.
    pub(crate) fn changed(&self, algorithm: Algorithm, change: impl FnOnce(&mut Value)) -> Self {
        let mut json = self.json.clone();
        change(&mut json);
        Self::new(algorithm, json)
    }
}

/// What belongs together: blobs, and manifests in the order they can be pushed; the last is the top.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) blobs: Vec<Blob>,
    pub(crate) manifests: Vec<Manifest>,
}

impl Content {
    pub(crate) fn top(&self) -> &Manifest {
        self.manifests.last().expect("content has a manifest")
    }
}

/// How to make an image or artifact.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    seed: String,
    algorithm: Algorithm,
    layers: usize,
    base: Option<Blob>,
    manifest_type: &'static str,
    layer_type: String,
    config: Option<(String, Bytes)>,
    fields: Vec<(String, Value)>,
    inline_data: bool,
}

impl Recipe {
    /// Returns the recipe of an OCI image with three small layers.
    pub(crate) fn image(seed: &str) -> Self {
        Self {
            seed: seed.to_owned(),
            algorithm: Algorithm::Sha256,
            layers: 3,
            base: None,
            manifest_type: OCI_MANIFEST,
            layer_type: OCI_LAYER.to_owned(),
            config: None,
            fields: Vec::new(),
            inline_data: false,
        }
    }

    /// Puts a layer that other images have too below its own.
    pub(crate) fn on(mut self, base: &Blob) -> Self {
        self.base = Some(base.clone());
        self
    }

    /// Returns the recipe of an artifact: one layer, the empty config, an `artifactType`.
    pub(crate) fn artifact(seed: &str, artifact_type: &str) -> Self {
        let mut recipe = Self::image(seed)
            .layers(1)
            .field("artifactType", json!(artifact_type));
        recipe.config = Some((OCI_EMPTY.to_owned(), Bytes::from_static(b"{}")));
        recipe.layer_type = artifact_type.to_owned();
        recipe
    }

    pub(crate) fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    pub(crate) fn layers(mut self, count: usize) -> Self {
        self.layers = count;
        self
    }

    pub(crate) fn layer_type(mut self, media_type: &str) -> Self {
        self.layer_type = media_type.to_owned();
        self
    }

    pub(crate) fn docker(mut self) -> Self {
        self.manifest_type = DOCKER_MANIFEST;
        self.layer_type = DOCKER_LAYER.to_owned();
        self
    }

    pub(crate) fn subject(self, subject: &Manifest) -> Self {
        let descriptor = subject.descriptor();
        self.field("subject", descriptor)
    }

    pub(crate) fn annotation(self, key: &str, value: &str) -> Self {
        self.field("annotations", json!({key: value}))
    }

    /// Adds a top-level field to the manifest.
    pub(crate) fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.push((name.to_owned(), value));
        self
    }

    /// Puts each blob's bytes into its descriptor's `data` too.
    pub(crate) fn inline_data(mut self) -> Self {
        self.inline_data = true;
        self
    }

    pub(crate) fn build(self) -> Content {
        let own = (0..self.layers).map(|index| {
            let bytes = noise(&format!("{}/{index}", self.seed), LAYER_SIZE);
            Blob::new(self.algorithm, &self.layer_type, bytes)
        });
        let layers: Vec<Blob> = self.base.clone().into_iter().chain(own).collect();
        let (config_type, config_bytes) = self.config.clone().unwrap_or_else(|| {
            let config_type = if self.manifest_type == DOCKER_MANIFEST {
                DOCKER_CONFIG
            } else {
                OCI_CONFIG
            };
            let config = json!({"architecture": "amd64", "os": "linux", "author": self.seed,
                "rootfs": {"type": "layers",
                    "diff_ids": layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>()}});
            (config_type.to_owned(), config.to_string().into())
        });
        let config = Blob::new(self.algorithm, &config_type, config_bytes);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.manifest_type,
            "config": self.describe(&config),
            "layers": layers.iter().map(|layer| self.describe(layer)).collect::<Vec<_>>(),
        });
        for (name, value) in &self.fields {
            manifest[name] = value.clone();
        }
        let mut blobs = vec![config];
        for layer in layers {
            if !blobs.iter().any(|blob| blob.digest == layer.digest) {
                blobs.push(layer);
            }
        }
        Content {
            blobs,
            manifests: vec![Manifest::new(self.algorithm, manifest)],
        }
    }

    fn describe(&self, blob: &Blob) -> Value {
        let mut descriptor = blob.descriptor();
        if self.inline_data {
            descriptor["data"] = json!(base64(&blob.bytes));
        }
        descriptor
    }
}

/// Returns an index over `children` (amd64, arm64, then nothing said) and everything below it.
pub(crate) fn index(
    algorithm: Algorithm,
    children: &[Content],
    fields: &[(&str, Value)],
) -> Content {
    index_of_type(OCI_INDEX, algorithm, children, fields)
}

/// Returns a docker manifest list over `children`.
pub(crate) fn docker_list(children: &[Content]) -> Content {
    index_of_type(DOCKER_LIST, Algorithm::Sha256, children, &[])
}

fn index_of_type(
    media_type: &str,
    algorithm: Algorithm,
    children: &[Content],
    fields: &[(&str, Value)],
) -> Content {
    let architectures = ["amd64", "arm64"];
    let descriptors: Vec<Value> = children
        .iter()
        .enumerate()
        .map(|(position, child)| {
            let mut descriptor = child.top().descriptor();
            if let Some(architecture) = architectures.get(position) {
                descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
            }
            descriptor
        })
        .collect();
    let mut json = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors});
    for (name, value) in fields {
        json[*name] = value.clone();
    }
    let mut whole = Content {
        blobs: Vec::new(),
        manifests: Vec::new(),
    };
    for child in children {
        for blob in &child.blobs {
            if !whole.blobs.iter().any(|known| known.digest == blob.digest) {
                whole.blobs.push(blob.clone());
            }
        }
        whole.manifests.extend(child.manifests.iter().cloned());
    }
    whole.manifests.push(Manifest::new(algorithm, json));
    whole
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
