//! Repositories of which nothing is collected: an import found something in them that it could not read, so that nobody
//! knows what it needs.

use oci::RepositoryName;

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::{self, RepositoryId};
use crate::tx::Tx;

/// `$1` repository, `$2` now.
const HOLD: &str = "UPDATE repositories SET held_since = $2 WHERE id = $1 AND held_since IS NULL";

const RELEASE: &str =
    "UPDATE repositories SET held_since = NULL WHERE id = $1 AND held_since IS NOT NULL";

/// What was put off meanwhile.
pub(crate) const WAKE: &str =
    "UPDATE gc_candidates SET not_before = 0 WHERE repository_id = $1 AND not_before > 0";

impl Metadata {
    /// Has nothing of a repository collected from now on, and returns whether that is new.
    pub async fn hold_repository(&self, repository: &RepositoryName) -> Result<bool> {
        self.write(repository.clone(), |tx, repository| {
            Box::pin(async move {
                let Some((id, _)) = repositories::find(tx, repository).await? else {
                    return Ok(false);
                };
                hold(tx, id).await
            })
        })
        .await
    }

    /// Ends that, so that what was put off is due again, and returns whether the repository was held.
    pub async fn release_repository(&self, repository: &RepositoryName) -> Result<bool> {
        self.write(repository.clone(), |tx, repository| {
            Box::pin(async move {
                let Some((id, _)) = repositories::find(tx, repository).await? else {
                    return Ok(false);
                };
                release(tx, id).await
            })
        })
        .await
    }
}

/// Has nothing of a repository collected from now on, and returns whether that is new.
pub(crate) async fn hold(tx: &mut Tx, repository: RepositoryId) -> Result<bool> {
    let now = tx.now();
    let columns = [repository.value(), now.into()];
    Ok(tx.execute(HOLD, &columns).await? > 0)
}

/// Ends that, and returns whether the repository was held.
pub(crate) async fn release(tx: &mut Tx, repository: RepositoryId) -> Result<bool> {
    if tx.execute(RELEASE, &[repository.value()]).await? == 0 {
        return Ok(false);
    }
    tx.execute(WAKE, &[repository.value()]).await?;
    Ok(true)
}
