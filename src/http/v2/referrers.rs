//! Referrers: an index made for the answer (distribution-spec, "Listing Referrers").

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use oci::{Digest, Page, Route, RouteError, media_type};
use serde_json::json;

use super::call::Call;
use super::lists::link;
use crate::http::error::Failure;
use crate::http::respond::{self, Response};
use crate::registry::{CacheState, ReferrersPage, Resolved, referrers};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn answer(
    call: &Call,
    at: &Resolved,
    subject: &Digest,
    artifact_type: Option<String>,
    page: &Page,
) -> Result<Response, Failure> {
    let after = match &page.last {
        Some(last) => {
            let parsed = Digest::parse(last).map_err(RouteError::DigestInvalid);
            Some(parsed.map_err(Failure::Route)?)
        }
        None => None,
    };
    let asked = ReferrersPage {
        artifact_type: artifact_type.as_deref(),
        after,
        most: page.n.and_then(|n| usize::try_from(n).ok()),
    };
    let found = referrers(&call.context.registry, &call.caller, at, subject, asked).await?;
    let body = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": found.descriptors,
    });
    let mut response = respond::json(StatusCode::OK, media_type::OCI_INDEX, &body);
    if let Some(last) = found.next {
        let next = Route::Referrers {
            name: at.asked.clone(),
            digest: *subject,
            artifact_type: artifact_type.clone(),
            page: Page {
                n: page.n,
                last: Some(last.to_string()),
            },
        };
        link(call, &mut response, &next);
    }
    if artifact_type.is_some() {
        let headers = response.headers_mut();
        headers.insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    let stale = found.stale.map(|reason| CacheState::Stale { reason });
    let cache = stale.or(found.mirrored.then_some(CacheState::Miss));
    respond::tell_cache(&mut response, cache.as_ref(), None, at.namespace.as_deref());
    Ok(response)
}
