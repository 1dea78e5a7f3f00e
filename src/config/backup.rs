//! The `backup` section: when the server copies its database, where to, and how many copies are kept.

use std::path::{Path, PathBuf};

use super::problems::Problems;
use super::schedule::schedule_of_cron;
use super::section::Section;

/// The folder of copies in the store.
const FOLDER: &str = "backups";

/// When and where the database is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// When, as five fields of cron in UTC (`backup.schedule`; default empty: only when asked); checked.
    pub schedule: Option<String>,
    /// How many copies are kept, the newest (`backup.keep`; default 7). 0 keeps all.
    pub keep: usize,
    /// The directory they go to (`backup.destination`; default empty: `backups` in the store).
    pub directory: PathBuf,
}

/// Reads the section; `root_directory` is that of the store.
pub(super) fn read(root: &Section<'_>, root_directory: &Path, problems: &mut Problems) -> Backup {
    let section = root.section("backup");
    let schedule = section.parse("schedule", problems, |text| {
        if text.is_empty() {
            return Ok(None);
        }
        schedule_of_cron(text).map(Some)
    });
    let keep = section.parse("keep", problems, |text| {
        let keep = text.parse();
        keep.map_err(|_| format!("{text:?} is not a number of copies; 0 keeps all"))
    });
    let destination = section.parse("destination", problems, |text| {
        let directory = PathBuf::from(text);
        if text.is_empty() || directory.is_absolute() {
            Ok(directory)
        } else {
            Err(format!(
                "{text:?} is no absolute path; empty, copies go into the store"
            ))
        }
    });
    let destination = destination.filter(|directory| !directory.as_os_str().is_empty());
    Backup {
        schedule: schedule.flatten(),
        keep: keep.unwrap_or(7),
        directory: destination.unwrap_or_else(|| root_directory.join(FOLDER)),
    }
}
