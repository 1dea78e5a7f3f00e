//! Copies of the database, made by the server to where its configuration says.

use serde::Deserialize;
use utoipa::ToSchema;

use super::body;
use super::jobs::{accepted, problem};
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::http::respond::Response;
use crate::http::server::RequestBody;
use crate::jobs::{BackUp, JobView, Payload};

/// A copy to make; there is nothing to say about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupRequest {}

/// Copies the database to `backup.destination`, as a job
#[utoipa::path(
    post,
    path = "/api/v1/backup",
    request_body = BackupRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn start(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let BackupRequest {} = body::read(&call.headers, body).await?;
    let payload = Payload::Backup(BackUp::default());
    let job = call.context.jobs.start(payload).await.map_err(problem)?;
    Ok(accepted(call, &job))
}
