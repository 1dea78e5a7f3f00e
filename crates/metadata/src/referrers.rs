//! Referrers: the manifests of a repository whose subject is a given digest, whether or not that one is there.

use std::collections::BTreeMap;

use oci::{Digest, RepositoryName};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::value::{Row, Value};

/// One entry of a referrers list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerRow {
    /// The digest of the referring manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

pub(crate) const ALL: &str = "SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations \
    FROM repositories r \
    JOIN manifests m ON m.repository_id = r.id AND m.subject = $2 AND m.digest > $3 \
    WHERE r.name = $1 ORDER BY m.digest LIMIT $4";

pub(crate) const OF_TYPE: &str = "SELECT m.digest, m.media_type, m.size, m.artifact_type, m.annotations \
    FROM repositories r \
    JOIN manifests m ON m.repository_id = r.id AND m.subject = $2 AND m.digest > $3 \
    WHERE r.name = $1 AND m.artifact_type = $5 ORDER BY m.digest LIMIT $4";

struct Page {
    repository: RepositoryName,
    subject: Digest,
    artifact_type: Option<String>,
    after: Option<Digest>,
    limit: u64,
}

impl Metadata {
    /// Returns the manifests that refer to `subject`, of one artifact type if one is given, after the digest
    /// `after`, in the order of digests.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<Digest>,
        limit: u64,
    ) -> Result<Vec<ReferrerRow>> {
        let artifact_type = artifact_type.map(str::to_owned);
        let page = Page {
            repository: repository.clone(),
            subject: *subject,
            artifact_type,
            after,
            limit,
        };
        let rows = self
            .read(page, |tx, page| {
                Box::pin(async move {
                    // Every digest sorts after no bytes at all.
                    let after = page
                        .after
                        .as_ref()
                        .map_or(Value::Blob(Vec::new()), Value::from);
                    let mut columns = vec![
                        (&page.repository).into(),
                        (&page.subject).into(),
                        after,
                        page.limit.into(),
                    ];
                    let Some(artifact_type) = &page.artifact_type else {
                        return tx.query(ALL, &columns).await;
                    };
                    columns.push(artifact_type.as_str().into());
                    tx.query(OF_TYPE, &columns).await
                })
            })
            .await?;
        rows.iter().map(referrer_row).collect()
    }
}

fn referrer_row(row: &Row) -> Result<ReferrerRow> {
    let digest = row.digest(0)?;
    let annotations = serde_json::from_str(row.text(4)?).map_err(|error| {
        Error::corrupt(format!(
            "the annotations of {digest} are not a map: {error}"
        ))
    })?;
    Ok(ReferrerRow {
        digest,
        media_type: row.text(1)?.to_owned(),
        size: row.u64(2)?,
        artifact_type: row.opt_text(3)?.map(str::to_owned),
        annotations,
    })
}
