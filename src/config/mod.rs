//! What the operator wants: Distribution's `config.yml` and `REGISTRY_*` variables, extended by Seawall's own keys.
//! The only room that reads configuration files or the environment. It knows no other room and must never print a
//! secret or a line of a file.

mod api;
mod backup;
mod cache;
mod catalog;
mod catalogue;
mod duration;
mod environment;
mod files;
mod gc;
mod http;
mod known_keys;
mod kubernetes;
mod load;
mod log;
mod login;
mod mirror_settings;
mod mirrors;
mod patterns;
mod platform;
mod problems;
mod proxy;
mod schedule;
mod schema;
mod scrub;
mod secret;
mod section;
mod size;
mod storage;
#[cfg(test)]
mod tests;
mod tree;
mod uploads;
mod url;
mod validation;
mod variables;
mod warm;
mod yaml;

pub use api::{Api, Debug};
pub use backup::Backup;
pub use cache::{Cache, Space};
pub use catalog::Catalog;
pub use duration::{duration_text, parse_duration};
pub use environment::Environment;
pub use files::{DOCKER_CONFIG_MAX, PASSWORD_FILE_MAX, Unreadable, read_text};
pub use gc::Gc;
pub use http::{Http, Limits};
pub use load::{Loaded, Sources, load};
pub use log::{Formatter, Level, Log};
pub use login::{Credentials, Login};
pub use mirror_settings::{Freshness, MirrorLimits, Prefetch, Timeouts, Tls};
pub use mirrors::{Mirror, Mirrors};
pub use platform::{Platform, parse_platform};
pub use problems::Error;
pub use scrub::Scrub;
pub use secret::Secret;
pub use storage::Storage;
pub use uploads::{UploadPurging, Uploads};
pub use validation::Validation;
pub use warm::{Warm, WarmImage, WarmReference};

/// Every effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is logged, and in which form.
    pub log: Log,
    /// How the server is reached.
    pub http: Http,
    /// Where bytes lie.
    pub storage: Storage,
    /// The registries that are mirrored.
    pub mirrors: Mirrors,
    /// What bounds mirrored content.
    pub cache: Cache,
    /// What is fetched on a schedule.
    pub warm: Vec<Warm>,
    /// The management API.
    pub api: Api,
    /// The debug listener.
    pub debug: Debug,
    /// How the list of repositories is served.
    pub catalog: Catalog,
    /// What bounds open uploads.
    pub uploads: Uploads,
    /// What is checked of a pushed manifest.
    pub validation: Validation,
    /// What protects content from the collector.
    pub gc: Gc,
    /// How stored blobs are hashed again.
    pub scrub: Scrub,
    /// When and where the database is copied.
    pub backup: Backup,
    /// What the operator should be told, one line each: place, key, what is odd.
    pub warnings: Vec<String>,
}
