//! Leases: whoever is told that something exists can rely on it for a while. A lease is a column of the digest's own row,
//! extended in the step that makes sure that the digest is there, so that a reclaim either came first or meets the lease.

use oci::{Digest, RepositoryName};

use crate::blobs::{BLOB, blob_row};
use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::RepositoryKind;
use crate::tx::Tx;
use crate::value::Value;

/// An answer that lets a client skip an upload, and what it is about.
#[derive(Clone, Debug)]
pub struct ExtendLease {
    /// The repository that was asked.
    pub repository: RepositoryName,
    /// What it holds.
    pub digest: Digest,
    /// As what.
    pub of: LeaseOf,
    /// How long it is not reclaimed from now, in microseconds.
    pub lease_micros: i64,
}

/// As what a repository holds a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOf {
    /// As a blob.
    Blob,
    /// As a manifest.
    Manifest,
}

/// `$3`: 1 when it is for a local repository.
pub(crate) const LEASE: &str = "UPDATE blobs \
    SET lease_until = CASE WHEN lease_until < $2 THEN $2 ELSE lease_until END, \
        held_locally = CASE WHEN held_locally < $3 THEN $3 ELSE held_locally END \
    WHERE digest = $1 AND state = 1";

/// `$1` repository, `$2` digest.
pub(crate) const LEASE_OF_MANIFEST: &str = "SELECT b.lease_until FROM repositories r \
    JOIN manifests m ON m.repository_id = r.id AND m.digest = $2 \
    JOIN blobs b ON b.digest = m.digest AND b.state = 1 \
    WHERE r.name = $1";

impl Metadata {
    /// Makes sure that what a repository holds is not reclaimed for a while, and returns whether it holds it.
    /// `false` means that it must not be said to exist. Writes only when less than half of the lease remains. Whether it
    /// is there is asked in the step that protects it: a review that came first has taken it away, one that comes later
    /// meets the lease.
    pub async fn extend_lease(&self, lease: ExtendLease) -> Result<bool> {
        let remains = self
            .read(lease.clone(), |tx, lease| Box::pin(lease_state(tx, lease)))
            .await?;
        if remains != LeaseState::Short {
            return Ok(remains == LeaseState::Long);
        }
        self.write(lease, |tx, lease| {
            Box::pin(async move {
                // Another caller in the same group may have extended it already.
                match lease_state(tx, lease).await? {
                    LeaseState::Absent => Ok(false),
                    LeaseState::Long => Ok(true),
                    LeaseState::Short => {
                        let until = tx.now().saturating_add(lease.lease_micros);
                        // Who holds it has said so when it got it.
                        let columns = [(&lease.digest).into(), until.into(), Value::Int(0)];
                        Ok(tx.execute(LEASE, &columns).await? > 0)
                    }
                }
            })
        })
        .await
    }

    /// Returns whether the repository holds what `lease` is about.
    pub async fn holds(&self, lease: ExtendLease) -> Result<bool> {
        self.read(lease, |tx, lease| {
            Box::pin(async move { Ok(lease_state(tx, lease).await? != LeaseState::Absent) })
        })
        .await
    }
}

/// How much of a lease remains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaseState {
    Absent,
    /// Less than half.
    Short,
    Long,
}

async fn lease_state(tx: &mut Tx, lease: &ExtendLease) -> Result<LeaseState> {
    let key = [(&lease.repository).into(), (&lease.digest).into()];
    let until = match lease.of {
        LeaseOf::Blob => blob_row(tx.query_one(BLOB, &key).await?)?.map(|blob| blob.lease_until),
        LeaseOf::Manifest => {
            let row = tx.query_one(LEASE_OF_MANIFEST, &key).await?;
            row.map(|row| row.i64(0)).transpose()?
        }
    };
    let Some(until) = until else {
        return Ok(LeaseState::Absent);
    };
    let remains = until.saturating_sub(tx.now());
    Ok(if remains < lease.lease_micros / 2 {
        LeaseState::Short
    } else {
        LeaseState::Long
    })
}

/// Extends the lease to `lease_micros` from now, for a repository of that kind, and returns whether the blob is live.
pub(crate) async fn lease_until(
    tx: &mut Tx,
    digest: &Digest,
    kind: &RepositoryKind,
    lease_micros: i64,
) -> Result<bool> {
    let until = tx.now().saturating_add(lease_micros);
    let columns = [digest.into(), until.into(), held_locally(kind)];
    Ok(tx.execute(LEASE, &columns).await? > 0)
}

pub(crate) fn held_locally(kind: &RepositoryKind) -> Value {
    Value::Int(match kind {
        RepositoryKind::Local => 1,
        RepositoryKind::Mirror { .. } => 0,
    })
}
