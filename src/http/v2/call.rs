//! An admitted request, as the handlers of every noun get it: who asks, with which headers, and how the
//! URLs in the answer begin.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use oci::Route;

use crate::auth::Caller;
use crate::http::base_url::base_url;
use crate::http::context::Context;

/// An admitted request, as handlers get it.
pub(super) struct Call {
    /// The registry and the settings.
    pub context: Arc<Context>,
    /// Who asks.
    pub caller: Caller,
    /// The request's headers.
    pub headers: HeaderMap,
    /// Where the request came from; `None` for the local socket.
    pub peer: Option<IpAddr>,
}

impl Call {
    /// Returns the URL of `route` as clients see it.
    pub(super) fn url(&self, route: &Route) -> String {
        let base = base_url(&self.context.settings, &self.headers, self.peer);
        self.with_prefix(&base, route)
    }

    /// Returns the URL of `route` without scheme and host, for `Link`.
    pub(super) fn relative_url(&self, route: &Route) -> String {
        self.with_prefix("", route)
    }

    fn with_prefix(&self, base: &str, route: &Route) -> String {
        let prefix = self.context.settings.prefix.trim_end_matches('/');
        format!("{base}{prefix}{}", route.path_and_query())
    }

    /// Returns a header's text, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
