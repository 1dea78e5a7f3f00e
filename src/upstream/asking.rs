//! What can be asked of an upstream, one function per question.
//!
//! Digests are passed on as the upstream says them; whoever stores the bytes checks them.

use std::ops::Range;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{BlobAction, Descriptor, Digest, ManifestAction, Page, Reference, RepositoryName, Route};

use super::body::{BlobBody, read_bounded};
use super::client::Client;
use super::endpoint::Proof;
use super::error::Error;
use super::listing::{is_html, last_of, next_page, read_referrers, read_tags};
use super::request::{Answer, Call, Errand};
use super::via::Via;
use crate::telemetry::Kind;

/// Largest list that is read, all pages of referrers together, in bytes.
const LIST_MAX: u64 = 8 * 1024 * 1024;
/// Most pages of referrers that are read.
const PAGES_MAX: usize = 100;
/// Every manifest is welcome: what is stored is what the upstream prefers to give.
const ACCEPT_MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*",
);
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What an upstream tells about a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest it claims, if any: without it the manifest has to be fetched to know.
    pub digest: Option<Digest>,
    /// Its `Content-Type`.
    pub media_type: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// A manifest as it came, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The exact bytes.
    pub bytes: Bytes,
    /// The `Content-Type` it came with.
    pub media_type: Option<String>,
    /// The digest the upstream claims for it.
    pub digest: Option<Digest>,
}

/// What an upstream tells about a blob without sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// A page of an upstream's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagsPage {
    /// The tags, in the upstream's order.
    pub tags: Vec<String>,
    /// The `last` that asks for the next page, or `None` at the end.
    pub next_last: Option<String>,
}

/// How a question is put, which decides what stands in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// For a client that waits and has nothing else.
    Plain,
    /// For a client that can be given what is stored.
    WithFallback,
    /// For nobody who waits.
    InBackground,
    /// To go on with a body under way.
    Insistently,
}

/// Whether a question waits for others to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as the mirror's read timeout.
    Waits,
    /// Not at all.
    None,
}

/// Questions to one upstream on behalf of one request.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    client: &'a Client,
    via: &'a Via,
    manner: Manner,
}

impl<'a> Asking<'a> {
    pub(super) fn new(client: &'a Client, via: &'a Via) -> Self {
        Self {
            client,
            via,
            manner: Manner::Plain,
        }
    }

    /// Says that the asker has something stored: while the upstream is in trouble it is answered at once with the
    /// last error, and whether the trouble is over is found out in the background.
    #[must_use]
    pub fn with_fallback(self) -> Self {
        let manner = Manner::WithFallback;
        Self { manner, ..self }
    }

    /// Says that nobody waits for the answer: refused with [`Error::NoSpare`] when the upstream is in trouble or
    /// little is left of its rate limit.
    #[must_use]
    pub fn in_background(self) -> Self {
        let manner = Manner::InBackground;
        Self { manner, ..self }
    }

    /// Says that a body under way is to go on: asked also while the upstream is in trouble.
    #[must_use]
    pub fn insistently(self) -> Self {
        let manner = Manner::Insistently;
        Self { manner, ..self }
    }

    async fn send(self, call: &Call) -> Result<Answer, Error> {
        self.send_with(call, Patience::Waits).await
    }

    async fn send_with(self, call: &Call, patience: Patience) -> Result<Answer, Error> {
        let errand = Errand {
            via: self.via,
            manner: self.manner,
            patience,
        };
        // Boxed: an exchange is a deep type, and the compiler limits the depth of all that waits for it.
        Box::pin(self.client.requests.send(call, &errand)).await
    }

