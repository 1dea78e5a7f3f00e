//! One place that credentials come from: the configuration, a file, a program; and the forms they are sent in.
//!
//! Nothing here is remembered and nothing is shown.

use std::fmt;
use std::io::Read;
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
use crate::config::Secret;

/// Largest file of credentials that is read, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

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
                let text = read_text(file).await?;
                let password = Secret::new(text.trim_end_matches(['\r', '\n']));
                let login = Login::password(username, &password);
                login.map(Some).ok_or_else(unsendable)
            }
            Self::TokenFile { file } => {
                let token = Secret::new(read_text(file).await?.trim());
                Login::bearer(&token).map(Some).ok_or_else(unsendable)
            }
            Self::DockerConfig { file, server } => {
                let text = read_text(file).await?;
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

async fn read_text(file: &Path) -> Result<String, Error> {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let opened = std::fs::File::open(file)?;
        opened.take(FILE_MAX).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    });
    match reading.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) | Err(_) => Err(unusable("cannot be read")),
    }
}

fn unusable(how: &str) -> Error {
    Error::Unavailable {
        reason: format!("its credentials {how}"),
    }
}
