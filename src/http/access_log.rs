//! What the access log tells of a request: kept while it is answered, written once the answer is known.
//! Holds nothing secret: no authorization, no bodies.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, REFERER, USER_AGENT};
use hyper::http::request::Parts;

use super::respond::Response;
use crate::clock::Clock;
use crate::telemetry::{AccessLine, AccessLog};

/// The longest target and header that is logged, in characters.
const LONGEST: usize = 1024;

/// What of a request is logged.
pub(super) struct Pending {
    remote: Option<IpAddr>,
    arrived_micros: i64,
    method: String,
    target: String,
    protocol: String,
    referer: Option<String>,
    user_agent: Option<String>,
}

impl Pending {
    /// Returns what is to be logged of `request`.
    pub(super) fn of(request: &Parts, remote: Option<IpAddr>, clock: &dyn Clock) -> Self {
        Self {
            remote,
            arrived_micros: clock.wall_micros(),
            method: request.method.to_string(),
            target: request.uri.to_string().chars().take(LONGEST).collect(),
            protocol: format!("{:?}", request.version),
            referer: text(&request.headers, REFERER.as_str()),
            user_agent: text(&request.headers, USER_AGENT.as_str()),
        }
    }

    /// Writes the line for `response`, whose announced length stands for what is sent.
    pub(super) fn write(self, log: &AccessLog, response: &Response) {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        log.write(&AccessLine {
            remote: self.remote,
            user: None,
            arrived_micros: self.arrived_micros,
            method: &self.method,
            target: &self.target,
            protocol: &self.protocol,
            status: response.status().as_u16(),
            bytes: length.unwrap_or_default(),
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
        });
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.chars().take(LONGEST).collect())
}