    /// Returns what the upstream tells about a manifest, without its bytes. Of an upstream that
    /// does not allow HEAD (405) nothing is known, as of one that names no digest.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn head_manifest(
        self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestHead, Error> {
        let call = manifest_call(repository, reference, ManifestAction::Head);
        let answer = self.send(&call).await?;
        if answer.received.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(ManifestHead {
                digest: None,
                media_type: None,
                size: None,
            });
        }
        let answer = answer.expect(&[StatusCode::OK])?;
        let headers = registry_answer(&answer)?;
        Ok(ManifestHead {
            digest: claimed_digest(headers)?,
            media_type: text(headers, CONTENT_TYPE),
            size: content_length(headers),
        })
    }

    /// Returns a manifest of at most `limit` bytes.
    ///
    /// # Errors
    /// Every [`Error`]; a larger manifest is a `Protocol` error.
    pub async fn get_manifest(
        self,
        repository: &RepositoryName,
        reference: &Reference,
        limit: u64,
    ) -> Result<FetchedManifest, Error> {
        let call = manifest_call(repository, reference, ManifestAction::Get);
        let answer = self.send(&call).await?;
        let answer = answer.expect(&[StatusCode::OK])?;
        let headers = registry_answer(&answer)?;
        let digest = claimed_digest(headers)?;
        let media_type = text(headers, CONTENT_TYPE);
        let bytes = read_bounded(answer.received, limit).await?;
        Ok(FetchedManifest {
            bytes,
            media_type,
            digest,
        })
    }

    /// Returns what the upstream tells about a blob, without its bytes.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn head_blob(
        self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobHead, Error> {
        let call = blob_call(repository, digest, BlobAction::Head);
        let answer = self.send(&call).await?;
        let answer = answer.expect(&[StatusCode::OK])?;
        let size = content_length(registry_answer(&answer)?);
        Ok(BlobHead { size })
    }

    /// Returns a blob's bytes from offset `from` on, or from its beginning when the upstream
    /// ignores ranges; [`BlobBody::start`] says which.
    ///
    /// # Errors
    /// Every [`Error`]; a range that starts elsewhere is a `Protocol` error.
    pub async fn get_blob(
        self,
        repository: &RepositoryName,
        digest: &Digest,
        from: u64,
    ) -> Result<BlobBody, Error> {
        let call = blob_from(repository, digest, from);
        blob_body(self.send(&call).await?, from)
    }

    /// As [`Asking::get_blob`], without waiting for others to be done.
    ///
    /// # Errors
    /// Every [`Error`]; `Busy` when `limits.connections` are in use.
    pub async fn get_blob_at_once(
        self,
        repository: &RepositoryName,
        digest: &Digest,
        from: u64,
    ) -> Result<BlobBody, Error> {
        let call = blob_from(repository, digest, from);
        blob_body(self.send_with(&call, Patience::None).await?, from)
    }

    /// Returns the bytes `part` of a blob, which must not be empty, or the whole blob when the upstream ignores
    /// ranges: then [`BlobBody::start`] is 0 and more than the part comes.
    ///
    /// # Errors
    /// Every [`Error`]; a range that starts elsewhere is a `Protocol` error.
    pub async fn get_blob_part(
        self,
        repository: &RepositoryName,
        digest: &Digest,
        part: Range<u64>,
    ) -> Result<BlobBody, Error> {
        let call = blob_part(repository, digest, &part);
        blob_body(self.send(&call).await?, part.start)
    }

    /// As [`Asking::get_blob_part`], without waiting for others to be done.
    ///
    /// # Errors
    /// As [`Asking::get_blob_at_once`].
    pub async fn get_blob_part_at_once(
        self,
        repository: &RepositoryName,
        digest: &Digest,
        part: Range<u64>,
    ) -> Result<BlobBody, Error> {
        let call = blob_part(repository, digest, &part);
        blob_body(self.send_with(&call, Patience::None).await?, part.start)
    }

    /// Returns the page of the repository's tags that `page` asks for.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn tags(self, repository: &RepositoryName, page: &Page) -> Result<TagsPage, Error> {
        let route = Route::Tags {
            name: repository.clone(),
            page: page.clone(),
        };
        let call = call(Kind::Tags, repository, &route, Proof::Connection);
        let answer = self.send(&call).await?;
        let answer = answer.expect(&[StatusCode::OK])?;
        let next = next_page(registry_answer(&answer)?, &answer.asked.url);
        let body = read_bounded(answer.received, LIST_MAX).await?;
        let tags = read_tags(&body)?;
        // Upstreams that page by a key of their own still take the last tag, as the
        // distribution-spec demands.
        let next_last = next.and_then(|next| last_of(&next).or_else(|| tags.last().cloned()));
        Ok(TagsPage { tags, next_last })
    }

    /// Returns all referrers of a digest, or `None` when the upstream has no referrers API
    /// (404, 405 or a web page).
    ///
    /// # Errors
    /// Every [`Error`] but `NotFound`; more than 8 MiB or 100 pages are a `Protocol` error.
    pub async fn referrers(
        self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let route = Route::Referrers {
            name: repository.clone(),
            digest: *digest,
            artifact_type: None,
            page: Page::default(),
        };
        let call = call(Kind::Referrers, repository, &route, Proof::Connection);
        let mut answer = self.send(&call).await?;
        let status = answer.received.status();
        let no_such_api = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        let html = status.is_success() && is_html(answer.received.headers());
        if no_such_api.contains(&status) || html {
            return Ok(None);
        }
        let mut found = Vec::new();
        let mut left = LIST_MAX;
        for _ in 0..PAGES_MAX {
            answer = answer.expect(&[StatusCode::OK])?;
            let next = next_page(registry_answer(&answer)?, &answer.asked.url);
            let asked = answer.asked;
            let body = read_bounded(answer.received, left).await?;
            left -= body.len() as u64;
            found.extend(read_referrers(&body)?);
            let Some(next) = next else {
                return Ok(Some(found));
            };
            answer = self
                .client
                .requests
                .send_next(&call, self.via, &asked, &next)
                .await?;
        }
        Err(Error::protocol("too many pages of referrers"))
    }
}

