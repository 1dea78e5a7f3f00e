//! Clients that pull one image again and again, and how long each pull took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci::{Algorithm, Digest, media_type};
use reqwest::header::{CONTENT_TYPE, LOCATION};

use super::support::payload::incompressible;

const CLIENTS: usize = 4;
const LAYER: usize = 64 << 10;
/// How long to wait between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An image that was pushed.
pub(crate) struct Puller {
    base: String,
    layer: Digest,
    http: reqwest::Client,
}

/// How long pulls took.
pub(crate) struct Latencies {
    sorted: Vec<f64>,
    seconds: f64,
}

impl Puller {
    /// Pushes an image to the server at `port`.
    pub(crate) async fn push(port: u16) -> Arc<Self> {
        let layer = incompressible(1, LAYER);
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let puller = Self {
            base: format!("http://127.0.0.1:{port}"),
            layer: Digest::of(Algorithm::Sha256, &layer),
            http,
        };
        let config = Digest::of(Algorithm::Sha256, b"{}");
        puller.blob(layer, puller.layer).await;
        puller.blob(Bytes::from_static(b"{}"), config).await;
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"{config}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{LAYER},"digest":"{}"}}]}}"#,
            media_type::OCI_MANIFEST,
            puller.layer
        );
        let put = puller
            .http
            .put(format!("{}/v2/bench/image/manifests/latest", puller.base))
            .header(CONTENT_TYPE, media_type::OCI_MANIFEST)
            .body(manifest);
        let put = put.send().await.expect("the server answers");
        assert_eq!(put.status(), 201);
        Arc::new(puller)
    }

    async fn blob(&self, bytes: Bytes, digest: Digest) {
        let start = self
            .http
            .post(format!("{}/v2/bench/image/blobs/uploads/", self.base));
        let started = start.send().await.expect("the server answers");
        let location = started.headers()[LOCATION]
            .to_str()
            .expect("text")
            .to_owned();
        let location = if location.starts_with('/') {
            format!("{}{location}", self.base)
        } else {
            location
        };
        let sign = if location.contains('?') { '&' } else { '?' };
        let put = self
            .http
            .put(format!("{location}{sign}digest={digest}"))
            .header(CONTENT_TYPE, media_type::OCTET_STREAM)
            .body(bytes);
        assert_eq!(put.send().await.expect("the server answers").status(), 201);
    }

    async fn pull(&self) {
        for path in [
            "manifests/latest".to_owned(),
            format!("blobs/{}", self.layer),
        ] {
            let url = format!("{}/v2/bench/image/{path}", self.base);
            let reply = self.http.get(url).send().await.expect("the server answers");
            assert_eq!(reply.status(), 200, "{path}");
            reply.bytes().await.expect("the whole body");
        }
    }

    /// Pulls for that long.
    pub(crate) async fn pull_for(self: &Arc<Self>, time: Duration) -> Latencies {
        let over = Instant::now() + time;
        let (measured, ()) = self
            .pull_until(|| async { (Instant::now() >= over).then_some(()) })
            .await;
        measured
    }

    /// Pulls until `over` says what came of it.
    pub(crate) async fn pull_until<T, F>(self: &Arc<Self>, over: impl Fn() -> F) -> (Latencies, T)
    where
        F: Future<Output = Option<T>>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (puller, stop) = (Arc::clone(self), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        puller.pull().await;
                        took.push(begun.elapsed().as_secs_f64());
                    }
                    took
                })
            })
            .collect();
        let outcome = loop {
            if let Some(outcome) = over().await {
                break outcome;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        stop.store(true, Ordering::Relaxed);
        let mut sorted = Vec::new();
        for client in clients {
            sorted.extend(client.await.expect("no pull failed"));
        }
        sorted.sort_by(f64::total_cmp);
        let seconds = begun.elapsed().as_secs_f64();
        (Latencies { sorted, seconds }, outcome)
    }
}

impl Latencies {
    /// Returns the time that the given part of all pulls took at most, in seconds; 0.5 is the middle.
    pub(crate) fn at(&self, part: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        let index = (last as f64 * part).round() as usize;
        self.sorted.get(index).copied().unwrap_or_default()
    }

    /// Returns how many pulls there were in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.sorted.len() as f64 / self.seconds
    }
}
