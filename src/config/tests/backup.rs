//! The `backup` section.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::Path;

use super::load::{PLAIN, with};
use crate::config::Backup;

fn backup(keys: &str, variables: &[(&str, &str)]) -> Backup {
    let config = with(&format!("{PLAIN}backup: {{{keys}}}\n"), variables).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    config.backup
}

#[test]
fn without_the_section_copies_are_made_when_asked_and_lie_in_the_store() {
    let config = with(PLAIN, &[]).unwrap();
    let expected = Backup {
        schedule: None,
        keep: 7,
        directory: config.storage.rootdirectory.join("backups"),
    };
    assert_eq!(config.backup, expected);
    assert_eq!(
        backup("schedule: '', keep: 7, destination: ''", &[]),
        expected
    );
}

#[test]
fn the_keys_are_read_and_variables_override_them() {
    let read = backup(
        "schedule: '30 2 * * *', keep: 0, destination: /mnt/backup",
        &[("REGISTRY_BACKUP_KEEP", "3")],
    );
    assert_eq!(read.schedule.as_deref(), Some("30 2 * * *"));
    assert_eq!(read.keep, 3);
    assert_eq!(read.directory, Path::new("/mnt/backup"));
}

#[test]
fn wrong_values_are_told_with_their_lines() {
    let text = format!("{PLAIN}backup:\n  schedule: hourly\n  keep: -1\n  destination: backup\n");
    let error = with(&text, &[]).unwrap_err().to_string();
    for told in [
        "config.yml:4: backup.schedule: \"hourly\" is not a schedule of five fields",
        "config.yml:5: backup.keep: \"-1\" is not a number of copies",
        "config.yml:6: backup.destination: \"backup\" is no absolute path",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
}
