//! Disks in files: an XFS that can clone files in a moment, and on it the images whose clones are what a power cut leaves.
//! The loop device reads and writes the image file past the page cache, so that the file is the disk and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The size of the XFS, and of each image on it; both are sparse.
const HOST: u64 = 4 << 30;
const IMAGE: u64 = 400 << 20;

/// A file system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ext4,
    Xfs,
}

/// The XFS with the images.
#[derive(Debug)]
pub(super) struct Host {
    home: PathBuf,
    mounted: PathBuf,
}

/// A mounted image; it is unmounted with this value and removed.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    host: &'a Host,
    image: PathBuf,
    pub(super) mounted: PathBuf,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Blocks and sectors have the size of the pages that are shared between clones, whatever the size of the image.
    fn make(self, image: &Path) -> Result<(), String> {
        let blocks: &[&str] = match self {
            Self::Ext4 => &["-b", "4096"],
            Self::Xfs => &["-s", "size=4096"],
        };
        let program = format!("mkfs.{}", self.name());
        told(Command::new(program).arg("-q").args(blocks).arg(image))
    }

    /// A clone has its original's id, which XFS would refuse to mount twice. The journal of ext4 is written when somebody
    /// asks for it: little becomes durable because time went by.
    fn options(self) -> &'static str {
        match self {
            Self::Ext4 => "noatime,commit=60",
            Self::Xfs => "noatime,nouuid",
        }
    }
}

impl Host {
    /// Makes and mounts the XFS below `home`.
    pub(super) fn make(home: &Path) -> Result<Self, String> {
        let (image, mounted) = (home.join("host.img"), home.join("host"));
        sparse(&image, HOST)?;
        told(
            Command::new("mkfs.xfs")
                .args(["-q", "-m", "reflink=1"])
                .arg(&image),
        )?;
        fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        told(
            Command::new("mount")
                .args(["-o", "loop,noatime"])
                .args([&image, &mounted]),
        )?;
        Ok(Self {
            home: home.to_owned(),
            mounted,
        })
    }

    /// Makes and mounts an image.
    pub(super) fn disk(&self, name: &str, kind: Kind) -> Result<Disk<'_>, String> {
        let image = self.image(name);
        sparse(&image, IMAGE)?;
        kind.make(&image)?;
        self.mount(name, kind)
    }

    /// Mounts an image that is there, which recovers what its journal holds.
    pub(super) fn mount(&self, name: &str, kind: Kind) -> Result<Disk<'_>, String> {
        let (image, mounted) = (self.image(name), self.home.join(format!("{name}.mounted")));
        fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        let mut attach = Command::new("losetup");
        let device = output(
            attach
                .args(["--show", "--find", "--direct-io=on", "--sector-size=4096"])
                .arg(&image),
        )?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", kind.name(), "-o", kind.options(), &device])
            .arg(&mounted);
        let mount = told(&mut mount);
        // While it is mounted, this only says that the device goes when it is unmounted.
        let detached = told(Command::new("losetup").args(["--detach", &device]));
        mount.and(detached)?;
        Ok(Disk {
            host: self,
            image,
            mounted,
        })
    }

    fn image(&self, name: &str) -> PathBuf {
        self.mounted.join(format!("{name}.img"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The suite unmounts what is left below its folder.
        drop(told(Command::new("umount").arg(&self.mounted)));
        drop(fs::remove_file(self.home.join("host.img")));
    }
}

impl Disk<'_> {
    /// Clones the image as it is at this moment.
    pub(super) fn clone_as(&self, name: &str) -> Result<(), String> {
        let copy = self.host.image(name);
        told(
            Command::new("cp")
                .arg("--reflink=always")
                .args([&self.image, &copy]),
        )
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        drop(told(Command::new("umount").arg(&self.mounted)));
        drop(fs::remove_file(&self.image));
    }
}

fn sparse(file: &Path, size: u64) -> Result<(), String> {
    let made = fs::File::create(file).and_then(|file| file.set_len(size));
    made.map_err(|error| error.to_string())
}

/// Runs a command to its end.
fn told(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}

/// Runs a command to its end and returns what it printed.
fn output(command: &mut Command) -> Result<String, String> {
    let ended = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(format!("{command:?}: {}", said.trim()))
}
