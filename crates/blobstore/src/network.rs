//! Telling a network file system by its type: SQLite's locks and syncs cannot be relied on there.

use std::io;
use std::path::Path;

/// Returns the name of the network file system that `path` is on; `None` on a local one.
///
/// # Errors
/// What statfs(2) says.
pub fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let found = rustix::fs::statfs(path)?;
    // The field's type differs between architectures; the magic numbers are 32 bits wide.
    Ok(name_of(found.f_type as u32))
}

/// The magic numbers of statfs(2) and of the kernel's `magic.h`.
fn name_of(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B => Some("SMB"),
        0xFF53_4D42 => Some("CIFS"),
        0xFE53_4D42 => Some("SMB2"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{name_of, network_file_system};

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xFF53_4D42), Some("CIFS"));
        assert_eq!(name_of(0xEF53), None, "ext4");
        assert_eq!(name_of(0x0102_1994), None, "tmpfs");
    }

    #[test]
    fn a_directory_that_is_there_can_be_asked() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(network_file_system(directory.path()).is_ok());
        assert!(network_file_system(&directory.path().join("none")).is_err());
    }
}
