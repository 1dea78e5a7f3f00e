//! Builds every part from the configuration once, starts them and stops them. The only place that
//! knows how the rooms fit together.

mod adoption;
pub mod backup;
mod behind;
mod listeners;
mod opened;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::header::{HeaderName, HeaderValue};
use metadata::Metadata;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

pub use self::adoption::Adoption;
use self::behind::{Behind, Starter};
use self::listeners::Listeners;
pub use self::opened::Opened;
use crate::clock::Clock;
use crate::config::Config;
use crate::content::{Content, StateDirectory};
pub use crate::content::{ImportReport, Unusable};
use crate::http::{self, Context};
use crate::jobs::{self, Jobs};
use crate::mirror::Mirror;
use crate::registry::{InstanceId, Registry, Rules};
use crate::telemetry::{AccessLog, Metrics};

/// What a start takes beside the configuration.
pub struct Options {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The socket to serve on, instead of the configured address.
    pub listener: Option<TcpListener>,
}

/// A running server.
pub struct Running {
    listeners: Listeners,
    content: Arc<Content>,
    jobs: Jobs,
    behind: Behind,
    metadata: Metadata,
    drain: Duration,
    /// Held until everything that writes has stopped.
    _state: StateDirectory,
}

/// Starts a server with `config`. No upstream is contacted.
///
/// # Errors
/// What the operator has to mend, in one line: the data directory, the address, the certificates.
pub async fn start(config: Config, options: Options) -> anyhow::Result<Running> {
    raise_open_files();
    let clock = options.clock;
    let metrics = Metrics::new();
    let Opened {
        content,
        metadata,
        state,
    } = Opened::open(&config, &clock, &metrics)?;
    if let Some(kind) = state.network_file_system() {
        tracing::warn!(
            file_system = kind,
            "the metadata database lies on a network file system, where SQLite can lose data; give --data a local directory"
        );
    }
    let left = content.note_leftovers().await?;
    if left > 0 {
        tracing::info!(uploads = left, "ending what a stop left of uploads");
    }
    content.note_last_backup().await;
    let manifest_limit = config.http.limits.manifestsize;
    let instance = InstanceId::new();
    let mirror = Mirror::new(
        &config.mirrors,
        Arc::clone(&content),
        manifest_limit,
        metrics.clone(),
        &clock,
        &instance,
    )
    .context("cannot set up the mirrors")?;
    let rules = Rules {
        delete_enabled: config.storage.delete_enabled,
        readonly: config.storage.readonly,
        validation_disabled: config.validation.disabled,
        lease: config.gc.lease,
    };
    let mirror = Arc::new(mirror);
    let jobs = Jobs::new(
        metadata.clone(),
        Arc::clone(&mirror),
        Arc::clone(&content),
        Arc::clone(&clock),
        jobs::Settings::of(&config),
    );
    let registry = Registry::new(Arc::clone(&content), mirror, rules);
    let starter = Starter {
        content: Arc::clone(&content),
        metadata: metadata.clone(),
        jobs: jobs.clone(),
        adoption: Adoption::of(&config),
        preparation: registry.preparation().clone(),
    };
    starter.look().await?;
    let context = Context {
        registry: Arc::new(registry),
        jobs: jobs.clone(),
        settings: settings(&config)?,
        manifest_budget: Arc::new(Semaphore::new(http::MANIFEST_BUDGET_KIB)),
        metrics,
        access_log: AccessLog::stdout(config.log.accesslog_disabled),
        instance,
        clock,
    };
    Ok(Running {
        listeners: Listeners::start(&config, options.listener, Arc::new(context))?,
        content,
        behind: starter.start().await,
        jobs,
        metadata,
        drain: config.http.draintimeout,
        _state: state,
    })
}

/// Lets the process open as many files as the system allows it: the usual soft limit of 1024 is for
/// programs that use select(2), and every connection and every blob being read is an open file.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

fn settings(config: &Config) -> anyhow::Result<http::Settings> {
    let mut headers = Vec::new();
    for (name, values) in &config.http.headers {
        let header = HeaderName::try_from(name.as_str())
            .with_context(|| format!("http.headers: {name:?} is no header name"))?;
        for value in values {
            let value = HeaderValue::try_from(value.as_str())
                .with_context(|| format!("http.headers.{name}: the value is no header value"))?;
            headers.push((header.clone(), value));
        }
    }
    Ok(http::Settings {
        host: config.http.host.clone(),
        prefix: config.http.prefix.clone(),
        relative_urls: config.http.relativeurls,
        headers,
        manifest_limit: config.http.limits.manifestsize,
        catalog_most: config.catalog.maxentries,
    })
}

impl Running {
    /// Returns the address the registry is served on.
    pub fn addr(&self) -> SocketAddr {
        self.listeners.addr()
    }

    /// Returns the address of the management API, if it has one of its own (`api.addr`).
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.listeners.api_addr()
    }

    /// Returns the address of the debug listener, if there is one (`http.debug.addr`).
    pub fn debug_addr(&self) -> Option<SocketAddr> {
        self.listeners.debug_addr()
    }

    /// Returns the content room, for what runs beside requests.
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// Returns the work in the background.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Puts the jobs back, stops accepting, lets running requests finish within `http.draintimeout`, and closes the
    /// database. Returns how many connections had to be cut.
    pub async fn shutdown(self) -> usize {
        let background = self.behind.stop_jobs().await;
        let cut = self.listeners.drain(self.drain).await;
        if let Some(background) = background {
            background.stop().await;
        }
        self.metadata.close().await;
        cut
    }
}
