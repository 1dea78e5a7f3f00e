//! From request to handler: parse once, pass the gate, call. What the gate refuses learns nothing else, not
//! even whether the path exists.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::request::Parts;

use super::problem::Problem;
use super::route::Route;
use super::{backup, gc, integrity, jobs, links, mirrors, openapi, tags};
use crate::auth::Caller;
use crate::http::context::Context;
use crate::http::gate;
use crate::http::respond::Response;
use crate::http::server::{PeerInfo, RequestBody};

/// Where the API begins, below whatever stands before it.
pub(in crate::http) const ROOT: &str = "/api/v1";

/// Returns what of `path` follows the root of the API, which stands behind `prefix` (which begins and ends
/// with a slash); `None` for another path.
pub(in crate::http) fn below_root<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let below = path.strip_prefix(prefix)?.strip_prefix(&ROOT[1..])?;
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

/// An admitted request, as handlers get it.
pub(super) struct Call {
    /// The registry and the jobs.
    pub context: Arc<Context>,
    /// Who asks.
    pub caller: Caller,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The path of the API's root as the client writes it.
    pub root: String,
}

/// Answers the request for `path`, which is what follows the root of the API; `root` is how the client
/// writes the latter.
pub(in crate::http) async fn answer(
    context: &Arc<Context>,
    (root, path): (String, &str),
    parts: Parts,
    body: RequestBody,
    peer: PeerInfo,
) -> Response {
    let route = Route::parse(&parts.method, path, parts.uri.query());
    let admitted = gate::admit_manager(peer, &parts.headers, &Route::access());
    let answered = match (admitted, route) {
        (Err(refusal), _) => Err(refusal.into()),
        (Ok(_), Err(problem)) => Err(problem),
        (Ok(caller), Ok(route)) => {
            let call = Call {
                context: Arc::clone(context),
                caller,
                headers: parts.headers,
                root,
            };
            handle(&call, route, body).await
        }
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn handle(call: &Call, route: Route, body: RequestBody) -> Result<Response, Problem> {
    match route {
        Route::OpenApi => Ok(openapi::document()),
        Route::Mirrors => Ok(mirrors::status(call).await),
        Route::Warm => mirrors::warm(call, body).await,
        Route::Purge => mirrors::purge(call, body).await,
        Route::Collector => gc::status(call).await,
        Route::Collect => gc::run(call, body).await,
        Route::PauseCollector => gc::pause(call).await,
        Route::ResumeCollector => gc::resume(call).await,
        Route::ExportLinks => links::export(call, body).await,
        Route::Backup => backup::start(call, body).await,
        Route::Scrub => integrity::scrub(call, body).await,
        Route::Fsck => integrity::fsck(call, body).await,
        Route::Jobs(page) => jobs::list(call, page).await,
        Route::Job(id) => jobs::show(call, id).await,
        Route::TagHistory(tag, page) => tags::history(call, &tag, page).await,
        Route::TagRestore(tag) => tags::restore(call, &tag, body).await,
        Route::JobLines(id, page) => jobs::lines(call, id, page).await,
    }
}
