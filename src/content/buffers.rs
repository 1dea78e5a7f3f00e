//! The memory that blobs are read through: a few buffers that go round, instead of a fresh one for every
//! chunk. A fresh one costs as many page faults as the copy itself, and is freed on another thread than
//! it came from, where allocators keep it; so these are what bounds the memory of pulls.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Measured best trade between system calls and memory per reader.
pub(super) const CHUNK: usize = 256 << 10;

/// Buffers on their way to clients, from which on further ones are small: 32 MiB.
const MANY: usize = 128;

/// Idle buffers kept: all of them, so that none is freed on another thread than it came from.
const KEPT: usize = MANY;

/// The small ones: a thousand clients that take nothing hold as much as those before them.
const SMALL: usize = 32 << 10;

/// Buffers of [`CHUNK`] bytes, and smaller ones when there are many readers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
    lent: AtomicUsize,
}

impl Buffers {
    /// Returns how many of the `remaining` bytes are read next.
    pub(super) fn next_chunk(&self, remaining: u64) -> usize {
        let chunk = if self.lent.load(Ordering::Relaxed) < MANY {
            CHUNK
        } else {
            SMALL
        };
        usize::try_from(remaining).map_or(chunk, |remaining| remaining.min(chunk))
    }

    /// Reads `length` bytes (at most [`CHUNK`] are worth a buffer that goes round) at `offset`. Blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter: the answer must break, not end.
    pub(super) fn read(
        self: &Arc<Self>,
        file: &File,
        offset: u64,
        length: usize,
    ) -> io::Result<Bytes> {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let mut lent = Lent {
            buffer: self.take(length),
            home: Arc::clone(self),
        };
        let buffer = &mut lent.buffer;
        while buffer.len() < length {
            let at = offset + buffer.len() as u64;
            match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The buffer may be larger than asked for, and the file may have grown past the range.
        buffer.truncate(length);
        Ok(Bytes::from_owner(lent))
    }

    fn take(&self, length: usize) -> Vec<u8> {
        if length <= CHUNK / 4 || length > CHUNK {
            return Vec::with_capacity(length);
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
        if buffer.capacity() != CHUNK {
            return;
        }
        buffer.clear();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(buffer);
        }
    }
}

/// A buffer on its way to a client; it comes back when the last of its bytes is sent.
struct Lent {
    buffer: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::{Buffers, CHUNK, KEPT, MANY, SMALL};

    fn file(size: usize) -> std::fs::File {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).expect("written");
        file
    }

    #[test]
    fn a_buffer_that_goes_round_shows_nothing_of_its_last_trip() {
        let (buffers, file) = (Arc::new(Buffers::default()), file(CHUNK + 10));
        let first = buffers.read(&file, 0, CHUNK).expect("read");
        assert_eq!(first.len(), CHUNK);
        drop(first);
        assert_eq!(buffers.idle.lock().expect("not poisoned").len(), 1);
        let second = buffers.read(&file, 7, CHUNK / 2).expect("read");
        assert_eq!(second.len(), CHUNK / 2);
        assert_eq!(second[0], 7);
        assert!(buffers.idle.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let (buffers, file) = (Arc::new(Buffers::default()), file(CHUNK));
        let lent: Vec<_> = (0..KEPT * 2)
            .map(|_| buffers.read(&file, 0, CHUNK).expect("read"))
            .collect();
        drop(lent);
        assert_eq!(buffers.idle.lock().expect("not poisoned").len(), KEPT);
    }

    #[test]
    fn many_readers_get_small_buffers_until_some_are_done() {
        let (buffers, file) = (Arc::new(Buffers::default()), file(CHUNK));
        assert_eq!(buffers.next_chunk(10), 10);
        let mut lent: Vec<_> = (0..MANY)
            .map(|_| {
                let length = buffers.next_chunk(CHUNK as u64);
                assert_eq!(length, CHUNK);
                buffers.read(&file, 0, length).expect("read")
            })
            .collect();
        assert_eq!(buffers.next_chunk(CHUNK as u64), SMALL);
        lent.pop();
        assert_eq!(buffers.next_chunk(CHUNK as u64), CHUNK);
    }

    #[test]
    fn small_and_large_reads_do_not_take_a_place() {
        let (buffers, file) = (Arc::new(Buffers::default()), file(CHUNK * 2));
        for length in [0, 10, CHUNK * 2] {
            let read = buffers.read(&file, 0, length).expect("read");
            assert_eq!(read.len(), length);
        }
        assert!(buffers.idle.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let (buffers, file) = (Arc::new(Buffers::default()), file(10));
        assert!(buffers.read(&file, 0, 11).is_err());
    }
}
