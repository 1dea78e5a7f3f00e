//! The parts that hold data, opened in their order: the state directory is owned before the database in it is touched. The
//! server starts from them, and so does every command that works where no server runs.

use std::sync::Arc;

use anyhow::Context as _;
use blobstore::filesystem::Filesystem;
use metadata::Metadata;

use crate::clock::{self, Clock, System};
use crate::config::Config;
use crate::content::{self, Backups, Content, RootOrigin, StateDirectory, StateError};
use crate::mirror::{InstanceId, Mirror};
use crate::telemetry::Metrics;

/// What holds data, owned by this process.
pub struct Opened {
    /// The blobs and their rows.
    pub content: Arc<Content>,
    /// The database.
    pub metadata: Metadata,
    /// Held until everything that writes has stopped.
    pub state: StateDirectory,
}

impl Opened {
    /// Opens what `config` names, and brings the database to this program's schema.
    ///
    /// # Errors
    /// What the operator has to mend, in one line: another process owns the state directory, the database is too new or
    /// damaged, the store cannot be used.
    pub fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let state = StateDirectory::open(&config.storage.statedirectory)?;
        if let Some(replaced) = metadata::finish_restore(&state.database())
            .context("cannot finish a restore in the data directory")?
        {
            tracing::info!(replaced = %replaced.display(), "finished a restore: the database before it is kept");
        }
        let lease = clock::micros(config.gc.lease);
        let metadata = state
            .open_database(|| {
                Metadata::open_owned(&state.database(), Arc::clone(clock) as Arc<_>, lease)
            })
            .context("cannot open the metadata database in the data directory")?;
        let store = Filesystem::open(&config.storage.rootdirectory).with_context(|| {
            let root = config.storage.rootdirectory.display();
            format!("cannot use rootdirectory {root}")
        })?;
        let content = Arc::new(Content::new(
            Arc::new(store),
            metadata.clone(),
            state.reserve(),
            content_settings(config),
            metrics.clone(),
        ));
        Ok(Self {
            content,
            metadata,
            state,
        })
    }

    /// Tells whether there is anything to open: whether a process of this program ever had the data directory that `config` names.
    pub fn is_there(config: &Config) -> bool {
        metadata::is_there(&config.storage.statedirectory.join(metadata::FILE_NAME))
    }

    /// Tells whether an error of [`Opened::open`] says that another process has the data directory.
    pub fn is_in_use(error: &anyhow::Error) -> bool {
        matches!(error.downcast_ref(), Some(StateError::InUse { .. }))
    }

    /// Builds what asks the upstreams of `config`, for a command that works where no server runs. None is contacted.
    ///
    /// # Errors
    /// What the operator has to mend, in one line.
    pub fn mirror(&self, config: &Config) -> anyhow::Result<Arc<Mirror>> {
        let clock: Arc<dyn Clock> = Arc::new(System::new());
        let mirror = Mirror::new(
            &config.mirrors,
            Arc::clone(&self.content),
            config.http.limits.manifestsize,
            Metrics::new(),
            &clock,
            &InstanceId::new(),
        );
        Ok(Arc::new(mirror.context("cannot set up the mirrors")?))
    }

    /// Writes what is still to be written and closes the database.
    pub async fn close(self) {
        self.metadata.close().await;
        drop(self.state);
    }
}

fn content_settings(config: &Config) -> content::Settings {
    let lifetime = |mirror: &crate::config::Mirror| Some((mirror.name.clone(), mirror.ttl?));
    content::Settings {
        gc: config.gc.clone(),
        root: config.storage.rootdirectory.clone(),
        origin: RootOrigin::of(&config.mirrors),
        cache: config.cache.clone(),
        lifetimes: config
            .mirrors
            .upstreams
            .iter()
            .filter_map(lifetime)
            .collect(),
        uploads: config.uploads.clone(),
        backups: Backups {
            database: config.storage.statedirectory.join(metadata::FILE_NAME),
            directory: config.backup.directory.clone(),
            keep: config.backup.keep,
        },
    }
}
