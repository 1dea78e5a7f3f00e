//! What every handler works with: the registry and the few settings that shape answers.

use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use url::Url;

use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::registry::{InstanceId, Registry};
use crate::telemetry::{AccessLog, Metrics};

/// Settings that shape answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http.host`: the base of absolute URLs, instead of what the request says.
    pub host: Option<Url>,
    /// `http.prefix`: the path before `/v2/`; begins and ends with `/`.
    pub prefix: String,
    /// `http.relativeurls`: `Location` without scheme and host.
    pub relative_urls: bool,
    /// `http.headers`: added to every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `http.limits.manifestsize`, in bytes.
    pub manifest_limit: u64,
    /// `catalog.maxentries`: the most entries one may ask for.
    pub catalog_most: u64,
}

/// What all manifests being pushed may take together, in KiB: 32 MiB.
pub const MANIFEST_BUDGET_KIB: usize = 32 << 10;

/// The registry and the settings, shared by every request.
pub struct Context {
    /// The registry.
    pub registry: Arc<Registry>,
    /// Work in the background.
    pub jobs: Jobs,
    /// The settings.
    pub settings: Settings,
    /// Memory for the bodies of manifests that are being pushed, in KiB.
    pub manifest_budget: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// What this server calls itself in `Via`.
    pub instance: InstanceId,
    /// What time they come.
    pub clock: Arc<dyn Clock>,
}
