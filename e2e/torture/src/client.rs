//! A registry's client: requests whose answers are held whole. A connection that breaks and a body that ends early are
//! told apart from every answer, because what they were about is in doubt.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use serde_json::Value;

use crate::content::{Content, INDEX, MANIFEST};

/// Longer than any answer may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Speaks to one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a request did not end as it should have.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No whole answer came.
    Broken(String),
    /// The server said that it failed.
    Failed(Answer),
    /// The server said or did what is wrong whatever happens to its disk.
    Wrong(String),
}

impl Client {
    /// Returns a client of the server at `base` (`http://host:port`).
    pub(crate) fn new(base: &str) -> Result<Self, Trouble> {
        Self::built(reqwest::Client::builder(), base)
    }

    /// Returns a client of the management API on the socket at `path`.
    pub(crate) fn of_socket(path: &Path) -> Result<Self, Trouble> {
        Self::built(
            reqwest::Client::builder().unix_socket(path),
            "http://seawall",
        )
    }

    fn built(builder: reqwest::ClientBuilder, base: &str) -> Result<Self, Trouble> {
        let http = builder.no_proxy().timeout(PATIENCE).build();
        Ok(Self {
            http: http.map_err(|error| Trouble::Wrong(error.to_string()))?,
            base: base.to_owned(),
        })
    }

    /// Sends a request and returns its whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Answer, Trouble> {
        let what = format!("{method} {path}");
        let url = if path.starts_with("http://") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let mut request = self.http.request(method, url);
        request = request.header(ACCEPT, format!("{MANIFEST}, {INDEX}, */*"));
        if !media_type.is_empty() {
            request = request.header(CONTENT_TYPE, media_type).body(body);
        }
        let broken = |error: reqwest::Error| Trouble::Broken(format!("{what}: {error}"));
        let answer = request.send().await.map_err(broken)?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.map_err(broken)?,
            what,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Trouble> {
        self.send(Method::GET, path, "", Bytes::new()).await
    }

    pub(crate) async fn head(&self, path: &str) -> Result<Answer, Trouble> {
        self.send(Method::HEAD, path, "", Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, Trouble> {
        self.send(Method::DELETE, path, "", Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str) -> Result<Answer, Trouble> {
        self.send(Method::POST, path, "", Bytes::new()).await
    }

    /// Uploads `blob` in `pieces` requests; its success is the last answer's.
    pub(crate) async fn upload(
        &self,
        repository: &str,
        blob: &Content,
        pieces: usize,
    ) -> Result<(), Trouble> {
        const BYTES: &str = "application/octet-stream";
        let begun = self
            .post(&format!("/v2/{repository}/blobs/uploads/"))
            .await?;
        let mut location = begun.expect(&[202])?.location()?;
        let piece = blob.bytes.len().div_ceil(pieces).max(1);
        let mut sent = 0;
        while blob.bytes.len() - sent > piece {
            let part = blob.bytes.slice(sent..sent + piece);
            let patched = self.send(Method::PATCH, &location, BYTES, part).await?;
            location = patched.expect(&[202])?.location()?;
            sent += piece;
        }
        let separator = if location.contains('?') { '&' } else { '?' };
        let end = format!("{location}{separator}digest={}", blob.digest);
        let put = self.send(Method::PUT, &end, BYTES, blob.bytes.slice(sent..));
        put.await?.expect(&[201]).map(drop)
    }

    /// Pushes `manifest` as `reference`, a tag or its digest.
    pub(crate) async fn push(
        &self,
        repository: &str,
        manifest: &Content,
        reference: &str,
    ) -> Result<Answer, Trouble> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.send(
            Method::PUT,
            &path,
            manifest.media_type,
            manifest.bytes.clone(),
        )
        .await
    }
}

impl Answer {
    /// Passes an answer with one of these statuses on. A 5xx is a failure that was told, everything else is wrong.
    pub(crate) fn expect(self, statuses: &[u16]) -> Result<Self, Trouble> {
        if statuses.contains(&self.status) {
            Ok(self)
        } else if self.status >= 500 {
            Err(Trouble::Failed(self))
        } else {
            Err(Trouble::Wrong(format!("{self}, wanted {statuses:?}")))
        }
    }

    /// Returns the `Location`.
    pub(crate) fn location(&self) -> Result<String, Trouble> {
        let location = self.headers.get(LOCATION);
        location
            .and_then(|value| Some(value.to_str().ok()?.to_owned()))
            .ok_or_else(|| Trouble::Wrong(format!("{self} has no Location")))
    }

    /// Returns the JSON of the body.
    pub(crate) fn json(&self) -> Result<Value, Trouble> {
        let wrong = |error| Trouble::Wrong(format!("{self} is no JSON: {error}"));
        serde_json::from_slice(&self.body).map_err(wrong)
    }

    /// Returns what is wrong with this error: no JSON of the OCI form, or a path of the server's in it.
    pub(crate) fn fault(&self, folder: &Path) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        if text.contains(&*folder.to_string_lossy()) {
            return Some(format!("{self} tells a path"));
        }
        let code = self.json().ok()?["errors"][0]["code"].is_string();
        (!code && !self.what.starts_with("HEAD")).then(|| format!("{self} has no code"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        write!(formatter, "{}: {} {body}", self.what, self.status)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(what) | Self::Wrong(what) => formatter.write_str(what),
            Self::Failed(answer) => answer.fmt(formatter),
        }
    }
}
