//! The image that is pulled: pushed to the upstream once, and pulled as container engines do it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use oci::{Algorithm, Digest, media_type};
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::support::payload::incompressible;

/// Layers that a client fetches at a time; docker and containerd take three.
const AT_ONCE: usize = 3;
const CONFIG: Bytes = Bytes::from_static(b"{}");
const REPOSITORY: &str = "bench/image";

/// An image of layers that do not compress.
pub(crate) struct Image {
    /// The configuration and the layers.
    blobs: Vec<(Digest, Bytes)>,
    manifest: String,
}

/// How long one client waited.
pub(crate) struct Waited {
    /// Until the first byte of a layer.
    pub(crate) first_byte: Duration,
    /// Until the last byte of the last layer.
    pub(crate) whole: Duration,
}

impl Image {
    /// Returns an image of `layers` layers of `size` bytes each.
    pub(crate) fn new(layers: u64, size: usize) -> Self {
        let layers = (1..=layers).map(|seed| incompressible(seed, size));
        let blobs: Vec<(Digest, Bytes)> = std::iter::once(CONFIG)
            .chain(layers)
            .map(|bytes| (Digest::of(Algorithm::Sha256, &bytes), bytes))
            .collect();
        let mut entries = blobs.iter().map(|(digest, bytes)| {
            format!(
                r#"{{"mediaType":"{}","size":{},"digest":"{digest}"}}"#,
                media_type::OCTET_STREAM,
                bytes.len()
            )
        });
        let config = entries.next().unwrap_or_default();
        let layers: Vec<String> = entries.collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{}]}}"#,
            media_type::OCI_MANIFEST,
            layers.join(",")
        );
        Self { blobs, manifest }
    }

    /// Returns the size of all blobs, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// Pushes the image to the registry at `port`.
    pub(crate) async fn push(&self, port: u16) {
        let (http, base) = (client(), base(port));
        for (digest, bytes) in &self.blobs {
            let begin = http.post(format!("{base}/blobs/uploads/")).send().await;
            let begun = begin.expect("an answer");
            assert_eq!(begun.status().as_u16(), 202, "{begun:?}");
            let location = begun.headers()["location"].to_str().expect("text");
            let sign = if location.contains('?') { '&' } else { '?' };
            let put = http
                .put(format!("{location}{sign}digest={digest}"))
                .header(CONTENT_TYPE, media_type::OCTET_STREAM)
                .body(bytes.clone());
            let done = put.send().await.expect("an answer");
            assert_eq!(done.status().as_u16(), 201, "{done:?}");
        }
        let put = http
            .put(format!("{base}/manifests/latest"))
            .header(CONTENT_TYPE, media_type::OCI_MANIFEST)
            .body(self.manifest.clone());
        let done = put.send().await.expect("an answer");
        assert_eq!(done.status().as_u16(), 201, "{done:?}");
    }

    /// Pulls the image with as many clients at once, each with connections of its own; returns how long each waited.
    pub(crate) async fn pull(self: &Arc<Self>, port: u16, clients: usize) -> Vec<Waited> {
        let started = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let image = Arc::clone(self);
                tokio::spawn(async move { image.pull_once(port, started).await })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.expect("a client"));
        }
        all
    }

    async fn pull_once(&self, port: u16, started: Instant) -> Waited {
        let (http, base) = (client(), base(port));
        let get = http
            .get(format!("{base}/manifests/latest"))
            .header(ACCEPT, media_type::OCI_MANIFEST);
        let answer = get.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
        let manifest = answer.bytes().await.expect("a manifest");
        assert_eq!(manifest, self.manifest.as_bytes());
        let first_byte = OnceLock::new();
        let (first_byte_of, http, base) = (&first_byte, &http, &base);
        stream::iter(&self.blobs)
            .for_each_concurrent(AT_ONCE, |(digest, bytes)| async move {
                let get = http.get(format!("{base}/blobs/{digest}")).send().await;
                let mut answer = get.expect("an answer");
                assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
                let mut received = 0;
                while let Some(chunk) = answer.chunk().await.expect("bytes") {
                    // The configuration is so small that its first byte says nothing.
                    if bytes.len() > CONFIG.len() {
                        first_byte_of.get_or_init(|| started.elapsed());
                    }
                    received += chunk.len();
                }
                assert_eq!(received, bytes.len());
            })
            .await;
        Waited {
            first_byte: first_byte.get().copied().unwrap_or_default(),
            whole: started.elapsed(),
        }
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().build();
    client.expect("a client")
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v2/{REPOSITORY}")
}
