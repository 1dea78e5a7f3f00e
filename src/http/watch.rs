//! What watches the server reads: metrics and health, at the root of their doors. Health is for everybody
//! and tells nothing else.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use oci::{Action, Resource};

use super::api::Problem;
use super::context::Context;
use super::door::{self, Door};
use super::gate;
use super::respond::{self, Response};
use super::server::PeerInfo;
use crate::registry;
use crate::telemetry::METRICS_TYPE;

/// Answers a request for something of this file; `None` for another one.
pub(super) async fn answer(
    context: &Arc<Context>,
    door: &Door,
    parts: &Parts,
    peer: PeerInfo,
) -> Option<Response> {
    let path = parts.uri.path();
    let metrics = door.metrics(path);
    if metrics == door::Metrics::Guarded {
        let wanted = [(Resource::Server, Action::Administer)];
        if let Err(refusal) = gate::admit_manager(peer, &parts.headers, &wanted) {
            return Some(Problem::from(refusal).into_response());
        }
    }
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let answer = match path {
        _ if metrics != door::Metrics::Elsewhere => Watched::Metrics,
        "/livez" => Watched::Alive,
        "/readyz" => Watched::Ready,
        "/debug/health" if door.has_debug_health() => Watched::DebugHealth,
        _ => return None,
    };
    if !is_read {
        return Some(Problem::method_not_allowed("GET, HEAD").into_response());
    }
    let mut response = match answer {
        Watched::Metrics => {
            let text = Bytes::from(context.metrics.render());
            respond::bytes(StatusCode::OK, METRICS_TYPE, text)
        }
        Watched::Alive => word(StatusCode::OK, "ok\n"),
        Watched::Ready => match registry::ready(&context.registry).await {
            Ok(()) => word(StatusCode::OK, "ok\n"),
            Err(error @ registry::Error::Preparing { .. }) => {
                let text = Bytes::from(format!("{error}\n"));
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = respond::bytes(status, WORD, text);
                respond::set(&mut response, RETRY_AFTER, respond::PREPARING_SECS);
                response
            }
            Err(error) => {
                tracing::error!(%error, "not ready to serve");
                word(StatusCode::SERVICE_UNAVAILABLE, "storage is unavailable\n")
            }
        },
        // Distribution lists the checks that fail; there are none that could be configured here.
        Watched::DebugHealth => {
            let body = Bytes::from_static(b"{}");
            respond::bytes(StatusCode::OK, "application/json", body)
        }
    };
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

enum Watched {
    Metrics,
    Alive,
    Ready,
    DebugHealth,
}

const WORD: &str = "text/plain; charset=utf-8";

fn word(status: StatusCode, text: &'static str) -> Response {
    let body = Bytes::from_static(text.as_bytes());
    respond::bytes(status, WORD, body)
}
