//! The socket in the state directory: its mode, what it replaces, and paths that are too long.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::http::server::LocalSocket;
use crate::http::server::socket::WORKSHOP;

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seawall.sock");
    let socket = LocalSocket::bind(&path).unwrap();
    let about = fs::metadata(&path).unwrap();
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    UnixStream::connect(&path).unwrap();
    let beside: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seawall.sock");
    drop(UnixListener::bind(&path).unwrap());
    fs::create_dir(directory.path().join(WORKSHOP)).unwrap();
    let refused = UnixStream::connect(&path).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let _socket = LocalSocket::bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_too_long_for_an_address_works_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("seawall.sock");
    let _socket = LocalSocket::bind(&path).unwrap();
    let open = fs::File::open(&deep).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
    UnixStream::connect(format!("/proc/self/fd/{fd}/seawall.sock")).unwrap();
}
