//! The OpenAPI document: printed from the handlers' own types, so that it cannot say something else.

use hyper::StatusCode;
use utoipa::OpenApi;

use super::{backup, gc, integrity, jobs, links, mirrors, tags};
use crate::http::respond::{self, Response};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Seawall",
        description = "Manages a running Seawall. Errors are application/problem+json (RFC 9457); long work is a job."
    ),
    paths(
        document,
        mirrors::status,
        mirrors::warm,
        mirrors::purge,
        gc::status,
        gc::run,
        gc::pause,
        gc::resume,
        links::export,
        backup::start,
        integrity::scrub,
        integrity::fsck,
        jobs::list,
        jobs::show,
        jobs::lines,
        tags::history,
        tags::restore
    )
)]
pub(super) struct Document;

/// Describes this API
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    responses((status = 200, description = "The OpenAPI document", body = serde_json::Value))
)]
pub(super) fn document() -> Response {
    respond::json(StatusCode::OK, "application/json", &Document::openapi())
}
