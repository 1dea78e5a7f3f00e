//! The words that metrics are labelled with: closed lists, so that no client and no upstream can make a new series.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A manifest, by tag or digest.
    Manifest,
    /// A blob.
    Blob,
    /// Referrers of a digest.
    Referrers,
    /// A list of tags.
    Tags,
    /// A token of an upstream's token server.
    Token,
}

impl Kind {
    /// Returns the word in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Referrers => "referrers",
            Self::Tags => "tags",
            Self::Token => "token",
        }
    }
}

/// How a request to a mirror was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// From here.
    Hit,
    /// From here, after the upstream confirmed it.
    Revalidated,
    /// From here, although the upstream could not confirm it.
    Stale,
    /// From the upstream.
    Miss,
    /// Not at all.
    Error,
}

impl CacheResult {
    /// Returns the word in labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Error => "error",
        }
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for CacheResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// What upstreams usually answer, and what stands for an answer that did not come.
const USUAL: [&str; 22] = [
    "200", "206", "301", "302", "303", "307", "308", "400", "401", "403", "404", "405", "408",
    "416", "429", "500", "502", "503", "504", "508", "error", "timeout",
];

/// Returns the status as a label: itself where it is usual, else its class, so that no upstream can make a new series.
pub(super) fn usual_status(status: &str) -> &'static str {
    if let Some(usual) = USUAL.into_iter().find(|usual| *usual == status) {
        return usual;
    }
    match status.as_bytes().first() {
        Some(b'1') => "1xx",
        Some(b'2') => "2xx",
        Some(b'3') => "3xx",
        Some(b'4') => "4xx",
        Some(b'5') => "5xx",
        Some(_) | None => "other",
    }
}

/// Whether an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It is.
    Closed,
    /// One request finds out.
    Probing,
    /// It is not.
    Open,
}

/// What of the registry's API a request was for, by Distribution's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/v2/`.
    Base,
    /// The list of repositories.
    Catalog,
    /// The tags of a repository.
    Tags,
    /// A manifest.
    Manifest,
    /// A blob.
    Blob,
    /// The start of an upload.
    BlobUpload,
    /// An upload under way.
    BlobUploadChunk,
    /// The referrers of a digest, which Distribution does not serve.
    Referrers,
}

impl Endpoint {
    /// Returns the word in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags => "tags",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::BlobUpload => "blob_upload",
            Self::BlobUploadChunk => "blob_upload_chunk",
            Self::Referrers => "referrers",
        }
    }
}

impl EncodeLabelValue for Endpoint {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}
