//! Reading manifests without stopping anybody else: a small one at once, a large one on the blocking
//! pool and only a few at a time, because a hostile one costs tenths of a second and many times its size.

use bytes::Bytes;
use oci::{Manifest, ManifestError};

use super::store::Content;

/// Bytes of a manifest that are read where they are; this takes well below a millisecond.
const AT_ONCE: usize = 64 << 10;

impl Content {
    /// Returns the facts of a manifest that was sent as `content_type`.
    ///
    /// # Errors
    /// [`ManifestError`], naming what is wrong with it.
    pub async fn read_manifest(
        &self,
        bytes: &Bytes,
        content_type: Option<&str>,
    ) -> Result<Manifest, ManifestError> {
        if bytes.len() <= AT_ONCE {
            return Manifest::parse(bytes, content_type);
        }
        let failed = |reason: &str| ManifestError::Json {
            reason: reason.to_owned(),
        };
        let Ok(_turn) = self.readers.acquire().await else {
            return Err(failed("it was not read"));
        };
        let bytes = bytes.clone();
        let content_type = content_type.map(str::to_owned);
        tokio::task::spawn_blocking(move || Manifest::parse(&bytes, content_type.as_deref()))
            .await
            .unwrap_or_else(|_| Err(failed("reading it failed")))
    }
}
