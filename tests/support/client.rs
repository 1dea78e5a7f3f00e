//! A registry's client in a few lines: requests with a base address, replies held whole, and the
//! walks every client does (push a blob, push a manifest, push an image, follow a `Location`).

use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::gate::PATIENCE;
use super::images::{Algorithm, Content, Manifest, digest_of};

/// Speaks HTTP to one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// Returns a client of the server at `base` (`http://host:port`, no slash at the end).
    pub(crate) fn new(base: impl Into<String>) -> Self {
        Self::with(reqwest::Client::builder(), base.into())
    }

    /// Returns a client of the server that listens on the Unix socket at `path`.
    pub(crate) fn of_socket(path: &Path) -> Self {
        let over_socket = reqwest::Client::builder().unix_socket(path);
        Self::with(over_socket, "http://seawall".to_owned())
    }

    fn with(builder: reqwest::ClientBuilder, base: String) -> Self {
        let http = builder
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE * 2)
            .build()
            .expect("a client with these few settings can be built");
        Self { http, base }
    }

    /// Returns the absolute address of `path`, which may be absolute already (a `Location`).
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http://") || path.starts_with("https://") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call(self.http.request(method, self.url(path)))
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> Call {
        self.call(Method::HEAD, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Asks the server for something else again and again until `happened`.
    pub(crate) async fn until(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let started = Instant::now();
        while !happened() {
            assert!(started.elapsed() < PATIENCE, "in vain: {what}");
            self.get("/v2/").await.expect_status(200);
        }
    }

    /// Asks again and again whether the server is ready.
    pub(crate) async fn until_ready(&self) {
        let started = Instant::now();
        while self.get("/readyz").await.status != 200 {
            assert!(started.elapsed() < PATIENCE, "it never gets ready");
        }
    }

    /// Asks for `path` again and again until it is answered without a warning.
    pub(crate) async fn get_until_fresh(&self, path: &str) -> Reply {
        let started = Instant::now();
        loop {
            let reply = self.get(path).await.expect_status(200);
            if reply.header("warning").is_none() {
                return reply;
            }
            assert!(started.elapsed() < PATIENCE, "stale for ever: {reply:?}");
        }
    }

    /// Opens an upload and returns its `Location`.
    pub(crate) async fn start_upload(&self, repository: &str) -> String {
        self.post(&format!("/v2/{repository}/blobs/uploads/"))
            .await
            .expect_status(202)
            .location()
    }

    /// Pushes a blob by POST and PUT; returns its sha256 digest.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &Bytes) -> String {
        let digest = digest_of(Algorithm::Sha256, bytes);
        self.push_blob_as(repository, bytes, &digest).await;
        digest
    }

    /// Pushes a blob under the digest given.
    pub(crate) async fn push_blob_as(&self, repository: &str, bytes: &Bytes, digest: &str) {
        let location = self.start_upload(repository).await;
        self.finish_upload(&location, digest, bytes)
            .await
            .expect_status(201);
    }

    /// Sends the last bytes of an upload with its digest.
    pub(crate) fn finish_upload(&self, location: &str, digest: &str, bytes: &Bytes) -> Call {
        self.put(&with_query(location, &format!("digest={digest}")))
            .header("content-type", "application/octet-stream")
            .body(bytes.clone())
    }

    /// Sends one chunk of an upload at `start`, with the `Content-Range` of the specification.
    pub(crate) fn chunk(&self, location: &str, start: usize, bytes: &Bytes) -> Call {
        let end = start + bytes.len() - 1;
        self.patch(location)
            .header("content-type", "application/octet-stream")
            .header("content-range", &format!("{start}-{end}"))
            .body(bytes.clone())
    }

    /// Puts a manifest under a tag or digest with its own media type.
    pub(crate) fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Manifest,
    ) -> Call {
        self.put(&format!("/v2/{repository}/manifests/{reference}"))
            .header("content-type", &manifest.media_type)
            .body(manifest.bytes.clone())
    }

    /// Pushes blobs, then manifests by digest, and the last of them under each of `tags`.
    pub(crate) async fn push(&self, repository: &str, content: &Content, tags: &[&str]) {
        for blob in &content.blobs {
            self.push_blob_as(repository, &blob.bytes, &blob.digest)
                .await;
        }
        for manifest in &content.manifests {
            self.push_manifest(repository, &manifest.digest, manifest)
                .await
                .expect_status(201);
        }
        for tag in tags {
            let top = content.top();
            self.push_manifest(repository, &format!("{}?tag={tag}", top.digest), top)
                .await
                .expect_status(201);
        }
    }

    /// Pulls content as a client does: every manifest and every blob, byte for byte.
    pub(crate) async fn expect_pull(&self, repository: &str, content: &Content) {
        for manifest in &content.manifests {
            let reply = self
                .get(&format!("/v2/{repository}/manifests/{}", manifest.digest))
                .await
                .expect_status(200);
            assert_eq!(reply.body, manifest.bytes, "manifest {}", manifest.digest);
            assert_eq!(reply.need("content-type"), manifest.media_type);
            assert_eq!(reply.need("docker-content-digest"), manifest.digest);
        }
        for blob in &content.blobs {
            let reply = self
                .get(&format!("/v2/{repository}/blobs/{}", blob.digest))
                .await
                .expect_status(200);
            assert_eq!(reply.body, blob.bytes, "blob {}", blob.digest);
            assert_eq!(reply.need("docker-content-digest"), blob.digest);
        }
    }
}

