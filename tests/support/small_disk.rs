//! A server on a disk of its own that is small enough to be filled.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::binary::Served;
use super::client::Client;

/// The room on the disk, as mount(8) takes it.
const SIZE: &str = "24m";

/// A `seawall serve` whose data lies on a disk of 24 MiB.
pub(crate) struct SmallDisk {
    served: Served,
    disk: PathBuf,
}

impl SmallDisk {
    /// Starts one with `settings` (YAML, top level) beside the usual ones; `None` where this user may
    /// not mount a disk, which is a failure for root and where `CI` is set.
    pub(crate) async fn start(home: &Path, settings: &str) -> Option<Self> {
        Self::start_with(home, settings, "").await
    }

    /// The same, with further keys of `storage` (YAML, one line).
    pub(crate) async fn start_with(home: &Path, settings: &str, storage: &str) -> Option<Self> {
        let disk = home.join("disk");
        fs::create_dir(&disk).expect("the test's own directory can be written");
        let Some(mut command) = command(home, &disk).await else {
            // A story that silently is not told would be no promise kept.
            let is_root = rustix::process::geteuid().is_root();
            let has_to = is_root || std::env::var_os("CI").is_some();
            assert!(!has_to, "a small disk cannot be mounted here");
            eprintln!("not run: this user may not mount a small disk");
            return None;
        };
        let config = home.join("config.yml");
        let comma = if storage.is_empty() { "" } else { ", " };
        let text = format!(
            "version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}{comma}{storage}}}\n{settings}\n",
            disk.join("root").display()
        );
        fs::write(&config, text).expect("the test's own directory can be written");
        let served = Served::start(command.arg("serve").arg(&config)).await;
        Some(Self { served, disk })
    }

    pub(crate) fn client(&self) -> Client {
        self.served.client()
    }

    /// Returns a client of the server's socket: the administrator.
    pub(crate) fn socket(&self) -> Client {
        let root = self.served.seen_by_server(&self.disk).join("root");
        Client::of_socket(&root.join("seawall.sock"))
    }

    /// Takes every byte that is free.
    pub(crate) fn fill(&self) {
        let filler = self.served.seen_by_server(&self.disk).join("filler");
        let mut filler = File::create(filler).expect("the disk can be written");
        for piece in [64 * 1024, 4096, 1] {
            let bytes = vec![b'f'; piece];
            let full = loop {
                if let Err(error) = filler.write_all(&bytes) {
                    break error;
                }
            };
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        }
    }

    /// Gives back what [`Self::fill`] took.
    pub(crate) fn make_room(&self) {
        let filler = self.served.seen_by_server(&self.disk).join("filler");
        fs::remove_file(filler).expect("the disk was filled");
    }

    /// Returns everything the server has printed.
    pub(crate) fn screen(&self) -> String {
        self.served.screen()
    }

    /// Returns where this process finds a file of the disk.
    pub(crate) fn seen(&self, name: &str) -> PathBuf {
        self.served.seen_by_server(&self.disk).join(name)
    }

    /// Returns the bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.served.seen_by_server(&self.disk));
        let disk = disk.expect("the disk is there");
        disk.f_bavail * disk.f_frsize
    }

    /// Returns the bytes that lie in open uploads.
    pub(crate) fn upload_bytes(&self) -> u64 {
        let root = self.served.seen_by_server(&self.disk).join("root");
        upload_sizes(&root).iter().sum()
    }
}

/// Returns the size in bytes of every file of an open upload of the data at `root`.
pub(crate) fn upload_sizes(root: &Path) -> Vec<u64> {
    let uploads = fs::read_dir(root.join("uploads")).expect("a store has a directory of uploads");
    uploads
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|file| file.len())
        .collect()
}

/// Returns the program in a mount namespace where `directory` is a small disk; `None` where this user
/// may not make one.
async fn command(home: &Path, directory: &Path) -> Option<Command> {
    let script = format!("mount -t tmpfs -o size={SIZE} tmpfs \"$0\" && exec \"$@\"");
    let prepare = |program: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(directory)
            .arg(program)
            .env("HOME", home)
            .current_dir(home)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    };
    let tried = prepare("true").output().await;
    tried
        .is_ok_and(|output| output.status.success())
        .then(|| prepare(env!("CARGO_BIN_EXE_seawall")))
}
