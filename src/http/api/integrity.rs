//! Looking after what is stored: hashing blobs again, and comparing rows with files.

use serde::Deserialize;
use utoipa::ToSchema;

use super::body;
use super::jobs::{accepted, problem};
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::http::respond::Response;
use crate::http::server::RequestBody;
use crate::jobs::{CompareAll, JobView, Payload, ScrubBlobs};

/// Which blobs to hash again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScrubRequest {
    /// Only those of the repositories that fit this glob, such as `team/**`; all without it.
    repository: Option<String>,
    /// Whether what is damaged is fetched again where it is mirrored, and what was and is right again comes back.
    #[serde(default)]
    repair: bool,
}

/// How rows and files are compared.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FsckRequest {
    /// Whether something is done about what is wrong.
    #[serde(default)]
    repair: bool,
}

/// Hashes stored blobs again, as a job; its lines tell what is wrong
#[utoipa::path(
    post,
    path = "/api/v1/scrub",
    request_body = ScrubRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn scrub(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let ScrubRequest { repository, repair } = body::read(&call.headers, body).await?;
    let scrub = ScrubBlobs::new(repository, repair);
    let scrub = scrub.map_err(|error| Problem::bad_request(format!("repository: {error}")))?;
    start(call, Payload::Scrub(scrub)).await
}

/// Compares rows with files, as a job; its lines tell what is wrong
#[utoipa::path(
    post,
    path = "/api/v1/fsck",
    request_body = FsckRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn fsck(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let FsckRequest { repair } = body::read(&call.headers, body).await?;
    start(call, Payload::Fsck(CompareAll { repair })).await
}

async fn start(call: &Call, payload: Payload) -> Result<Response, Problem> {
    let job = call.context.jobs.start(payload).await.map_err(problem)?;
    Ok(accepted(call, &job))
}
