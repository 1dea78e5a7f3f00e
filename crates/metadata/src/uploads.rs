//! Uploads under way. A row is made before the first byte is stored and moves on by compare-and-set, so that any
//! process can continue any upload and two that try at once cannot both succeed.

use oci::{Algorithm, RepositoryName, UploadId};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// Who is served by an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadPurpose {
    /// A client that pushes.
    Push,
    /// The mirror, which stores what an upstream sends.
    MirrorFill,
}

impl UploadPurpose {
    fn code(self) -> i64 {
        match self {
            Self::Push => 1,
            Self::MirrorFill => 2,
        }
    }

    fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Push),
            2 => Some(Self::MirrorFill),
            _ => None,
        }
    }
}

/// An upload that begins.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id, which grants access to it.
    pub id: UploadId,
    /// The repository it is for, which need not exist yet.
    pub repository: RepositoryName,
    /// Who is served.
    pub purpose: UploadPurpose,
    /// The algorithm its bytes are hashed with.
    pub algorithm: Algorithm,
    /// The saved hash of no bytes; `None` when it cannot be saved.
    pub hash_state: Option<Vec<u8>>,
    /// The store driver's state.
    pub store_state: Vec<u8>,
    /// Who did it.
    pub by: String,
    /// Who counts towards the limit; empty for work of the server itself, which has none.
    pub client: String,
    /// The most uploads that client may have open, this one included; `None` without a limit.
    pub most: Option<u64>,
}

/// What became of a [`NewUpload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadBegun {
    /// It is recorded.
    Begun,
    /// Its client has as many open as it may; nothing was written.
    TooMany,
}

/// An upload of a client that nobody moved on for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleUpload {
    /// Its id.
    pub id: UploadId,
    /// The repository it is for.
    pub repository: RepositoryName,
    /// How many bytes are acknowledged.
    pub offset: u64,
    /// When it last moved on, in microseconds since 1970.
    pub updated_at: i64,
}

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Its id.
    pub id: UploadId,
    /// The repository it is for.
    pub repository: RepositoryName,
    /// Who is served.
    pub purpose: UploadPurpose,
    /// How many bytes are stored.
    pub offset: u64,
    /// Counts the times it moved on, from 0.
    pub revision: i64,
    /// The algorithm its bytes are hashed with.
    pub algorithm: Algorithm,
    /// The saved hash of the stored bytes; `None` when they must be read again.
    pub hash_state: Option<Vec<u8>>,
    /// The store driver's state.
    pub store_state: Vec<u8>,
    /// When it began, in microseconds since 1970.
    pub created_at: i64,
    /// When it last moved on, in microseconds since 1970.
    pub updated_at: i64,
    /// Who began it.
    pub created_by: String,
}

/// The next state of an upload.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The upload.
    pub id: UploadId,
    /// The revision the new state was made from.
    pub expected_revision: i64,
    /// How many bytes are stored now.
    pub offset: u64,
    /// The saved hash of them.
    pub hash_state: Option<Vec<u8>>,
    /// The store driver's state.
    pub store_state: Vec<u8>,
}

/// What became of an [`Advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvanceOutcome {
    /// The upload has the new state.
    Advanced {
        /// Its revision now.
        revision: i64,
    },
    /// Someone else moved it on or ended it; nothing was written.
    Lost,
}

const CREATE: &str = "INSERT INTO uploads (id, repository, purpose, \"offset\", revision, algorithm, \
        hash_state, store_state, created_at, updated_at, created_by, client) \
    VALUES ($1, $2, $3, 0, 0, $4, $5, $6, $7, $7, $8, $9) ON CONFLICT (id) DO NOTHING";

/// They are never many more than the limit.
pub(crate) const OPEN_OF_CLIENT: &str = "SELECT count(*) FROM uploads WHERE client = $1";

pub(crate) const UPLOAD: &str = "SELECT repository, purpose, \"offset\", revision, algorithm, hash_state, \
        store_state, created_at, updated_at, created_by \
    FROM uploads WHERE id = $1";

pub(crate) const ADVANCE: &str = "UPDATE uploads SET \"offset\" = $3, revision = revision + 1, hash_state = $4, \
        store_state = $5, updated_at = $6 \
    WHERE id = $1 AND revision = $2 RETURNING revision";

const DELETE: &str = "DELETE FROM uploads WHERE id = $1";

/// Only of clients (purpose 1): what a mirror fetches ends with its process.
pub(crate) const IDLE: &str = "SELECT id, repository, \"offset\", updated_at FROM uploads \
    WHERE updated_at <= $1 AND (updated_at, id) > ($2, $3) AND purpose = 1 ORDER BY updated_at, id LIMIT $4";

const DELETE_IDLE: &str = "DELETE FROM uploads WHERE id = $1 AND updated_at <= $2";

/// The rows of a page of idle uploads.
const PAGE: u64 = 100;

/// Every row is wanted: at the start, to tell the store's orphans from what can be continued.
const OPEN: &str = "SELECT id, purpose FROM uploads ORDER BY id";

impl Metadata {
    /// Records an upload that begins, unless its client has too many open.
    ///
    /// # Errors
    /// [`Error::Conflict`] when one with that id exists.
    pub async fn create_upload(&self, upload: NewUpload) -> Result<UploadBegun> {
        self.write(upload, |tx, upload| Box::pin(create_upload(tx, upload)))
            .await
    }

