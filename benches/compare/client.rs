//! The load: one image, pushed once, its layer and manifest pulled many times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use oci::{Algorithm, Digest, media_type};
use reqwest::header::CONTENT_TYPE;

use super::server::Server;
use super::support::payload::incompressible;

/// What is pushed and pulled.
pub(crate) struct Image {
    pub(crate) layer: Bytes,
    pub(crate) layer_path: String,
    pub(crate) manifest: Bytes,
    pub(crate) manifest_path: String,
    digest: Digest,
}

impl Image {
    /// Returns an image with a layer of `size` bytes that do not compress.
    pub(crate) fn of_size(size: usize) -> Self {
        let layer = incompressible(1, size);
        let digest = Digest::of(Algorithm::Sha256, &layer);
        let config = Digest::of(Algorithm::Sha256, b"{}");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"{config}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{size},"digest":"{digest}"}}]}}"#,
            media_type::OCI_MANIFEST
        );
        Self {
            layer,
            layer_path: format!("/v2/bench/image/blobs/{digest}"),
            manifest: manifest.into(),
            manifest_path: "/v2/bench/image/manifests/latest".to_owned(),
            digest,
        }
    }
}

/// A client of one server.
pub(crate) struct Client<'a> {
    base: String,
    image: &'a Image,
    http: reqwest::Client,
}

impl<'a> Client<'a> {
    pub(crate) fn of(server: &Server, image: &'a Image) -> Self {
        Self {
            base: format!("http://127.0.0.1:{}", server.port),
            image,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        }
    }

    /// Pushes the layer: POST, PATCH, PUT.
    pub(crate) async fn push(&self) {
        self.push_blob(self.image.layer.clone(), &self.image.digest)
            .await;
    }

    async fn push_blob(&self, bytes: Bytes, digest: &Digest) {
        let start = self
            .http
            .post(format!("{}/v2/bench/image/blobs/uploads/", self.base));
        let location = self.location(start).await;
        let patch = self
            .http
            .patch(&location)
            .header(CONTENT_TYPE, media_type::OCTET_STREAM);
        let location = self.location(patch.body(bytes)).await;
        let sign = if location.contains('?') { '&' } else { '?' };
        let put = self
            .http
            .put(format!("{location}{sign}digest={digest}"))
            .body("");
        let done = put.send().await.expect("an answer");
        assert_eq!(done.status().as_u16(), 201, "{done:?}");
    }

    async fn location(&self, request: reqwest::RequestBuilder) -> String {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 202, "{answer:?}");
        let location = answer.headers()["location"].to_str().expect("text");
        location.to_owned()
    }

    /// Pushes the config and the manifest.
    pub(crate) async fn push_manifest(&self) {
        let config = Bytes::from_static(b"{}");
        let digest = Digest::of(Algorithm::Sha256, &config);
        self.push_blob(config, &digest).await;
        let put = self
            .http
            .put(format!("{}{}", self.base, self.image.manifest_path))
            .header(CONTENT_TYPE, media_type::OCI_MANIFEST)
            .body(self.image.manifest.clone());
        let done = put.send().await.expect("an answer");
        assert_eq!(done.status().as_u16(), 201, "{done:?}");
    }

    /// Pulls the layer `times`, `at_once` at a time.
    pub(crate) async fn pull(&self, times: usize, at_once: usize) {
        self.get(
            &self.image.layer_path,
            self.image.layer.len(),
            times,
            at_once,
        )
        .await;
    }

    /// Asks for the manifest `times`, `at_once` at a time.
    pub(crate) async fn manifests(&self, times: usize, at_once: usize) {
        self.get(
            &self.image.manifest_path,
            self.image.manifest.len(),
            times,
            at_once,
        )
        .await;
    }

    async fn get(&self, path: &str, size: usize, times: usize, at_once: usize) {
        let left = Arc::new(AtomicUsize::new(times));
        let mut tasks = Vec::new();
        for _ in 0..at_once {
            let (left, http) = (Arc::clone(&left), self.http.clone());
            let url = format!("{}{path}", self.base);
            tasks.push(tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    let request = http.get(&url).header("accept", media_type::OCI_MANIFEST);
                    let mut answer = request.send().await.expect("an answer");
                    let mut received = 0;
                    while let Some(chunk) = answer.chunk().await.expect("bytes") {
                        received += chunk.len();
                    }
                    assert_eq!(received, size);
                }
            }));
        }
        for task in tasks {
            task.await.expect("a puller");
        }
    }
}
