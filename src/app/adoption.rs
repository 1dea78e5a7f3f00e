//! Adopting the root of a Distribution registry as the configuration says: where it lies, and whose content it is.

use std::path::PathBuf;

use metadata::Metadata;

use crate::config::Config;
use crate::content::{self, Error, ImportReport, ImportRequest, RootOrigin};

/// Manifests that Distribution takes at most, whatever the configuration says of those that are pushed from now on.
const MANIFEST_MAX: u64 = 4 << 20;

/// Where Distribution's proxy keeps what it knows about ages, below the root.
const PROXY_STATE: &str = "scheduler-state.json";

/// A root, and how to adopt it.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The root: `rootdirectory`.
    pub root: PathBuf,
    origin: RootOrigin,
    manifest_limit: u64,
}

impl Adoption {
    /// Returns the root that `config` names.
    pub fn of(config: &Config) -> Self {
        Self {
            root: config.storage.rootdirectory.clone(),
            origin: RootOrigin::of(&config.mirrors),
            manifest_limit: config.http.limits.manifestsize.max(MANIFEST_MAX),
        }
    }

    /// Imports the root into `metadata`, which this process alone may be using; `told` gets how far it is.
    ///
    /// # Errors
    /// Storage errors; what may not be read is told with its path.
    pub async fn import(
        &self,
        metadata: &Metadata,
        force: bool,
        told: &mut (dyn FnMut(&ImportReport) + Send),
    ) -> Result<ImportReport, Error> {
        content::import(&self.root, metadata, &self.request(force), told).await
    }

    /// Finds what an import would find, without writing anything; `metadata` tells what is known already, nothing without it.
    ///
    /// # Errors
    /// As [`Adoption::import`].
    pub async fn dry_run(
        &self,
        metadata: Option<&Metadata>,
        force: bool,
        told: &mut (dyn FnMut(&ImportReport) + Send),
    ) -> Result<ImportReport, Error> {
        content::dry_run(&self.root, metadata, &self.request(force), told).await
    }

    /// Returns what the operator should be told about the root beside what cannot be used.
    pub fn warning(&self) -> Option<String> {
        let was_proxy = self.root.join(PROXY_STATE).exists();
        (was_proxy && matches!(self.origin, RootOrigin::Registry { .. })).then(|| {
            format!(
                "{PROXY_STATE} in the root is of a Distribution proxy, but the configuration has no proxy.remoteurl: its images were taken as pushed ones, which are never asked for at their upstream again"
            )
        })
    }

    fn request(&self, force: bool) -> ImportRequest {
        ImportRequest {
            origin: self.origin.clone(),
            force,
            manifest_limit: self.manifest_limit,
        }
    }
}
