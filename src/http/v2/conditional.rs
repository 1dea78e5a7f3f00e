//! `ETag` and `If-None-Match` (RFC 9110 section 13.1.2). A digest names its content for ever, so it is
//! the tag, and equal tags mean equal bytes.

use hyper::HeaderMap;
use hyper::header::{ETAG, IF_NONE_MATCH};
use oci::Digest;

use crate::http::respond::{self, Response};

/// Tells whether the client has the content of `digest` already.
pub(super) fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let digest = digest.to_string();
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == digest)
}

/// Sets the `ETag` of `digest`.
pub(super) fn set_etag(response: &mut Response, digest: &Digest) {
    respond::set(response, ETAG, &format!("\"{digest}\""));
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{HeaderValue, IF_NONE_MATCH};
    use oci::{Algorithm, Digest};

    use super::is_known;

    fn known(value: &str) -> bool {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let value = value.replace("DIGEST", &digest.to_string());
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&value).expect("a header value");
        headers.insert(IF_NONE_MATCH, value);
        is_known(&headers, &digest)
    }

    #[test]
    fn every_form_of_the_tag_is_understood() {
        for value in [
            "\"DIGEST\"",
            "DIGEST",
            "W/\"DIGEST\"",
            "*",
            "\"other\", \"DIGEST\"",
        ] {
            assert!(known(value), "{value}");
        }
        assert!(!known("\"other\""));
        assert!(!known("\"\""));
    }
}
