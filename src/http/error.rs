//! The one table from what went wrong to a status and an OCI error code (distribution-spec, "Error
//! Codes"). No `_` arm: a new failure has to be given its answer here. Messages hold no paths, SQL or
//! hosts, and reflect less than a kilobyte.

use hyper::StatusCode;
use hyper::header::{ALLOW, CONTENT_RANGE, HeaderValue, RANGE, RETRY_AFTER};
use oci::{ErrorCode, RouteError};
use serde::Serialize;

use super::respond::{self, Response};
use crate::registry::{Error, UpstreamError};

/// When a client with too many open uploads may try again, in seconds: those it is sending to end by themselves.
const UPLOADS_RETRY_AFTER: &str = "60";

/// The longest message a client gets, in characters.
const MESSAGE: usize = 900;

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) enum Failure {
    /// The registry refused or failed.
    Registry(Error),
    /// The method and path are no route.
    Route(RouteError),
    /// The caller may not.
    Denied,
    /// The request body is encoded (`Content-Encoding`).
    ContentEncoding(String),
    /// The manifest is larger than `http.limits.manifestsize`.
    ManifestTooLarge { limit: u64 },
    /// More entries asked for than `catalog.maxentries`.
    PageTooLarge { asked: u64, most: u64 },
    /// `Content-Range` or `Content-Length` of an upload cannot be.
    BadContentRange(String),
    /// The body of a manifest could not be read.
    BodyBroken,
    /// Too many manifests are being pushed at once.
    Busy,
    /// The request was here before.
    Loop,
    /// The part asked for lies outside the blob, which has `size` bytes.
    RangeOutside { size: u64 },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Registry(error)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'a str,
    message: &'a str,
}

impl Failure {
    /// Returns the status and code of this failure.
    pub(super) fn classify(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Registry(error) => classify_registry(error),
            Self::Route(error) => classify_route(error),
            Self::Denied => (StatusCode::FORBIDDEN, ErrorCode::Denied),
            Self::ContentEncoding(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Unsupported)
            }
            Self::ManifestTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid)
            }
            Self::PageTooLarge { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::PaginationNumberInvalid)
            }
            Self::BadContentRange(_) => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            Self::Loop => (StatusCode::LOOP_DETECTED, ErrorCode::Unavailable),
            Self::RangeOutside { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
            }
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Registry(error) => error.to_string(),
            Self::Route(error) => error.to_string(),
            Self::Denied => "this needs rights that you do not have".to_owned(),
            Self::ContentEncoding(encoding) => {
                let encoding: String = encoding.chars().take(64).collect();
                format!("content encoding {encoding} of a request is not supported")
            }
            Self::ManifestTooLarge { limit } => {
                format!("manifest is larger than {limit} bytes (http.limits.manifestsize)")
            }
            Self::PageTooLarge { asked, most } => {
                format!("n={asked} is more than {most} (catalog.maxentries)")
            }
            Self::BadContentRange(reason) => reason.clone(),
            Self::BodyBroken => "request body broke off".to_owned(),
            Self::RangeOutside { size } => {
                format!("range lies outside the blob's {size} bytes")
            }
            Self::Busy => "too many manifests are being pushed at once, try again".to_owned(),
            Self::Loop => {
                "this request was here before: mirrors lead to each other in a loop".to_owned()
            }
        }
    }

    /// Returns the answer.
    pub(super) fn into_response(self) -> Response {
        let (status, code) = self.classify();
        self.log(status);
        let message: String = self.message().chars().take(MESSAGE).collect();
        let body = Body {
            errors: [Entry {
                code: code.as_str(),
                message: &message,
            }],
        };
        let mut response = respond::json(status, "application/json", &body);
        self.add_headers(&mut response);
        response
    }

    fn log(&self, status: StatusCode) {
        if let Self::Registry(Error::Unavailable { reason }) = self {
            tracing::error!(reason, "storage failed");
        } else if status == StatusCode::INSUFFICIENT_STORAGE
            || status == StatusCode::INTERNAL_SERVER_ERROR
        {
            tracing::error!(status = status.as_u16(), message = %self.message(), "request failed");
        } else if status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT {
            tracing::warn!(status = status.as_u16(), message = %self.message(), "an upstream failed a request");
        } else {
            tracing::debug!(status = status.as_u16(), message = %self.message(), "request refused");
        }
    }

    fn add_headers(&self, response: &mut Response) {
        match self {
            Self::Route(RouteError::MethodNotAllowed { allow }) => {
                respond::set(response, ALLOW, allow);
            }
            Self::Registry(Error::OffsetConflict { id, offset }) => {
                respond::set(response, RANGE, &upload_range(*offset));
                respond::set(response, respond::UPLOAD_ID, &id.to_string());
            }
            Self::Registry(Error::Upstream {
                error:
                    UpstreamError::RateLimited {
                        retry_after: Some(wait),
                    },
                ..
            }) => respond::set(response, RETRY_AFTER, wait),
            Self::Registry(Error::Upstream {
                error: UpstreamError::Busy { retry_after_secs },
                ..
            }) => respond::set(response, RETRY_AFTER, &retry_after_secs.to_string()),
            Self::Registry(Error::Unavailable { .. }) | Self::Busy => {
                let headers = response.headers_mut();
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Registry(Error::Preparing { .. }) => {
                respond::set(response, RETRY_AFTER, respond::PREPARING_SECS);
            }
            Self::Registry(Error::TooManyUploads { .. }) => {
                respond::set(response, RETRY_AFTER, UPLOADS_RETRY_AFTER);
            }
            Self::RangeOutside { size } => {
                respond::set(response, CONTENT_RANGE, &format!("bytes */{size}"));
            }
            Self::Registry(Error::UnknownBesideUpstream { warning, .. }) => {
                respond::warn(response, warning);
            }
            Self::Registry(_)
            | Self::Route(_)
            | Self::Denied
            | Self::ContentEncoding(_)
            | Self::ManifestTooLarge { .. }
            | Self::PageTooLarge { .. }
            | Self::BadContentRange(_)
            | Self::BodyBroken
            | Self::Loop => {}
        }
    }
}

