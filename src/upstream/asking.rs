//! What can be asked of an upstream, one function per question.
//!
//! Digests are passed on as the upstream says them; whoever stores the bytes checks them.

use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use oci::{BlobAction, Descriptor, Digest, ManifestAction, Page, Reference, RepositoryName, Route};

use super::body::{BlobBody, read_bounded};
use super::client::Client;
use super::error::Error;
use super::listing::{is_html, last_of, next_page, read_referrers, read_tags};
use super::outgoing::Proof;
use super::questions::{
    blob_body, blob_call, blob_from, blob_part, call, claimed_digest, content_length,
    manifest_call, registry_answer, text,
};
use super::request::{Answer, Call, Errand};
use super::via::Via;
use crate::telemetry::Kind;

/// Largest list that is read, all pages of referrers together, in bytes.
const LIST_MAX: u64 = 8 * 1024 * 1024;
/// Most pages of referrers that are read.
const PAGES_MAX: usize = 100;

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
pub enum Manner {
    /// For a client that waits and has nothing else.
    Plain,
    /// For a client that can be given what is stored: while the upstream is in trouble it is answered at once with the
    /// last error, and whether the trouble is over is found out in the background.
    WithFallback,
    /// For nobody who waits: refused with [`Error::NoSpare`] when the upstream is in trouble or little is left of its
    /// rate limit.
    InBackground,
    /// To go on with a body under way: asked also while the upstream is in trouble.
    Insistently,
}

/// Whether a question waits for one of the upstream's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as the mirror's read timeout: what it brings is for everybody.
    Waits,
    /// Not at all: it is refused with [`Error::Busy`] when `limits.connections` are in use.
    AtOnce,
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

    /// Puts the questions in this manner; [`Manner::Plain`] without it.
    #[must_use]
    pub fn in_manner(self, manner: Manner) -> Self {
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
        patience: Patience,
    ) -> Result<BlobBody, Error> {
        let call = blob_from(repository, digest, from);
        blob_body(self.send_with(&call, patience).await?, from)
    }

    /// Returns the bytes `part` of a blob, which must not be empty, or the whole blob when the upstream ignores
    /// ranges: then [`BlobBody::start`] is 0 and more than the part comes.
    ///
    /// # Errors
    /// As [`Asking::get_blob`].
    pub async fn get_blob_part(
        self,
        repository: &RepositoryName,
        digest: &Digest,
        part: Range<u64>,
        patience: Patience,
    ) -> Result<BlobBody, Error> {
        let call = blob_part(repository, digest, &part);
        blob_body(self.send_with(&call, patience).await?, part.start)
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
