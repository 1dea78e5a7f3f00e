//! What a request to the management API gets when it is refused or fails: RFC 9457, one shape for all.
//! Details hold no paths, SQL or hosts.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::gate::Refusal;
use crate::http::respond::{self, Response};

/// The longest detail, in characters.
const DETAIL: usize = 512;

/// A request that is answered with an error.
#[derive(Debug)]
pub(in crate::http) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    allow: Option<&'static str>,
}

/// An error as it is sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Always `about:blank`: the status says which kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: &'a str,
}

impl Problem {
    /// Returns a problem of that status; `detail` says what is wrong and what to do.
    pub(in crate::http) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            allow: None,
        }
    }

    /// Returns the answer to a path that is none.
    pub(in crate::http) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such endpoint")
    }

    /// Returns the answer to a method that the path does not have, but `allow`.
    pub(in crate::http) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            detail: format!("method is not allowed here, only {allow}").into(),
            allow: Some(allow),
        }
    }

    /// Returns the answer to a request that says something wrong.
    pub(in crate::http) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Returns the answer when storage fails; `reason` is for the log.
    pub(in crate::http) fn unavailable(reason: &str) -> Self {
        tracing::error!(reason, "storage failed");
        let detail = "storage is unavailable, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Returns the answer.
    pub(in crate::http) fn into_response(self) -> Response {
        let detail: String = self.detail.chars().take(DETAIL).collect();
        let status = self.status.as_u16();
        tracing::debug!(status, detail, "request to the management API refused");
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status,
            detail: &detail,
        };
        let mut response = respond::json(self.status, "application/problem+json", &body);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow {
            respond::set(&mut response, ALLOW, allow);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::FORBIDDEN, refusal.to_string())
    }
}
