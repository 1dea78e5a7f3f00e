//! From route to handler: parse once, pass the gate, call, count.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use oci::{Route, RouteError};

use super::call::Call;
use super::{blobs, lists, manifests, referrers, uploads};
use crate::http::context::Context;
use crate::http::error::Failure;
use crate::http::gate::{self, Admitted};
use crate::http::respond::{self, Response};
use crate::http::server::{PeerInfo, RequestBody};
use crate::registry::{Resolved, Via};
use crate::telemetry::Endpoint;

/// Who sent a request, and along which way.
pub(in crate::http) struct Sender {
    /// The other end of the connection.
    pub peer: PeerInfo,
    /// The stations before it.
    pub via: Via,
}

/// Answers the request for `path`, which begins with `/`.
pub(in crate::http) async fn answer(
    context: &Arc<Context>,
    path: &str,
    parts: Parts,
    body: RequestBody,
    sender: Sender,
) -> Result<Response, Failure> {
    let query = parts.uri.query();
    let route = match Route::parse(parts.method.as_str(), path, query) {
        Ok(route) => route,
        Err(RouteError::MethodNotAllowed { allow }) if parts.method == Method::OPTIONS => {
            let mut response = respond::empty(StatusCode::OK);
            respond::set(&mut response, hyper::header::ALLOW, allow);
            return Ok(response);
        }
        Err(error) => return Err(Failure::Route(error)),
    };
    let endpoint = endpoint(&route);
    let method = parts.method.clone();
    let answered = admit(context, route, parts, body, sender).await;
    let response = answered.unwrap_or_else(Failure::into_response);
    let status = response.status().as_u16();
    context
        .metrics
        .http_request(endpoint, method.as_str(), status);
    Ok(response)
}

/// Returns what a request counts as.
fn endpoint(route: &Route) -> Endpoint {
    match route {
        Route::Base => Endpoint::Base,
        Route::Catalog(_) => Endpoint::Catalog,
        Route::Tags { .. } => Endpoint::Tags,
        Route::Manifest { .. } => Endpoint::Manifest,
        Route::Blob { .. } => Endpoint::Blob,
        Route::UploadStart { .. } => Endpoint::BlobUpload,
        Route::Upload { .. } => Endpoint::BlobUploadChunk,
        Route::Referrers { .. } => Endpoint::Referrers,
    }
}

async fn admit(
    context: &Arc<Context>,
    route: Route,
    parts: Parts,
    body: RequestBody,
    sender: Sender,
) -> Result<Response, Failure> {
    let namespace = parts.uri.query().and_then(namespace);
    let Sender { peer, via } = sender;
    let admitted = gate::admit(context, &route, namespace.as_deref(), peer, &via).await?;
    let Admitted {
        caller,
        at,
        mount_from,
    } = admitted;
    let call = Call {
        context: Arc::clone(context),
        caller,
        headers: parts.headers,
        peer: peer.ip(),
    };
    match (route, at) {
        (Route::Base, _) => Ok(respond::bytes(
            StatusCode::OK,
            "application/json",
            bytes::Bytes::from_static(b"{}"),
        )),
        (Route::Catalog(page), _) => lists::catalog(&call, &page).await,
        (route, Some(at)) => {
            // Erased: the type of this future spells the whole way down to an upstream.
            let answering: BoxFuture<'_, Result<Response, Failure>> =
                Box::pin(answer_at(call, body, route, at, mount_from));
            answering.await
        }
        (_, None) => Err(Failure::Route(RouteError::NotFound)),
    }
}

async fn answer_at(
    call: Call,
    body: RequestBody,
    route: Route,
    at: Resolved,
    mount_from: Option<Resolved>,
) -> Result<Response, Failure> {
    match route {
        Route::Tags { page, .. } => lists::tags(&call, &at, &page).await,
        Route::Manifest {
            reference, action, ..
        } => manifests::answer(&call, body, &at, &reference, action).await,
        Route::Blob { digest, action, .. } => blobs::answer(&call, &at, &digest, action).await,
        Route::UploadStart { start, .. } => uploads::start(call, body, at, start, mount_from).await,
        Route::Upload { id, action, .. } => uploads::answer(call, body, at, id, action).await,
        Route::Referrers {
            digest,
            artifact_type,
            page,
            ..
        } => referrers::answer(&call, &at, &digest, artifact_type, &page).await,
        Route::Base | Route::Catalog(_) => Err(Failure::Route(RouteError::NotFound)),
    }
}

/// Returns the first `ns=` of a query.
fn namespace(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "ns")
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}