fn call(kind: Kind, repository: &RepositoryName, route: &Route, proof: Proof) -> Call {
    let method = match route.method() {
        oci::Method::Head => Method::HEAD,
        oci::Method::Get
        | oci::Method::Put
        | oci::Method::Post
        | oci::Method::Patch
        | oci::Method::Delete => Method::GET,
    };
    Call {
        kind,
        method,
        repository: repository.as_str().to_owned(),
        path_and_query: route.path_and_query(),
        headers: HeaderMap::new(),
        proof,
    }
}

fn manifest_call(
    repository: &RepositoryName,
    reference: &Reference,
    action: ManifestAction,
) -> Call {
    let route = Route::Manifest {
        name: repository.clone(),
        reference: reference.clone(),
        action,
    };
    let proof = match reference {
        Reference::Digest(_) => Proof::Digest,
        Reference::Tag(_) => Proof::Connection,
    };
    let mut call = call(Kind::Manifest, repository, &route, proof);
    call.headers.insert(ACCEPT, ACCEPT_MANIFESTS);
    call
}

fn blob_call(repository: &RepositoryName, digest: &Digest, action: BlobAction) -> Call {
    let route = Route::Blob {
        name: repository.clone(),
        digest: *digest,
        action,
    };
    call(Kind::Blob, repository, &route, Proof::Digest)
}

fn blob_from(repository: &RepositoryName, digest: &Digest, from: u64) -> Call {
    let mut call = blob_call(repository, digest, BlobAction::Get);
    if from > 0 {
        set_range(&mut call, &format!("bytes={from}-"));
    }
    call
}

fn blob_part(repository: &RepositoryName, digest: &Digest, part: &Range<u64>) -> Call {
    let mut call = blob_call(repository, digest, BlobAction::Get);
    let last = part.end.saturating_sub(1).max(part.start);
    set_range(&mut call, &format!("bytes={}-{last}", part.start));
    call
}

fn set_range(call: &mut Call, range: &str) {
    let range = HeaderValue::try_from(range).expect("a header value because it is ASCII");
    call.headers.insert(RANGE, range);
}

/// Returns the body of a blob of which the bytes from `from` on were asked for.
fn blob_body(answer: Answer, from: u64) -> Result<BlobBody, Error> {
    let wanted = [StatusCode::OK, StatusCode::PARTIAL_CONTENT];
    let answer = answer.expect(&wanted)?;
    // A portal's page is no blob, and is told before its first byte is sent on.
    registry_answer(&answer)?;
    let received = answer.received;
    let (start, total) = if received.status() == StatusCode::PARTIAL_CONTENT {
        let range = text(received.headers(), CONTENT_RANGE);
        let range = range.as_deref().and_then(read_content_range);
        match range {
            Some((start, total)) if start == from => (start, total),
            _ => return Err(Error::protocol("another range than the one asked for")),
        }
    } else {
        (0, content_length(received.headers()))
    };
    Ok(BlobBody {
        received,
        start,
        total,
    })
}

/// Returns the headers of an answer that came from a registry and not from a portal before it.
fn registry_answer(answer: &Answer) -> Result<&HeaderMap, Error> {
    let headers = answer.received.headers();
    if is_html(headers) {
        return Err(Error::protocol("a web page"));
    }
    Ok(headers)
}

fn claimed_digest(headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get(DOCKER_CONTENT_DIGEST) else {
        return Ok(None);
    };
    let digest = value
        .to_str()
        .ok()
        .and_then(|text| Digest::parse(text).ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(Error::protocol("a malformed Docker-Content-Digest")),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// The header itself: the body of an answer to HEAD has no size.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// Reads `bytes <start>-<end>/<total or *>` (RFC 9110 section 14.4) as start and total.
fn read_content_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    if total == "*" {
        return (start <= end).then_some((start, None));
    }
    let total: u64 = total.parse().ok()?;
    (start <= end && end < total).then_some((start, Some(total)))
}
