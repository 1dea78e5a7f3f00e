//! Reading stored blobs: positioned reads of 256 KiB on the blocking pool, one chunk ahead of the
//! client, so that neither a slow reader nor a cold disk holds a thread. A file whose size is not its
//! row's is never served, and quarantined by the first who meets it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use oci::{Digest, RepositoryName};
use tokio::task::JoinHandle;

use super::buffers::Buffers;
use super::damage::Look;
use super::error::Error;
use super::fill::GrowingFile;
use super::in_use::Hold;
use super::store::{Content, address};

/// Bytes as they travel between rooms; an error ends the stream without its rest.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A blob that is whole and durable here.
#[derive(Debug)]
pub struct StoredBlob {
    size: u64,
    file: Arc<File>,
    buffers: Arc<Buffers>,
    hold: Arc<Hold>,
}

impl StoredBlob {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the bytes of `range`, which must lie within the blob.
    pub fn read(&self, range: Range<u64>) -> ByteStream {
        let reading = Reading {
            file: Arc::clone(&self.file),
            buffers: Arc::clone(&self.buffers),
            next: range.start,
            end: range.end,
            ahead: None,
            _hold: Some(Arc::clone(&self.hold)),
        };
        stream(reading)
    }

    /// Returns the blob as readers of one that was just fetched have it.
    pub fn as_arrived(&self) -> GrowingFile {
        let (file, hold) = (Arc::clone(&self.file), Arc::clone(&self.hold));
        GrowingFile::new(file, Arc::clone(&self.buffers), hold)
    }
}

impl Content {
    /// Opens the blob of `row`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is gone or has another size than the row; it is quarantined then.
    pub async fn open_blob(
        &self,
        digest: &Digest,
        row: &metadata::BlobRow,
    ) -> Result<StoredBlob, Error> {
        let hold = self.in_use.hold(digest).await;
        let opened = self.open_file(digest, row.key.as_deref()).await?;
        if opened.size != row.size {
            return Err(self.met_damage(digest, Look::Size).await);
        }
        Ok(StoredBlob {
            size: opened.size,
            file: Arc::new(opened.file),
            buffers: Arc::clone(&self.buffers),
            hold: Arc::new(hold),
        })
    }

    /// Returns the opened blob that `repository` may serve, if there is one. A damaged one is none: who pushes it again
    /// repairs it.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn find_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<StoredBlob>, Error> {
        let Some(row) = self.metadata.blob(repository, digest).await? else {
            return Ok(None);
        };
        match self.open_blob(digest, &row).await {
            Ok(blob) => Ok(Some(blob)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn open_file(
        &self,
        digest: &Digest,
        key: Option<&str>,
    ) -> Result<blobstore::BlobFile, Error> {
        let at = address(digest, key)?;
        let store = Arc::clone(&self.store);
        let opened = tokio::task::spawn_blocking(move || store.open(&at)).await?;
        match opened {
            Err(error) if error.kind() == blobstore::ErrorKind::NotFound => {
                Err(self.met_damage(digest, Look::Size).await)
            }
            opened => Ok(opened?),
        }
    }
}

struct Reading {
    file: Arc<File>,
    buffers: Arc<Buffers>,
    next: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    _hold: Option<Arc<Hold>>,
}

fn stream(start: Reading) -> ByteStream {
    Box::pin(futures_util::stream::try_unfold(
        start,
        |mut reading| async move {
            let current = match reading.ahead.take() {
                Some(ahead) => ahead,
                None => match reading.read_next() {
                    Some(first) => first,
                    None => return Ok(None),
                },
            };
            let bytes = current.await.map_err(io::Error::other)??;
            reading.ahead = reading.read_next();
            Ok(Some((bytes, reading)))
        },
    ))
}

impl Reading {
    fn read_next(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let remaining = self.end.saturating_sub(self.next);
        if remaining == 0 {
            return None;
        }
        let length = self.buffers.next_chunk(remaining);
        let (file, offset) = (Arc::clone(&self.file), self.next);
        let buffers = Arc::clone(&self.buffers);
        self.next += length as u64;
        Some(tokio::task::spawn_blocking(move || {
            buffers.read(&file, offset, length)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::TryStreamExt;

    use super::super::buffers::CHUNK;
    use super::{Arc, Buffers, ByteStream, Range, Reading};

    fn stream(file: Arc<std::fs::File>, buffers: Arc<Buffers>, range: Range<u64>) -> ByteStream {
        super::stream(Reading {
            file,
            buffers,
            next: range.start,
            end: range.end,
            ahead: None,
            _hold: None,
        })
    }

    fn file_of(size: usize) -> (Arc<std::fs::File>, Vec<u8>) {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&bytes).expect("written");
        (Arc::new(file), bytes)
    }

    #[tokio::test]
    async fn a_range_across_chunks_comes_back_whole() {
        let (file, bytes) = file_of(CHUNK * 2 + 77);
        let range = 5..(CHUNK * 2 + 70) as u64;
        let read: Vec<_> = stream(file, Arc::new(Buffers::default()), range)
            .try_collect()
            .await
            .expect("reads");
        assert_eq!(read.concat(), bytes[5..CHUNK * 2 + 70]);
    }

    #[tokio::test]
    async fn an_empty_range_has_no_chunks() {
        let (file, _) = file_of(10);
        let read: Vec<_> = stream(file, Arc::new(Buffers::default()), 3..3)
            .try_collect()
            .await
            .expect("reads");
        assert!(read.is_empty());
    }

    #[tokio::test]
    async fn a_file_shorter_than_its_range_breaks_the_stream() {
        let (file, _) = file_of(10);
        let read: Result<Vec<_>, _> = stream(file, Arc::new(Buffers::default()), 0..11)
            .try_collect()
            .await;
        assert!(read.is_err());
    }
}
