//! Copying and putting back the database for whoever types it: the files belong to that person, and no server is asked. A copy
//! is made beside a running server or without one; putting one back needs the data directory for itself.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use metadata::{Cancel, CopyError};

pub use metadata::{BackedUp, Restored};

use crate::clock::Clock;
use crate::config::Config;
use crate::content::{StateDirectory, StateError};

/// How what is replaced is named, in UTC.
const MOMENT: &str = "%Y%m%dT%H%M%SZ";

/// Writes a copy of the database that `config` leads to. Dropping what this returns breaks it off, and leaves nothing.
///
/// # Errors
/// What the operator has to mend, in one line.
pub async fn back_up(config: &Config, to: &Path) -> anyhow::Result<BackedUp> {
    let cancel = Cancel::default();
    let _stops_with_us = cancel.on_drop();
    let (database, file) = (database(config), to.to_owned());
    let made = tokio::task::spawn_blocking(move || metadata::back_up(&database, &file, &cancel));
    made.await.context("writing a backup broke off")?.map_err(|error| match error {
        CopyError::Missing => anyhow::anyhow!(
            "data directory {} holds no data of Seawall: name the right one with --data or --config",
            config.storage.statedirectory.display()
        ),
        error => anyhow::anyhow!("cannot write a backup to {}: {error}", to.display()),
    })
}

/// Puts the copy `from` in the place of the database that `config` leads to.
///
/// # Errors
/// What the operator has to mend, in one line: a running server, a file that is no copy, a full disk.
pub fn restore(config: &Config, from: &Path, clock: &dyn Clock) -> anyhow::Result<Restored> {
    match std::fs::metadata(from) {
        Ok(about) if about.is_file() => {}
        Ok(_) => bail!("{} is no file", from.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no file {}", from.display())
        }
        Err(error) => bail!("cannot read {}: {error}", from.display()),
    }
    let directory = &config.storage.statedirectory;
    let state = StateDirectory::open(directory).map_err(|error| match error {
        StateError::InUse { .. } => anyhow::anyhow!(
            "a server runs with the data directory {}: stop it, then restore",
            directory.display()
        ),
        error => error.into(),
    })?;
    let now = clock.wall_micros();
    let stamp = Timestamp::from_microsecond(now).context("the clock shows no time")?;
    let stamp = stamp.to_zoned(TimeZone::UTC).strftime(MOMENT).to_string();
    let restored = metadata::restore(from, &state.database(), now, &stamp);
    restored.map_err(|error| anyhow::anyhow!("cannot restore {}: {error}", from.display()))
}

fn database(config: &Config) -> PathBuf {
    config.storage.statedirectory.join(metadata::FILE_NAME)
}
