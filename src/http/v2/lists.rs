//! The two plain lists, tags and catalog: pages by `n` and `last`, with a relative `Link` to the next.

use hyper::StatusCode;
use hyper::header::LINK;
use oci::{Page, Route};
use serde_json::json;

use super::call::Call;
use crate::http::error::Failure;
use crate::http::respond::{self, Response};
use crate::registry::{self, CacheState, Resolved};

/// Entries in an answer to a catalog request that names no number, as in Distribution.
const CATALOG_DEFAULT: u64 = 100;

pub(super) async fn tags(call: &Call, at: &Resolved, page: &Page) -> Result<Response, Failure> {
    let found = registry::tags(&call.context.registry, &call.caller, at, page).await?;
    let body = json!({"name": at.asked.as_str(), "tags": found.tags});
    let mut response = respond::json(StatusCode::OK, "application/json", &body);
    if let Some(last) = found.next {
        let next = Route::Tags {
            name: at.asked.clone(),
            page: Page {
                n: page.n,
                last: Some(last),
            },
        };
        link(call, &mut response, &next);
    }
    let stale = found.stale.map(|reason| CacheState::Stale { reason });
    let cache = stale.or(found.mirrored.then_some(CacheState::Miss));
    respond::tell_cache(&mut response, cache.as_ref(), None, at.namespace.as_deref());
    Ok(response)
}

pub(super) async fn catalog(call: &Call, page: &Page) -> Result<Response, Failure> {
    let most = call.context.settings.catalog_most;
    let n = page.n.unwrap_or(CATALOG_DEFAULT.min(most));
    if n > most {
        return Err(Failure::PageTooLarge { asked: n, most });
    }
    let found = registry::catalog(&call.context.registry, &call.caller, page, n).await?;
    let body = json!({"repositories": found.names});
    let mut response = respond::json(StatusCode::OK, "application/json", &body);
    if let Some(last) = found.next {
        let next = Route::Catalog(Page {
            n: Some(n),
            last: Some(last),
        });
        link(call, &mut response, &next);
    }
    Ok(response)
}

/// Adds the `Link` to the next page.
pub(super) fn link(call: &Call, response: &mut Response, next: &Route) {
    let url = call.relative_url(next);
    respond::set(response, LINK, &format!("<{url}>; rel=\"next\""));
}