    /// Returns an upload.
    pub async fn upload(&self, id: &UploadId) -> Result<Option<UploadRow>> {
        self.read(id.clone(), |tx, id| {
            Box::pin(async move {
                let row = tx.query_one(UPLOAD, &[id.as_str().into()]).await?;
                row.map(|row| upload_row(id, &row)).transpose()
            })
        })
        .await
    }

    /// Moves an upload on if nobody else has since `expected_revision`.
    pub async fn advance_upload(&self, advance: Advance) -> Result<AdvanceOutcome> {
        self.write(advance, |tx, advance| Box::pin(advance_upload(tx, advance)))
            .await
    }

    /// Ends an upload and returns whether there was one.
    pub async fn delete_upload(&self, id: &UploadId) -> Result<bool> {
        self.write(id.clone(), |tx, id| Box::pin(remove(tx, id)))
            .await
    }

    /// Returns the next uploads of clients that nobody moved on since `until` (microseconds since 1970), the longest idle
    /// first, after `after`; none when there are no more.
    pub async fn idle_uploads(
        &self,
        until: i64,
        after: Option<&IdleUpload>,
    ) -> Result<Vec<IdleUpload>> {
        let after = match after {
            Some(last) => (last.updated_at, last.id.to_string()),
            None => (i64::MIN, String::new()),
        };
        self.read((until, after), |tx, (until, (updated_at, id))| {
            Box::pin(async move {
                let start = [
                    (*until).into(),
                    (*updated_at).into(),
                    id.as_str().into(),
                    PAGE.into(),
                ];
                tx.query(IDLE, &start)
                    .await?
                    .iter()
                    .map(idle_upload)
                    .collect()
            })
        })
        .await
    }

    /// Ends an upload that nobody moved on since `until`, in microseconds since 1970, and returns whether it did.
    pub async fn delete_idle_upload(&self, id: &UploadId, until: i64) -> Result<bool> {
        self.write((id.clone(), until), |tx, (id, until)| {
            Box::pin(async move {
                let key = [id.as_str().into(), (*until).into()];
                Ok(tx.execute(DELETE_IDLE, &key).await? > 0)
            })
        })
        .await
    }

    /// Returns every upload under way.
    pub async fn open_uploads(&self) -> Result<Vec<(UploadId, UploadPurpose)>> {
        self.read((), |tx, ()| {
            Box::pin(async move { tx.query(OPEN, &[]).await?.iter().map(open_upload).collect() })
        })
        .await
    }
}

/// Removes an upload's row and returns whether there was one.
pub(crate) async fn remove(tx: &mut Tx, id: &UploadId) -> Result<bool> {
    Ok(tx.execute(DELETE, &[id.as_str().into()]).await? > 0)
}

async fn create_upload(tx: &mut Tx, upload: &NewUpload) -> Result<UploadBegun> {
    if let Some(most) = upload.most {
        let of_client = [upload.client.as_str().into()];
        let row = tx.query_one(OPEN_OF_CLIENT, &of_client).await?;
        let open = row.map(|row| row.u64(0)).transpose()?.unwrap_or(0);
        if open >= most {
            return Ok(UploadBegun::TooMany);
        }
    }
    let columns = [
        upload.id.as_str().into(),
        (&upload.repository).into(),
        upload.purpose.code().into(),
        i64::from(upload.algorithm.code()).into(),
        upload.hash_state.as_deref().into(),
        upload.store_state.as_slice().into(),
        tx.now().into(),
        upload.by.as_str().into(),
        upload.client.as_str().into(),
    ];
    if tx.execute(CREATE, &columns).await? == 0 {
        return Err(Error::Conflict {
            what: format!("upload {}", upload.id),
        });
    }
    Ok(UploadBegun::Begun)
}

async fn advance_upload(tx: &mut Tx, advance: &Advance) -> Result<AdvanceOutcome> {
    let columns: [Value; 6] = [
        advance.id.as_str().into(),
        advance.expected_revision.into(),
        advance.offset.into(),
        advance.hash_state.as_deref().into(),
        advance.store_state.as_slice().into(),
        tx.now().into(),
    ];
    let row = tx.query_one(ADVANCE, &columns).await?;
    Ok(match row {
        Some(row) => AdvanceOutcome::Advanced {
            revision: row.i64(0)?,
        },
        None => AdvanceOutcome::Lost,
    })
}

fn upload_row(id: &UploadId, row: &Row) -> Result<UploadRow> {
    Ok(UploadRow {
        id: id.clone(),
        repository: row.repository_name(0)?,
        purpose: row.code(1, UploadPurpose::from_code)?,
        offset: row.u64(2)?,
        revision: row.i64(3)?,
        algorithm: row.code(4, |code| Algorithm::from_code(u8::try_from(code).ok()?))?,
        hash_state: row.opt_blob(5)?.map(<[u8]>::to_vec),
        store_state: row.blob(6)?.to_vec(),
        created_at: row.i64(7)?,
        updated_at: row.i64(8)?,
        created_by: row.text(9)?.to_owned(),
    })
}

fn upload_id(text: &str) -> Result<UploadId> {
    UploadId::parse(text).map_err(|_| Error::corrupt("id is not an upload id"))
}

fn idle_upload(row: &Row) -> Result<IdleUpload> {
    Ok(IdleUpload {
        id: upload_id(row.text(0)?)?,
        repository: row.repository_name(1)?,
        offset: row.u64(2)?,
        updated_at: row.i64(3)?,
    })
}

fn open_upload(row: &Row) -> Result<(UploadId, UploadPurpose)> {
    let id = upload_id(row.text(0)?)?;
    Ok((id, row.code(1, UploadPurpose::from_code)?))
}
