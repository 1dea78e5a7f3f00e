//! Tells whether a directory lies on a network file system, so that the operator can be warned or refused.
//! It only names what the kernel says; what follows from it is decided elsewhere.

use std::io;
use std::path::Path;

/// Returns the name of the network file system that `path` lies on, or none when it is a local one.
///
/// File systems in user space look alike to the kernel and count as local.
///
/// # Errors
/// What the system reports, such as `NotFound` for a path that does not exist.
pub fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let found = rustix::fs::statfs(path)?;
    // The numbers are 32 bits wide, the field is as wide as a word and on some machines signed.
    Ok(name_of(found.f_type as u32))
}

/// Returns the name of the network file system whose `f_type` is `magic` (statfs(2), linux/magic.h).
fn name_of(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("Ceph"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::{name_of, network_file_system};

    #[test]
    fn network_file_systems_are_named() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "Ceph"),
            (0x5346_414f, "AFS"),
            (0x6b41_4653, "AFS"),
            (0x0bd0_0bd0, "Lustre"),
            (0x4750_4653, "GPFS"),
        ] {
            assert_eq!(name_of(magic), Some(name));
        }
    }

    #[test]
    fn local_file_systems_and_those_in_user_space_have_no_name() {
        const EXT4: u32 = 0xef53;
        const XFS: u32 = 0x5846_5342;
        const BTRFS: u32 = 0x9123_683e;
        const TMPFS: u32 = 0x0102_1994;
        const OVERLAY: u32 = 0x794c_7630;
        const FUSE: u32 = 0x6573_5546;
        for magic in [EXT4, XFS, BTRFS, TMPFS, OVERLAY, FUSE] {
            assert_eq!(name_of(magic), None, "{magic:#x}");
        }
    }

    #[test]
    fn the_proc_file_system_is_local() {
        let name = network_file_system(Path::new("/proc")).expect("/proc is mounted on Linux");
        assert_eq!(name, None);
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let error = network_file_system(&directory.path().join("absent"))
            .expect_err("nothing is at the path");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
