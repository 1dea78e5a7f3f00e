//! Giving the store root back to Distribution.

use super::body;
use super::jobs::{accepted, problem};
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::http::respond::Response;
use crate::http::server::RequestBody;
use crate::jobs::{JobView, Payload};

/// What to export: everything.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportRequest {}

/// Writes link files, so that Distribution can serve the same root, as a job
///
/// Its lines are `{"kind":"conflict","path","reason"}` for what was left as it is, and at the end
/// `{"kind":"exported","repositories","tags","manifests","blobs","written","removed","conflicts"}`.
#[utoipa::path(
    post,
    path = "/api/v1/export-links",
    request_body = ExportRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let _: ExportRequest = body::read(&call.headers, body).await?;
    let started = call.context.jobs.start(Payload::ExportLinks).await;
    Ok(accepted(call, &started.map_err(problem)?))
}
