//! Who refers to a manifest: the rows of manifests with that subject, and the descriptors of an index
//! that a client kept under the fallback tag (distribution-spec, "Referrers Tag Schema"), which must
//! show up too. One page at a time, in the order of digests.

use std::collections::BTreeMap;

use metadata::ReferrerRow;
use oci::{Descriptor, Digest, Reference, RepositoryName, Tag};

use super::error::Error;
use super::store::Content;

impl Content {
    /// Returns at most `limit` descriptors of manifests in `repository` that refer to `subject`, after
    /// the digest `after`, of the artifact type `artifact_type` if one is given.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Descriptor>, Error> {
        let rows = self
            .metadata
            .referrers(
                repository,
                subject,
                artifact_type,
                after.copied(),
                limit as u64,
            )
            .await?;
        let mut page: BTreeMap<Vec<u8>, Descriptor> = rows
            .into_iter()
            .map(|row| (row.digest.to_row(), descriptor(row)))
            .collect();
        let listed: BTreeMap<Vec<u8>, Descriptor> = self
            .fallback_referrers(repository, subject)
            .await?
            .into_iter()
            .filter(|listed| {
                artifact_type.is_none_or(|wanted| listed.artifact_type.as_deref() == Some(wanted))
            })
            .map(|listed| (listed.digest.to_row(), listed))
            .filter(|(order, _)| after.is_none_or(|after| *order > after.to_row()))
            .collect();
        for (order, listed) in listed {
            if page.range(..=order.clone()).count() >= limit {
                break;
            }
            let by_digest = Reference::Digest(listed.digest);
            if !page.contains_key(&order)
                && self
                    .metadata
                    .manifest(repository, &by_digest)
                    .await?
                    .is_some()
            {
                page.insert(order, listed);
            }
        }
        Ok(page.into_values().take(limit).collect())
    }

    /// Returns what the index under the fallback tag of `subject` lists; nothing when there is none.
    async fn fallback_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let Some(tag) = fallback_tag(subject) else {
            return Ok(Vec::new());
        };
        let Some(row) = self
            .metadata
            .manifest(repository, &Reference::Tag(tag))
            .await?
        else {
            return Ok(Vec::new());
        };
        let bytes = self.manifest_bytes(&row).await?;
        let Ok(index) = self.read_manifest(&bytes, Some(&row.media_type)).await else {
            return Ok(Vec::new());
        };
        Ok(index.into_children())
    }
}

/// Returns the tag under which clients keep the referrers of `subject` where a registry has no
/// referrers API: the algorithm cut to 32 characters, `-`, the encoded part cut to 64.
pub fn fallback_tag(subject: &Digest) -> Option<Tag> {
    let hex = subject.hex();
    let encoded = hex.get(..64).unwrap_or(&hex);
    Tag::parse(&format!("{}-{encoded}", subject.algorithm().as_str())).ok()
}

fn descriptor(row: ReferrerRow) -> Descriptor {
    Descriptor {
        media_type: row.media_type,
        size: row.size,
        digest: row.digest,
        urls: Vec::new(),
        annotations: row.annotations,
        artifact_type: row.artifact_type,
        platform: None,
        data: None,
    }
}
