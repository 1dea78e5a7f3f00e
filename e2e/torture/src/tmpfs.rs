//! File systems in memory: one that is small can be filled, and a large one takes a hundred thousand files in seconds.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; it is unmounted with this value.
#[derive(Debug)]
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one that holds `size` (as `mount` takes it) at `at`.
    pub(crate) fn mount(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .status();
        match mounted {
            Ok(status) if status.success() => Ok(Self(at.to_owned())),
            told => Err(format!(
                "a file system in memory cannot be mounted: {told:?}"
            )),
        }
    }

    /// Returns where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) -> std::io::Result<()> {
        let mut options = fs::File::options();
        let mut file = options
            .create(true)
            .append(true)
            .open(self.0.join("ballast"))?;
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0; piece];
            while file.write_all(&zeros).is_ok() {}
        }
        Ok(())
    }

    /// Gives back what [`Tmpfs::fill`] took.
    pub(crate) fn empty(&self) -> std::io::Result<()> {
        fs::remove_file(self.0.join("ballast"))
    }

    /// Returns the bytes that are left.
    pub(crate) fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.0).map_or(0, |told| told.f_bavail * told.f_frsize)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The suite unmounts what is left below its folder.
        drop(Command::new("umount").arg(&self.0).status());
    }
}
