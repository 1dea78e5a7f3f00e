//! The `storage` section: where bytes lie and what may happen to them.

use std::path::{Path, PathBuf};

use super::problems::Problems;
use super::section::Section;

/// Where bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The store root: blobs and uploads (`storage.filesystem.rootdirectory`).
    pub rootdirectory: PathBuf,
    /// This node's own directory: database, lock, reserve. The store root unless `--data` names another.
    pub statedirectory: PathBuf,
    /// Whether manifests, tags and blobs may be deleted (`storage.delete.enabled`).
    pub delete_enabled: bool,
    /// Whether every write is refused (`storage.maintenance.readonly.enabled`; default false).
    pub readonly: bool,
}

impl Storage {
    /// Returns where the running server's socket lies: whoever can open it is the administrator.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.statedirectory.join("seawall.sock")
    }
}

/// What applies where the section says nothing.
pub(super) struct Defaults<'d> {
    /// The store root.
    pub(super) rootdirectory: Option<&'d Path>,
    /// Whether deletes are allowed.
    pub(super) delete_enabled: bool,
    /// The state directory and, where none is set, the store root.
    pub(super) data: Option<&'d Path>,
}

/// Reads the section over `defaults`; notes it when no directory is known.
pub(super) fn read(
    root: &Section<'_>,
    defaults: &Defaults<'_>,
    problems: &mut Problems,
) -> Storage {
    let storage = root.section("storage");
    let set = storage
        .section("filesystem")
        .field("rootdirectory", problems)
        .map(|field| PathBuf::from(field.text));
    let rootdirectory = set.or_else(|| defaults.data.or(defaults.rootdirectory).map(Path::to_owned)).unwrap_or_else(|| {
        let text = "no directory for data is known, as neither HOME nor XDG_DATA_HOME is set: use --data DIR";
        problems.error_without_place(text.to_owned());
        PathBuf::new()
    });
    let delete = storage.section("delete").field("enabled", problems);
    let delete_enabled = delete.and_then(|field| field.parse(problems, super::section::switch));
    Storage {
        statedirectory: defaults
            .data
            .map_or_else(|| rootdirectory.clone(), Path::to_owned),
        rootdirectory,
        delete_enabled: delete_enabled.unwrap_or(defaults.delete_enabled),
        readonly: storage
            .section("maintenance")
            .section("readonly")
            .switch("enabled", problems),
    }
}
