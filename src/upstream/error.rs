//! What can go wrong at an upstream, in the terms the mirror acts on.
//!
//! Reasons are fixed phrases or numbers: they reach clients, so they never hold a URL, a
//! secret or a host.

use std::error::Error as StdError;

use http::{HeaderMap, StatusCode};

use super::rate_limit::retry_after;
use super::resolver::AddressRefused;

/// Why an upstream gave no answer, or not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The upstream says that it has no such thing (404).
    #[error("not found at the upstream")]
    NotFound,
    /// The upstream refuses, also after a token was asked for.
    #[error("refused by the upstream with {status}")]
    Denied {
        /// 401 or 403.
        status: u16,
    },
    /// The upstream asks to come back later (429).
    #[error("rate limited by the upstream")]
    RateLimited {
        /// The upstream's `Retry-After` if it is valid: seconds or an HTTP date.
        retry_after: Option<String>,
    },
    /// The upstream cannot be reached or answers 408, 502, 503 or 504.
    #[error("upstream unavailable: {reason}")]
    Unavailable {
        /// What happened, without URL or host.
        reason: String,
    },
    /// The upstream is there and fails this request: a 5xx of its own (not a gateway's), or a connection that breaks.
    #[error("upstream unavailable: {reason}")]
    Failing {
        /// What happened, without URL or host.
        reason: String,
    },
    /// The upstream did not connect or answer in the mirror's time.
    #[error("upstream timed out: {reason}")]
    TimedOut {
        /// What was waited for.
        reason: String,
    },
    /// The way leads back here, or the upstream says that it goes in circles (508).
    #[error("the way to the upstream leads back here")]
    Loop,
    /// As many requests are under way as `limits.connections` allows.
    #[error("too many requests to the upstream are under way")]
    Busy {
        /// When to come again, in seconds.
        retry_after_secs: u64,
    },
    /// Nobody waits for this, and the upstream has nothing to spare for it now.
    #[error("the upstream has nothing to spare for background work")]
    NoSpare,
    /// The upstream's answer is not one that a registry may give, or leads where it must not.
    #[error("unusable answer of the upstream: {reason}")]
    Protocol {
        /// What is wrong with it, without URL or host.
        reason: String,
    },
}

impl Error {
    /// Returns whether cached content may be served stale instead of this error: the upstream
    /// told nothing about what was asked.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::NotFound | Self::Denied { .. } => false,
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Failing { .. }
            | Self::TimedOut { .. }
            | Self::Loop
            | Self::Busy { .. }
            | Self::NoSpare
            | Self::Protocol { .. } => true,
        }
    }

    /// Returns whether an answer with this meaning is no word of the upstream about what was asked.
    pub(super) fn ends_the_attempt(&self) -> bool {
        self.tries_next_endpoint() || matches!(self, Self::Loop)
    }

    /// Returns whether the mirror's next endpoint is asked after this error.
    pub(super) fn tries_next_endpoint(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Failing { .. }
            | Self::TimedOut { .. } => true,
            Self::NotFound
            | Self::Denied { .. }
            | Self::Loop
            | Self::Busy { .. }
            | Self::NoSpare
            | Self::Protocol { .. } => false,
        }
    }

    /// Returns a protocol error with this reason.
    pub(super) fn protocol(reason: impl Into<String>) -> Self {
        Self::Protocol {
            reason: reason.into(),
        }
    }

    /// Returns what an answer that is neither a success nor a redirect means, or `None` for a
    /// success.
    pub(super) fn of_status(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status.is_success() {
            return None;
        }
        Some(match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied {
                status: status.as_u16(),
            },
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited {
                retry_after: retry_after(headers),
            },
            StatusCode::LOOP_DETECTED => Self::Loop,
            StatusCode::REQUEST_TIMEOUT => Self::Unavailable {
                reason: "status 408".to_owned(),
            },
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable {
                reason: format!("status {}", status.as_u16()),
            },
            _ if status.is_server_error() => Self::Failing {
                reason: format!("status {}", status.as_u16()),
            },
            _ => Self::protocol(format!("status {}", status.as_u16())),
        })
    }

    /// Returns what a failed exchange means. `waiting_for` names the step in a timeout's reason.
    pub(super) fn of_transport(error: &reqwest::Error, waiting_for: &str) -> Self {
        let mut io_kind = None;
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(refused) = current.downcast_ref::<AddressRefused>() {
                return Self::protocol(refused.to_string());
            }
            if let Some(io) = current.downcast_ref::<std::io::Error>() {
                io_kind = Some(io.kind());
            }
            cause = current.source();
        }
        if error.is_timeout() || io_kind == Some(std::io::ErrorKind::TimedOut) {
            return Self::TimedOut {
                reason: format!("no {waiting_for} in time"),
            };
        }
        let is_there = !error.is_dns() && !error.is_connect();
        let reason = if error.is_dns() {
            "its name cannot be resolved".to_owned()
        } else if let Some(kind) = io_kind {
            // Only the kind: the text of a TLS error names hosts.
            kind.to_string()
        } else if error.is_connect() {
            "connection failed".to_owned()
        } else {
            "connection broke".to_owned()
        };
        if is_there {
            Self::Failing { reason }
        } else {
            Self::Unavailable { reason }
        }
    }
}

