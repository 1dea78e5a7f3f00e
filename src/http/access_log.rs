//! One line per request on standard output, in Apache's combined form as Distribution writes it. Holds
//! nothing secret: no authorization, no request bodies.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{REFERER, USER_AGENT};
use hyper::http::request::Parts;

use crate::telemetry::AccessLine;

/// What of a request is logged once its answer is known.
pub(super) struct Pending {
    remote: IpAddr,
    method: String,
    uri: String,
    referer: Option<String>,
    user_agent: Option<String>,
}

impl Pending {
    /// Returns what is to be logged of `request`.
    pub(super) fn of(request: &Parts, remote: IpAddr) -> Self {
        Self {
            remote,
            method: request.method.to_string(),
            uri: request.uri.to_string().chars().take(1024).collect(),
            referer: text(&request.headers, REFERER.as_str()),
            user_agent: text(&request.headers, USER_AGENT.as_str()),
        }
    }

    /// Writes the line.
    pub(super) fn write(self, status: u16, bytes: Option<u64>) {
        AccessLine {
            remote: self.remote,
            user: None,
            method: &self.method,
            uri: &self.uri,
            status,
            bytes,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
        }
        .write();
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(
        headers
            .get(name)?
            .to_str()
            .ok()?
            .chars()
            .take(512)
            .collect(),
    )
}
