//! Who may: the one gate before every handler. It authorises the parsed route, never the URL's text,
//! and it is the only caller of `Route::access`.

use std::net::IpAddr;

use oci::{BlobAction, ManifestAction, RepositoryName, Route, UploadAction};

use super::context::Context;
use super::error::Failure;
use crate::auth::{Caller, authorize};
use crate::registry::{Intent, Resolved, Via, resolve};

/// A request that may go on.
pub(super) struct Admitted {
    /// Who asks.
    pub caller: Caller,
    /// The repository, for routes that have one.
    pub at: Option<Resolved>,
    /// The repository to mount from, for mounts that name one.
    pub mount_from: Option<Resolved>,
}

/// Resolves the names in `route`, asked for along `via`, then asks whether the caller may do all that it needs.
pub(super) async fn admit(
    context: &Context,
    route: &Route,
    namespace: Option<&str>,
    peer: IpAddr,
    via: &Via,
) -> Result<Admitted, Failure> {
    let caller = Caller::anonymous(peer);
    let registry = &context.registry;
    let at = match route.repository() {
        Some(name) => Some(resolve(registry, name, namespace, intent(route), via).await?),
        None => None,
    };
    if !authorize(&caller, &route.access()) {
        return Err(Failure::Denied);
    }
    let mount_from = match mount_source(route) {
        // A source that cannot be resolved is a miss like any other.
        Some(name) => resolve(registry, name, None, Intent::Read, via).await.ok(),
        None => None,
    };
    Ok(Admitted {
        caller,
        at,
        mount_from,
    })
}

fn mount_source(route: &Route) -> Option<&RepositoryName> {
    match route {
        Route::UploadStart { start, .. } => start.mount.as_ref()?.from.as_ref(),
        Route::Base
        | Route::Catalog(_)
        | Route::Tags { .. }
        | Route::Manifest { .. }
        | Route::Blob { .. }
        | Route::Upload { .. }
        | Route::Referrers { .. } => None,
    }
}

fn intent(route: &Route) -> Intent {
    match route {
        Route::Base | Route::Catalog(_) | Route::Tags { .. } | Route::Referrers { .. } => {
            Intent::Read
        }
        Route::Manifest { action, .. } => match action {
            ManifestAction::Get | ManifestAction::Head => Intent::Read,
            ManifestAction::Put { .. } | ManifestAction::Delete => Intent::Write,
        },
        Route::Blob { action, .. } => match action {
            BlobAction::Get | BlobAction::Head => Intent::Read,
            BlobAction::Delete => Intent::Write,
        },
        Route::UploadStart { .. } => Intent::Write,
        Route::Upload { action, .. } => match action {
            // An upload belongs to the local name, also where pulls of it go upstream.
            UploadAction::Status { .. }
            | UploadAction::Append
            | UploadAction::Finish { .. }
            | UploadAction::Cancel => Intent::Write,
        },
    }
}
