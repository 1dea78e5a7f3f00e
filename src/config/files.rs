//! The files a configuration names, looked at once at the start so that a wrong one is told before it is needed.
//! Every check returns the path alone: what a file holds may be a secret, and no message here quotes any of it.

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Largest file with a password or a token, in bytes.
pub const PASSWORD_FILE_MAX: u64 = 64 << 10;
/// Largest docker `config.json`, in bytes.
pub const DOCKER_CONFIG_MAX: u64 = 1 << 20;

/// Why a file was not read. Holds no path and nothing of the file.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is a device, a directory or a socket.
    #[error("is neither a file nor a pipe")]
    NoFile,
    /// It holds more than it may.
    #[error("holds more than {} KiB", .limit >> 10)]
    TooLarge {
        /// What it may hold, in bytes.
        limit: u64,
    },
    /// The system did not let it be read, or it is no UTF-8.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Returns the text of a file or pipe of at most `limit` bytes. Blocks.
///
/// # Errors
/// [`Unreadable`] for anything else and for more; no more than `limit` bytes and one are read.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Unreadable> {
    // Before it is opened: to open a device may do something already.
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path)?;
    opened.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable::TooLarge { limit });
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8").into())
}

/// Checks that a file can be read as a password.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn password(path: &str) -> Result<PathBuf, String> {
    text(path, PASSWORD_FILE_MAX).map(|_| PathBuf::from(path))
}

/// Checks that a file holds something that can stand in an `Authorization` header.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn token(path: &str) -> Result<PathBuf, String> {
    let text = text(path, PASSWORD_FILE_MAX)?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        return Err(format!("{path} holds no token"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{path} holds characters that no bearer token can have"
        ));
    }
    Ok(PathBuf::from(path))
}

/// Checks that a file is a docker `config.json`.
///
/// # Errors
/// Returns the reason, naming the path and, for broken JSON, its line.
pub(super) fn docker_config(path: &str) -> Result<PathBuf, String> {
    match serde_json::from_str::<serde_json::Value>(&text(path, DOCKER_CONFIG_MAX)?) {
        Ok(value) if value.is_object() => Ok(PathBuf::from(path)),
        Ok(_) => Err(format!("{path} is not a JSON object")),
        Err(error) => Err(format!("{path} is not JSON: see its line {}", error.line())),
    }
}

/// Checks that a file holds PEM certificates.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn certificates(path: &str) -> Result<PathBuf, String> {
    if pem(path)?.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(PathBuf::from(path));
    }
    Err(format!("{path} holds no certificate in PEM form"))
}

/// Checks that a file holds a PEM private key without a passphrase.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn private_key(path: &str) -> Result<PathBuf, String> {
    let text = pem(path)?;
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(format!(
            "{path} holds a key with a passphrase, which nobody could enter"
        ));
    }
    if text.contains("PRIVATE KEY-----") {
        return Ok(PathBuf::from(path));
    }
    Err(format!("{path} holds no private key in PEM form"))
}

fn text(path: &str, limit: u64) -> Result<String, String> {
    read_text(Path::new(path), limit).map_err(|unreadable| match unreadable {
        Unreadable::Io(error) => format!("cannot read {path}: {error}"),
        Unreadable::NoFile | Unreadable::TooLarge { .. } => format!("{path} {unreadable}"),
    })
}

/// Reads a PEM file, around whose blocks anything may stand.
fn pem(path: &str) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
