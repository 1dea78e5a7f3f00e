//! Who may: the one gate before every handler. It authorises the parsed route, never the URL's text,
//! and it is the only caller of `Route::access`.

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};
use oci::{Action, BlobAction, ManifestAction, RepositoryName, Resource, Route, UploadAction};
use url::{Host, Url};

use super::context::Context;
use super::error::Failure;
use super::server::PeerInfo;
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
    peer: PeerInfo,
    via: &Via,
) -> Result<Admitted, Failure> {
    let caller = caller(peer);
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

/// Why a request may not manage the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A web page's browser, most likely.
    #[error(
        "on a loopback address only requests for a loopback host and from its pages are answered"
    )]
    ForeignHost,
    /// The caller may not.
    #[error(
        "this needs the administrator's rights; on the server's machine use its socket, as the seawall commands do"
    )]
    NotAdministrator,
}

/// Asks whether the sender of a request may do all of `wanted` to the server itself.
pub(super) fn admit_manager(
    peer: PeerInfo,
    headers: &HeaderMap,
    wanted: &[(Resource, Action)],
) -> Result<Caller, Refusal> {
    // A name that an attacker's DNS leads here makes the user's own browser a client of this machine.
    if let PeerInfo::Tcp { listener, .. } = peer
        && listener.is_loopback()
        && !names_loopback(headers)
    {
        return Err(Refusal::ForeignHost);
    }
    let caller = caller(peer);
    if !authorize(&caller, wanted) {
        return Err(Refusal::NotAdministrator);
    }
    Ok(caller)
}

/// Returns who sent a request.
fn caller(peer: PeerInfo) -> Caller {
    match peer {
        PeerInfo::Tcp { addr, .. } => Caller::anonymous(addr.ip()),
        PeerInfo::Socket => Caller::administrator(),
    }
}

/// Tells whether the host that a request names, and the page it comes from if it comes from one, are
/// on this machine.
fn names_loopback(headers: &HeaderMap) -> bool {
    let is_loopback = |url: &str| match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let text = |value: &hyper::header::HeaderValue| value.to_str().map(str::to_owned);
    let host = headers.get(HOST).map(text);
    let is_host_near =
        host.is_some_and(|host| host.is_ok_and(|host| is_loopback(&format!("http://{host}/"))));
    let mut origins = headers.get_all(ORIGIN).iter();
    is_host_near && origins.all(|origin| text(origin).is_ok_and(|origin| is_loopback(&origin)))
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hyper::HeaderMap;
    use oci::{Action, Resource};

    use super::{PeerInfo, Refusal, admit_manager};

    fn asked(peer: PeerInfo, host: &str, origin: Option<&str>) -> Option<Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().expect("a header value"));
        }
        admit_manager(peer, &headers, &[(Resource::Server, Action::Administer)]).err()
    }

    fn on(listener: Ipv4Addr) -> PeerInfo {
        PeerInfo::Tcp {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
            listener: listener.into(),
        }
    }

    #[test]
    fn the_socket_is_the_administrator_whatever_host_is_named() {
        assert_eq!(asked(PeerInfo::Socket, "seawall", None), None);
        assert_eq!(asked(PeerInfo::Socket, "", None), None);
    }

    #[test]
    fn a_page_of_another_site_gets_nowhere_on_loopback() {
        let near = on(Ipv4Addr::LOCALHOST);
        for host in [
            "localhost:5000",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:5000",
            "a.localhost",
        ] {
            assert_eq!(
                asked(near, host, None),
                Some(Refusal::NotAdministrator),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:5000",
            "localhost.evil.example",
            "10.0.0.1",
            "",
        ] {
            assert_eq!(
                asked(near, host, None),
                Some(Refusal::ForeignHost),
                "{host}"
            );
        }
        let from = |origin| asked(near, "localhost:5000", Some(origin));
        assert_eq!(
            from("http://localhost:8080"),
            Some(Refusal::NotAdministrator)
        );
        assert_eq!(from("https://evil.example"), Some(Refusal::ForeignHost));
        assert_eq!(from("null"), Some(Refusal::ForeignHost));
    }

    #[test]
    fn a_listener_for_the_network_takes_any_host_but_no_stranger() {
        let open = on(Ipv4Addr::UNSPECIFIED);
        let refused = asked(open, "registry.example", Some("https://registry.example"));
        assert_eq!(refused, Some(Refusal::NotAdministrator));
    }
}
