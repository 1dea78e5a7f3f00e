//! Where a mirror's credentials come from, and when they are read anew: when their file changes, when a helper's
//! answer has lived its time, and once when the upstream refuses them.
//!
//! Credentials that cannot be had are told as trouble of the upstream: asking without them could be answered with a
//! 404 that is not true.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;

use super::docker_config::Server;
use super::error::Error;
use super::login_source::{Login, Source, Stamp};
use super::origin::Origin;
use crate::clock::Clock;
use crate::clock::micros;
use crate::config;

/// How long a helper whose answer was refused twice is left alone.
const HELPER_REST: Duration = Duration::from_secs(10);

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