/// Why no client can be made for a mirror.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The mirror lists no endpoint.
    #[error("mirror {upstream} has no endpoint")]
    NoEndpoint {
        /// The mirror's name.
        upstream: String,
    },
    /// An endpoint or realm is not a URL this client can ask.
    #[error("mirror {upstream}: {what} {position} {problem}")]
    Url {
        /// The mirror's name.
        upstream: String,
        /// `endpoint` or `realm`.
        what: &'static str,
        /// Its place in the list, from 0.
        position: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The username or password cannot be sent in a header.
    #[error("mirror {upstream}: the username holds a colon or a control character")]
    Credentials {
        /// The mirror's name.
        upstream: String,
    },
    /// A file of `tls` or the proxy cannot be used.
    #[error("mirror {upstream}: {what} {problem}")]
    Tls {
        /// The mirror's name.
        upstream: String,
        /// The key in the configuration.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The HTTP client cannot be set up, for want of root certificates for instance.
    #[error("mirror {upstream}: no HTTP client")]
    Http {
        /// The mirror's name.
        upstream: String,
        /// The cause.
        source: reqwest::Error,
    },
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::RETRY_AFTER;

    use super::{Error, HeaderMap, StatusCode};

    #[test]
    fn statuses_keep_their_meaning() {
        let headers = HeaderMap::new();
        let of = |code: u16| {
            let status = StatusCode::from_u16(code).expect("valid because the test says so");
            Error::of_status(status, &headers)
        };
        assert_eq!(of(200), None);
        assert_eq!(of(206), None);
        assert_eq!(of(404), Some(Error::NotFound));
        assert_eq!(of(401), Some(Error::Denied { status: 401 }));
        assert_eq!(of(403), Some(Error::Denied { status: 403 }));
        assert_eq!(of(429), Some(Error::RateLimited { retry_after: None }));
        assert_eq!(of(508), Some(Error::Loop));
        for trouble in [408, 502, 503, 504] {
            let error = of(trouble).expect("an error because it is no success");
            assert!(matches!(error, Error::Unavailable { .. }), "{trouble}");
        }
        for failing in [500, 501, 507] {
            let error = of(failing).expect("an error because it is no success");
            assert!(matches!(error, Error::Failing { .. }), "{failing}");
        }
        for odd in [304, 400, 405, 410, 416] {
            let error = of(odd).expect("an error because it is no success");
            assert!(matches!(error, Error::Protocol { .. }), "{odd}");
        }
    }

    #[test]
    fn only_a_valid_retry_after_is_passed_on() {
        let passed = |text: &str| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(text).expect("a value because the test says so");
            headers.insert(RETRY_AFTER, value);
            match Error::of_status(StatusCode::TOO_MANY_REQUESTS, &headers) {
                Some(Error::RateLimited { retry_after }) => retry_after,
                other => panic!("no rate limit: {other:?}"),
            }
        };
        for good in ["0", "120", "2147483648", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(passed(good).as_deref(), Some(good));
        }
        assert_eq!(passed(" 7 ").as_deref(), Some("7"));
        for bad in [
            "",
            "soon",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "7, 8",
            "2147483649",
            "99999999999999999999",
            "Wed, 21 Oct 2015 07:28:00 +0000",
            "Thu, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:99:00 GMT",
            "2015-10-21T07:28:00Z",
            "<script>",
        ] {
            assert_eq!(passed(bad), None, "{bad}");
        }
        assert_eq!(passed(&"1".repeat(65)), None);
    }
}
