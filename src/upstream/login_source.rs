//! One place that credentials come from: the configuration, a file, a program; and the forms they are sent in.
//!
//! Nothing here is remembered and nothing is shown.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::docker_config::{Found, Server, find};
use super::error::Error;
use super::helper;
use crate::config::{DOCKER_CONFIG_MAX, PASSWORD_FILE_MAX, Secret, Unreadable, read_text};

/// Credentials in the forms they are sent in.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// A user name with a password, as a header and as token servers are told.
    Password {
        username: String,
        basic: HeaderValue,
    },
    /// An identity token for the token server.
    Identity(Secret),
    /// A header for the endpoint itself and nobody else.
    Bearer(HeaderValue),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

impl Login {
    /// Returns a user name with its password; `None` when they cannot be sent: a colon in the user name (RFC 7617),
    /// or a control character.
    pub(super) fn password(username: &str, password: &Secret) -> Option<Self> {
        let password = password.reveal();
        let has_control = [username, password]
            .iter()
            .any(|text| text.chars().any(char::is_control));
        if username.contains(':') || has_control {
            return None;
        }
        let pair = STANDARD.encode(format!("{username}:{password}"));
        let mut basic = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
        basic.set_sensitive(true);
        Some(Self::Password {
            username: username.to_owned(),
            basic,
        })
    }

    fn bearer(token: &Secret) -> Option<Self> {
        let token = token.reveal();
        if token.is_empty() {
            return None;
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        Some(Self::Bearer(header))
    }

    /// Returns what was found; `Err` when it cannot be sent.
    fn of(found: &Found) -> Result<Option<Self>, Error> {
        let login = match found {
            Found::Nothing => return Ok(None),
            Found::Password(username, password) => Self::password(username, password),
            Found::Identity(token) => Some(Self::Identity(token.clone())),
            Found::Bearer(token) => Self::bearer(token),
        };
        login.map(Some).ok_or_else(|| unusable("cannot be sent"))
    }
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Nowhere,
    Given(Arc<Login>),
    PasswordFile {
        username: String,
        file: PathBuf,
    },
    TokenFile {
        file: PathBuf,
    },
    DockerConfig {
        file: PathBuf,
        server: Server,
    },
    Helper {
        program: String,
        server: Server,
        lifetime: Option<Duration>,
    },
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Source {
    /// Returns what tells whether the file has changed; `None` without a file.
    pub(super) async fn stamp(&self) -> Option<Stamp> {
        let file = match self {
            Self::PasswordFile { file, .. }
            | Self::TokenFile { file }
            | Self::DockerConfig { file, .. } => file.clone(),
            Self::Nowhere | Self::Given(_) | Self::Helper { .. } => return None,
        };
        let looked = tokio::task::spawn_blocking(move || std::fs::metadata(file)).await;
        let found = looked.ok()?.ok()?;
        Some(Stamp {
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }

    /// Reads the credentials; `None` where there are none.
    ///
    /// # Errors
    /// `Unavailable` when they cannot be had.
    pub(super) async fn read(&self) -> Result<Option<Login>, Error> {
        let unsendable = || unusable("cannot be sent");
        match self {
            Self::Nowhere => Ok(None),
            Self::Given(login) => Ok(Some((**login).clone())),
            Self::PasswordFile { username, file } => {
                let text = read("passwordfile", file, PASSWORD_FILE_MAX).await?;
                let password = Secret::new(text.trim_end_matches(['\r', '\n']));
                let login = Login::password(username, &password);
                login.map(Some).ok_or_else(unsendable)
            }
            Self::TokenFile { file } => {
                let text = read("tokenfile", file, PASSWORD_FILE_MAX).await?;
                let token = Secret::new(text.trim());
                Login::bearer(&token).map(Some).ok_or_else(unsendable)
            }
            Self::DockerConfig { file, server } => {
                let text = read("dockerconfig", file, DOCKER_CONFIG_MAX).await?;
                let entry = find(text.as_bytes(), server)
                    .ok_or_else(|| unusable("are in no docker configuration that can be read"))?;
                let mut found = entry.found;
                if let Some(name) = entry.helper {
                    let program = helper::of_name(&name)?;
                    let known = helper::ask(&program, &server.name()).await?;
                    if known != Found::Nothing {
                        found = known;
                    }
                }
                Login::of(&found)
            }
            Self::Helper {
                program, server, ..
            } => Login::of(&helper::ask(program, &server.name()).await?),
        }
    }
}

/// Returns the text of the file that `key` names.
async fn read(key: &str, file: &Path, limit: u64) -> Result<String, Error> {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_text(&file, limit));
    match reading.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(why @ (Unreadable::NoFile | Unreadable::TooLarge { .. }))) => {
            Err(unusable(&format!("cannot be read: {key} {why}")))
        }
        Ok(Err(Unreadable::Io(_))) | Err(_) => Err(unusable("cannot be read")),
    }
}

fn unusable(how: &str) -> Error {
    Error::Unavailable {
        reason: format!("its credentials {how}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{DOCKER_CONFIG_MAX, Error, PASSWORD_FILE_MAX, Server, Source};
    use crate::upstream::origin::Origin;

    async fn refused(source: Source) -> String {
        match source.read().await {
            Err(Error::Unavailable { reason }) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_file_that_has_grown_too_large_is_refused_by_key_and_limit() {
        let directory = tempfile::tempdir().expect("a directory because there is a disk");
        let of = |bytes: u64| {
            let path = directory.path().join(bytes.to_string());
            let file = std::fs::File::create(&path).expect("a file because the directory is new");
            file.set_len(bytes).expect("a length because it is sparse");
            path
        };
        let password = |file: PathBuf| Source::PasswordFile {
            username: "u".to_owned(),
            file,
        };
        let large = of(PASSWORD_FILE_MAX + 1);
        assert_eq!(
            refused(password(large.clone())).await,
            "its credentials cannot be read: passwordfile holds more than 64 KiB"
        );
        assert_eq!(
            refused(Source::TokenFile { file: large }).await,
            "its credentials cannot be read: tokenfile holds more than 64 KiB"
        );
        assert_eq!(
            refused(password("/dev/zero".into())).await,
            "its credentials cannot be read: passwordfile is neither a file nor a pipe"
        );
        let url = url::Url::parse("https://r.example").expect("a URL because the test says so");
        let origin = Origin::of(&url).expect("an origin because the URL has a host");
        let docker = Source::DockerConfig {
            file: of(DOCKER_CONFIG_MAX + 1),
            server: Server::of(&origin),
        };
        assert_eq!(
            refused(docker).await,
            "its credentials cannot be read: dockerconfig holds more than 1024 KiB"
        );
    }
}