/// Returns the `Range` that tells how much of an upload is here; as Distribution does, an upload
/// without bytes says `0-0` too.
pub(super) fn upload_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn classify_registry(error: &Error) -> (StatusCode, ErrorCode) {
    match error {
        Error::Preparing { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        Error::NameUnknown { .. } | Error::NamespaceUnknown { .. } => {
            (StatusCode::NOT_FOUND, ErrorCode::NameUnknown)
        }
        Error::ManifestUnknown { .. } | Error::UnknownBesideUpstream { .. } => {
            (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown)
        }
        Error::BlobUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        Error::UploadUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        Error::TooManyUploads { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        Error::OffsetConflict { .. } => {
            (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
        }
        Error::BodyBroken => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
        Error::SizeInvalid { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
        Error::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        Error::ManifestInvalid(_) | Error::ReferenceSize { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid)
        }
        Error::MissingReferences { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown)
        }
        Error::Mirrored { .. } | Error::ReadOnly | Error::DeleteDisabled => {
            (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
        }
        Error::Shadows { .. } | Error::Refused { .. } => (StatusCode::FORBIDDEN, ErrorCode::Denied),
        Error::Upstream { error, .. } => classify_upstream(error),
        Error::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable),
        Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        Error::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
    }
}

fn classify_upstream(error: &UpstreamError) -> (StatusCode, ErrorCode) {
    match error {
        UpstreamError::NotFound => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        UpstreamError::Denied { status: 401 } => {
            (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized)
        }
        UpstreamError::Denied { .. } => (StatusCode::FORBIDDEN, ErrorCode::Denied),
        UpstreamError::RateLimited { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests)
        }
        UpstreamError::Unavailable { .. }
        | UpstreamError::Failing { .. }
        | UpstreamError::Protocol { .. } => (StatusCode::BAD_GATEWAY, ErrorCode::Unavailable),
        UpstreamError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unavailable),
        UpstreamError::Loop => (StatusCode::LOOP_DETECTED, ErrorCode::Unavailable),
        UpstreamError::Busy { .. } | UpstreamError::NoSpare => {
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
        }
    }
}

fn classify_route(error: &RouteError) -> (StatusCode, ErrorCode) {
    match error {
        RouteError::NotFound => (StatusCode::NOT_FOUND, ErrorCode::Unsupported),
        RouteError::MethodNotAllowed { .. } => {
            (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
        }
        RouteError::NameInvalid { .. } => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
        RouteError::TagInvalid { .. } => (StatusCode::BAD_REQUEST, ErrorCode::TagInvalid),
        RouteError::DigestInvalid(_) | RouteError::UnsupportedAlgorithm { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid)
        }
        RouteError::UploadUnknown { .. } => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        RouteError::PageNumberInvalid { .. } => {
            (StatusCode::BAD_REQUEST, ErrorCode::PaginationNumberInvalid)
        }
        RouteError::EncodedPath { .. } => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
        RouteError::TooLong { .. } => (StatusCode::URI_TOO_LONG, ErrorCode::NameInvalid),
    }
}
