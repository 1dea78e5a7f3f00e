//! How much there is, for people who look: counted when asked, never on the way of a request.

use crate::database::Metadata;
use crate::error::Result;

const BLOBS: &str = "SELECT count(*) FROM blobs WHERE state = 1";

impl Metadata {
    /// Returns how many blobs there are, bytes of manifests included. Reads every row.
    pub async fn count_blobs(&self) -> Result<u64> {
        self.read((), |tx, ()| {
            Box::pin(async move {
                let row = tx.query_one(BLOBS, &[]).await?;
                row.map_or(Ok(0), |row| row.u64(0))
            })
        })
        .await
    }
}
