//! The Unix socket in the state directory. Who can open it is the administrator, so it must never, not
//! even for a moment, be open to anybody but the owner of the process.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The longest path that an address of a Unix socket holds on Linux, in bytes.
const LONGEST_PATH: usize = 107;

/// Where the socket is made before it is moved to its place. Only the owner can look into it.
pub(super) const WORKSHOP: &str = ".seawall.sock.new";

/// A socket that listens; its file goes when this is dropped.
#[derive(Debug)]
pub struct LocalSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The name of a listening socket, removed on drop.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The next start replaces what cannot be removed.
        let _ = fs::remove_file(&self.0);
    }
}

impl LocalSocket {
    /// Listens at `path`, mode 0600; what a killed process left there is replaced. The caller owns the
    /// directory: no other process may be listening.
    ///
    /// # Errors
    /// What the system said; a file system without sockets, for one.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "a socket needs a file name");
        let directory = path.parent().ok_or_else(missing)?;
        let name = path.file_name().ok_or_else(missing)?;
        let workshop = directory.join(WORKSHOP);
        match fs::remove_dir_all(&workshop) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A socket gets its mode from the umask, which belongs to the whole process; so it is made
        // where nobody else can reach it.
        DirBuilder::new().mode(0o700).create(&workshop)?;
        let made = workshop.join(name);
        let bound = bind(&workshop, &made).and_then(|listener| {
            fs::set_permissions(&made, Permissions::from_mode(0o600))?;
            fs::rename(&made, path)?;
            Ok(listener)
        });
        let _ = fs::remove_dir_all(&workshop);
        let listener = bound?;
        Ok(Self {
            listener,
            file: SocketFile(path.to_owned()),
        })
    }
}

/// Binds to `path` in `directory`, by way of an open descriptor where the path is too long for an
/// address.
fn bind(directory: &Path, path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return UnixListener::bind(path);
    }
    let open = File::open(directory)?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(open.as_raw_fd().to_string());
    UnixListener::bind(short.join(name))
}
