//! Where a mirror's credentials come from, and when they are read anew: when their file changes, when a helper's
//! answer has lived its time, and once when the upstream refuses them.
//!
//! Credentials that cannot be had are told as trouble of the upstream: asking without them could be answered with a
//! 404 that is not true.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::sync::Mutex;

use super::docker_config::{Found, Server, find};
use super::error::Error;
use super::helper;
use super::origin::Origin;
use super::rate_limit::micros;
use crate::clock::Clock;
use crate::config::{self, Secret};

/// Largest file of credentials that is read, in bytes.
const FILE_MAX: u64 = 1024 * 1024;
/// How long a helper whose answer was refused twice is left alone.
const HELPER_REST: Duration = Duration::from_secs(10);

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
enum Source {
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

/// The credentials of one mirror.
pub(super) struct Logins {
    /// One for all endpoints, or one for each.
    places: Vec<Place>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

struct Place {
    source: Source,
    /// Counts how often other credentials were read than before.
    generation: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What was read; the inner `None` says that there are no credentials.
    login: Option<Option<Arc<Login>>>,
    stamp: Option<Stamp>,
    /// When a helper's answer has lived its time, in microseconds.
    until: Option<i64>,
    /// Until when a helper is not asked again because its answer was refused, in microseconds.
    rest: i64,
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Logins {
    /// Prepares the credentials that `login` tells of; nothing is read yet. Returns `None` when they cannot be sent.
    pub(super) fn new(
        login: Option<&config::Login>,
        endpoints: &[Origin],
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let each = |source: &dyn Fn(Server) -> Source| -> Vec<Source> {
            let servers = endpoints.iter().map(Server::of);
            servers.map(source).collect()
        };
        let sources = match login {
            None => vec![Source::Nowhere],
            Some(config::Login::Password(given)) => {
                let login = Login::password(&given.username, &given.password)?;
                vec![Source::Given(Arc::new(login))]
            }
            Some(config::Login::PasswordFile { username, file }) => {
                let (username, file) = (username.clone(), file.clone());
                vec![Source::PasswordFile { username, file }]
            }
            Some(config::Login::TokenFile { file }) => {
                vec![Source::TokenFile { file: file.clone() }]
            }
            Some(config::Login::DockerConfig { file }) => each(&|server| {
                let file = file.clone();
                Source::DockerConfig { file, server }
            }),
            Some(config::Login::Helper { program, lifetime }) => each(&|server| Source::Helper {
                program: program.clone(),
                server,
                lifetime: *lifetime,
            }),
        };
        let place = |source| Place {
            source,
            generation: AtomicU64::new(0),
            held: Mutex::default(),
        };
        Some(Self {
            places: sources.into_iter().map(place).collect(),
            clock,
        })
    }

    /// Returns which credentials the endpoint at `position` has: those of one number are the same.
    pub(super) fn owner(&self, position: usize) -> usize {
        if self.is_shared() { 0 } else { position }
    }

    /// Returns whether every endpoint has the same credentials.
    pub(super) fn is_shared(&self) -> bool {
        self.places.len() == 1
    }

    fn place(&self, position: usize) -> &Place {
        &self.places[self.owner(position)]
    }

    /// Returns a number that changes when other credentials are read for the endpoint at `position`.
    pub(super) fn generation(&self, position: usize) -> u64 {
        // The first ones are no change.
        let generation = &self.place(position).generation;
        generation.load(Ordering::Acquire).max(1)
    }

    /// Returns the header that goes with every request to the endpoint at `position`, challenged or not.
    ///
    /// # Errors
    /// As [`Logins::current`].
    pub(super) async fn bearer(&self, position: usize) -> Result<Option<HeaderValue>, Error> {
        match &self.place(position).source {
            Source::TokenFile { .. } | Source::DockerConfig { .. } => {}
            Source::Nowhere
            | Source::Given(_)
            | Source::PasswordFile { .. }
            | Source::Helper { .. } => return Ok(None),
        }
        let login = self.current(position).await?;
        Ok(match login.as_deref() {
            Some(Login::Bearer(header)) => Some(header.clone()),
            Some(Login::Password { .. } | Login::Identity(_)) | None => None,
        })
    }

    /// Returns the credentials of the endpoint at `position`; `None` where it has none.
    ///
    /// # Errors
    /// `Unavailable` when they never could be had.
    pub(super) async fn current(&self, position: usize) -> Result<Option<Arc<Login>>, Error> {
        let place = self.place(position);
        match &place.source {
            Source::Nowhere => return Ok(None),
            Source::Given(login) => return Ok(Some(Arc::clone(login))),
            Source::PasswordFile { .. }
            | Source::TokenFile { .. }
            | Source::DockerConfig { .. }
            | Source::Helper { .. } => {}
        }
        let mut held = place.held.lock().await;
        let now = self.clock.monotonic_micros();
        let stamp = place.source.stamp().await;
        let is_old = held.stamp != stamp || held.until.is_some_and(|until| now >= until);
        if let Some(login) = &held.login
            && !is_old
        {
            return Ok(login.clone());
        }
        match self.read(place, &mut held).await {
            Ok(()) => {}
            // A file that is being replaced is read by the next request.
            Err(error) if held.login.is_some() => {
                tracing::warn!(%error, "credentials cannot be read anew, the old ones are used");
            }
            Err(error) => return Err(error),
        }
        Ok(held.login.clone().flatten())
    }

    /// Reads the credentials of the endpoint at `position` anew because those of `generation` were refused; returns
    /// whether there are others now.
    pub(super) async fn renew(&self, position: usize, generation: u64) -> bool {
        let place = self.place(position);
        match &place.source {
            Source::Nowhere | Source::Given(_) => return false,
            Source::PasswordFile { .. }
            | Source::TokenFile { .. }
            | Source::DockerConfig { .. }
            | Source::Helper { .. } => {}
        }
        let mut held = place.held.lock().await;
        let changed = || self.generation(position) != generation;
        if changed() {
            return true;
        }
        let now = self.clock.monotonic_micros();
        if now < held.rest {
            return false;
        }
        if let Err(error) = self.read(place, &mut held).await {
            tracing::warn!(%error, "credentials that were refused cannot be read anew");
            return false;
        }
        let is_file = matches!(
            place.source,
            Source::PasswordFile { .. } | Source::TokenFile { .. }
        );
        if !changed() && !is_file {
            // Repositories that are refused for good would have it run for every request.
            held.rest = now.saturating_add(micros(HELPER_REST));
        }
        changed()
    }

    async fn read(&self, place: &Place, held: &mut Held) -> Result<(), Error> {
        // Before reading: a change during it is seen the next time.
        let stamp = place.source.stamp().await;
        let login = place.source.read().await?.map(Arc::new);
        if held.login.as_ref() != Some(&login) {
            place.generation.fetch_add(1, Ordering::AcqRel);
        }
        held.login = Some(login);
        held.stamp = stamp;
        held.rest = 0;
        let now = self.clock.monotonic_micros();
        held.until = match &place.source {
            Source::Helper { lifetime, .. } => {
                lifetime.map(|lifetime| now.saturating_add(micros(lifetime)))
            }
            Source::Nowhere
            | Source::Given(_)
            | Source::PasswordFile { .. }
            | Source::TokenFile { .. }
            | Source::DockerConfig { .. } => None,
        };
        Ok(())
    }
}

impl Source {
    /// Returns what tells whether the file has changed; `None` without a file.
    async fn stamp(&self) -> Option<Stamp> {
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

    async fn read(&self) -> Result<Option<Login>, Error> {
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
