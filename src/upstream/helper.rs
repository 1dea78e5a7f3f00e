//! Asks a docker credential helper: `docker-credential-<name> get`, the registry on its standard input, JSON on its
//! standard output. Run without a shell, for ten seconds at most; what it says is never logged.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::docker_config::Found;
use super::error::Error;
use crate::config::Secret;

/// How long a helper may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 64 * 1024;
/// What every helper says when it has nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Returns the program of the helper that a docker configuration calls `name`.
///
/// # Errors
/// `Unavailable` when no helper can be called that.
pub(super) fn of_name(name: &str) -> Result<String, Error> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(failed("has a name that none has"));
    }
    Ok(format!("docker-credential-{name}"))
}

/// Returns what the helper `program` says of `server`.
///
/// # Errors
/// `Unavailable` when there is no such program, or it fails or takes too long.
pub(super) async fn ask(program: &str, server: &str) -> Result<Found, Error> {
    run(program.as_ref(), server, PATIENCE).await
}

async fn run(program: &OsStr, server: &str, patience: Duration) -> Result<Found, Error> {
    let talk = talk(program, server);
    let (success, output) = match timeout(patience, talk).await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => {
            tracing::warn!(kind = %error.kind(), "a credential helper cannot be run");
            return Err(failed("cannot be run"));
        }
        Err(_) => return Err(failed("takes too long")),
    };
    if !success {
        let said = String::from_utf8_lossy(&output);
        if said.trim() == NOT_FOUND {
            return Ok(Found::Nothing);
        }
        return Err(failed("failed"));
    }
    let answer: Result<Answer, _> = serde_json::from_slice(&output);
    let answer = answer.map_err(|_| failed("did not answer as helpers do"))?;
    Ok(Found::of_helper(
        answer.username,
        Secret::new(answer.secret),
    ))
}

/// Returns whether the program ended well, and what it printed.
async fn talk(program: &OsStr, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that knows its answer need not read the question.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(printed) = child.stdout.take() {
        printed.take(ANSWER_MAX).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn failed(how: &str) -> Error {
    Error::Unavailable {
        reason: format!("its credential helper {how}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{Error, Found, PATIENCE, Secret, of_name, run};

    fn helper(script: &str) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("room for a directory");
        let file = directory.path().join("docker-credential-test");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("the test's own file");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, executable).expect("the test's own file");
        (directory, file)
    }

    async fn said(script: &str) -> Result<Found, Error> {
        let (_directory, file) = helper(script);
        run(file.as_os_str(), "r.example:5000", PATIENCE).await
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_registry_and_its_answer_read() {
        let script = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"$server\"}""#;
        let expected = Found::Password("get".to_owned(), Secret::new("r.example:5000"));
        assert_eq!(said(script).await, Ok(expected));
        let identity = r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(said(identity).await, Ok(Found::Identity(Secret::new("t"))));
        let hasty = r#"echo '{"Username":"a","Secret":"b"}'"#;
        let expected = Found::Password("a".to_owned(), Secret::new("b"));
        assert_eq!(said(hasty).await, Ok(expected));
    }

    #[tokio::test]
    async fn a_helper_without_credentials_is_told_from_one_that_fails() {
        let none = "echo credentials not found in native keychain; exit 1";
        assert_eq!(said(none).await, Ok(Found::Nothing));
        for script in ["echo secret; exit 1", "echo '{}'", "yes"] {
            let error = said(script).await.expect_err(script);
            assert!(matches!(error, Error::Unavailable { .. }), "{script}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended() {
        let (_directory, file) = helper("exec sleep 60");
        let result = run(file.as_os_str(), "r.example", Duration::from_millis(20)).await;
        let reason = "its credential helper takes too long".to_owned();
        assert_eq!(result, Err(Error::Unavailable { reason }));
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_never_run() {
        for name in ["", "../x", "a b", "x;y", "a/b"] {
            let result = of_name(name);
            assert!(matches!(result, Err(Error::Unavailable { .. })), "{name}");
        }
        let usual = of_name("ecr-login");
        assert_eq!(usual, Ok("docker-credential-ecr-login".to_owned()));
    }
}
