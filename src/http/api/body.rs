//! Bodies of requests: JSON, bounded, and nothing in it that is not known.

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::http::server::RequestBody;

/// The largest body, in bytes.
const LIMIT: usize = 64 << 10;

/// Reads the whole body as a `T`.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    mut body: RequestBody,
) -> Result<T, Problem> {
    // A page of another site can make a browser send any other type without asking first.
    if !is_json(headers) || headers.contains_key(CONTENT_ENCODING) {
        let detail = "the body has to be application/json, not encoded";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("request body broke off"))?;
        if bytes.len() + chunk.len() > LIMIT {
            let detail = format!("the body is larger than {LIMIT} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is wrong: {error}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let name = text.and_then(|text| text.split(';').next());
    name.is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json"))
}
