//! The appender of a file: writes go straight to the kernel, a flush is one fdatasync.
//! After the first failure it does nothing more.

use std::fs::File;
use std::io::Write;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Appender, UploadState};

use super::uploads::current_state;

/// Writes at the position of a file that nobody else writes to.
pub(super) struct FileAppender {
    file: File,
    failed: Option<ErrorKind>,
}

impl FileAppender {
    /// Returns an appender that writes from the file's current position on.
    pub(super) fn new(file: File) -> Self {
        Self { file, failed: None }
    }

    /// Runs `step`, unless an earlier one failed. The kernel reports a lost page once and then forgets it, so a second
    /// fdatasync would succeed without the bytes being there; and a failed write leaves an unknown part behind.
    fn unless_failed(
        &mut self,
        context: &'static str,
        step: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<()> {
        if let Some(kind) = self.failed {
            return Err(Error::found(kind, context, "an earlier step failed"));
        }
        step(&mut self.file).map_err(|source| {
            let error = Error::while_doing(context)(source);
            self.failed = Some(error.kind());
            error
        })
    }
}

impl Drop for FileAppender {
    /// Gives the lock back. Closing would do it too, but not while a child of this process that is about to run
    /// another program still holds a copy of the descriptor.
    fn drop(&mut self) {
        // A file system without locks has nothing to give back.
        let _ = self.file.unlock();
    }
}

impl Appender for FileAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.unless_failed("writing an upload", |file| file.write_all(bytes))
    }

    fn flush(&mut self) -> Result<UploadState> {
        self.unless_failed("flushing an upload", |file| file.sync_data())?;
        Ok(current_state())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read};
    use std::os::fd::OwnedFd;

    use super::FileAppender;
    use crate::error::ErrorKind;
    use crate::store::Appender;

    /// Returns an appender to a pipe, which takes every write and refuses every fdatasync, and the pipe's other end.
    fn appender_that_cannot_flush() -> (FileAppender, io::PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let file = File::from(OwnedFd::from(writer));
        (FileAppender::new(file), reader)
    }

    #[test]
    fn after_a_failed_flush_nothing_is_written_or_flushed_any_more() {
        let (mut appender, mut reader) = appender_that_cannot_flush();
        appender.write(b"before").expect("the pipe takes bytes");
        appender.flush().expect_err("a pipe cannot be flushed");

        let write = appender
            .write(b"after")
            .expect_err("the appender is broken");
        let flush = appender.flush().expect_err("the appender is broken");

        for error in [write, flush] {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(
                error.to_string().contains("an earlier step failed"),
                "{error}"
            );
        }
        drop(appender);
        let mut arrived = Vec::new();
        reader
            .read_to_end(&mut arrived)
            .expect("the pipe can be read");
        assert_eq!(arrived, b"before");
    }

    #[test]
    fn a_full_disk_is_told_as_such_and_again_on_every_later_step() {
        let full = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full exists on Linux");
        let mut appender = FileAppender::new(full);
        for _ in 0..2 {
            let error = appender.write(b"bytes").expect_err("the device is full");
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        let error = appender.flush().expect_err("the write before it failed");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