/// A request under construction; awaiting it sends it and reads the whole reply.
#[derive(Debug)]
pub(crate) struct Call(reqwest::RequestBuilder);

impl Call {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub(crate) fn body(self, bytes: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(bytes))
    }

    /// Sends `value` as JSON.
    pub(crate) fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(value.to_string())
    }

    /// Sends the request and returns with the head of the reply.
    pub(crate) async fn begin(self) -> Arriving {
        let response = self.0.send().await.expect("the server answers");
        Arriving {
            status: response.status().as_u16(),
            response,
        }
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.0.send().await.expect("the server answers");
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = response.bytes().await.expect("the whole body arrives");
            Reply {
                status,
                headers,
                body,
            }
        })
    }
}

/// A reply whose body is still on its way.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) status: u16,
    response: reqwest::Response,
}

impl Arriving {
    /// Reads until at least `count` bytes have arrived.
    pub(crate) async fn read_at_least(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let chunk = self
                .response
                .chunk()
                .await
                .expect("the body is not broken yet")
                .expect("the body is longer than what was asked for");
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }

    /// Reads to the end and keeps nothing but the count.
    pub(crate) async fn count_rest(mut self) -> usize {
        let mut count = 0;
        while let Some(chunk) = self.response.chunk().await.expect("the body is whole") {
            count += chunk.len();
        }
        count
    }

    /// Reads to the end. `Err` holds what came before the connection broke.
    pub(crate) async fn rest(mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes),
                Err(error) if error.is_timeout() => panic!("the body hangs: {error}"),
                Err(_) => return Err(bytes),
            }
        }
    }
}

/// A reply, whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "unexpected status in {self:#?}");
        self
    }

    /// Checks the status and the first code of the error JSON.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let reply = self.expect_status(status).expect_plain_error();
        assert_eq!(reply.error_code(), code, "unexpected code in {reply:#?}");
        reply
    }

    /// Checks that a refusal is a problem of RFC 9457 with that status; returns its detail.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16) -> String {
        let reply = self.expect_status(status);
        assert_eq!(reply.need("content-type"), "application/problem+json");
        let problem = reply.json();
        assert_eq!(problem["status"], status, "{reply:#?}");
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string(), "{reply:#?}");
        let detail = problem["detail"].as_str();
        detail
            .unwrap_or_else(|| panic!("no detail in {reply:#?}"))
            .to_owned()
    }

    /// Checks that a refusal is the OCI error JSON, short, and tells nothing of the inside.
    #[track_caller]
    pub(crate) fn expect_plain_error(self) -> Self {
        assert!(self.status >= 400, "not a refusal: {self:#?}");
        assert!(
            self.need("content-type").starts_with("application/json"),
            "{self:#?}"
        );
        assert!(self.body.len() < 2048, "a refusal is short: {self:#?}");
        let text = String::from_utf8_lossy(&self.body).to_lowercase();
        for secret in [
            "/tmp",
            "docker/registry",
            "sqlite",
            "select ",
            "insert ",
            "panick",
        ] {
            assert!(!text.contains(secret), "tells {secret:?}: {self:#?}");
        }
        assert!(!self.error_code().is_empty());
        self
    }

    #[track_caller]
    pub(crate) fn error_code(&self) -> String {
        self.json()["errors"][0]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no error code in {self:#?}"))
            .to_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:#?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns a header that has to be there.
    #[track_caller]
    pub(crate) fn need(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// Returns every value of a list header, split at its commas.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|value| value.trim().to_owned())
            .collect()
    }

    #[track_caller]
    pub(crate) fn location(&self) -> String {
        self.need("location").to_owned()
    }

    /// Returns the path of the `Link` to the next page.
    #[track_caller]
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let (target, relation) = link
            .split_once('>')
            .unwrap_or_else(|| panic!("not a link: {link}"));
        assert!(
            relation.contains(r#"rel="next""#),
            "not a next page: {link}"
        );
        Some(
            target
                .strip_prefix('<')
                .unwrap_or_else(|| panic!("not a link: {link}"))
                .to_owned(),
        )
    }

    /// Returns a field of the reply that is a list of texts.
    #[track_caller]
    pub(crate) fn texts(&self, field: &str) -> Vec<String> {
        self.json()[field]
            .as_array()
            .unwrap_or_else(|| panic!("no list {field} in {self:#?}"))
            .iter()
            .map(|text| text.as_str().expect("a list of texts").to_owned())
            .collect()
    }
}

/// Adds a query to an address that may have one already.
pub(crate) fn with_query(location: &str, query: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}{query}")
}
