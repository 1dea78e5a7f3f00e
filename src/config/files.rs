//! The files a configuration names, looked at once at the start so that a wrong one is told before it is needed.
//! Every check returns the path alone: what a file holds may be a secret, and no message here quotes any of it.

use std::path::PathBuf;

/// Checks that a file can be read as text.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn readable_text(path: &str) -> Result<PathBuf, String> {
    text(path).map(|_| PathBuf::from(path))
}

/// Checks that a file holds something that can stand in an `Authorization` header.
///
/// # Errors
/// Returns the reason, naming the path.
pub(super) fn token(path: &str) -> Result<PathBuf, String> {
    let text = text(path)?;
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
    match serde_json::from_str::<serde_json::Value>(&text(path)?) {
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

fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// Reads a PEM file, around whose blocks anything may stand.
fn pem(path: &str) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
