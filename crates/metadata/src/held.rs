//! Repositories of which nothing is collected: an import found something in them that it could not read, so that nobody
//! knows what it needs.

use oci::RepositoryName;

use crate::database::Metadata;
use crate::error::Result;
use crate::repositories::RepositoryId;
use crate::tx::Tx;

/// `$1` repository, `$2` now.
const HOLD: &str = "UPDATE repositories SET held_since = $2 WHERE id = $1 AND held_since IS NULL";

const RELEASE: &str =
    "UPDATE repositories SET held_since = NULL WHERE id = $1 AND held_since IS NOT NULL";

/// What was put off meanwhile.
pub(crate) const WAKE: &str =
    "UPDATE gc_candidates SET not_before = 0 WHERE repository_id = $1 AND not_before > 0";

const COUNT: &str = "SELECT count(*) AS number FROM repositories WHERE held_since IS NOT NULL";

const NAMES: &str =
    "SELECT name FROM repositories WHERE held_since IS NOT NULL ORDER BY name LIMIT $1";

/// The repositories that are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRepositories {
    /// How many there are.
    pub count: u64,
    /// The first of them by name.
    pub first: Vec<RepositoryName>,
}

impl Metadata {
    /// Returns the repositories that are held, at most so many of them by name.
    pub async fn held_repositories(&self, most: u64) -> Result<HeldRepositories> {
        self.read(most, |tx, most| {
            Box::pin(async move {
                let count = tx.query_one(COUNT, &[]).await?;
                let names = tx.query(NAMES, &[(*most).into()]).await?;
                Ok(HeldRepositories {
                    count: count.map_or(Ok(0), |row| row.u64(0))?,
                    first: names
                        .iter()
                        .map(|row| row.repository_name(0))
                        .collect::<Result<_>>()?,
                })
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
