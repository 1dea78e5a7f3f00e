//! The collector: how it stands, a run now, and a pause.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body;
use super::jobs::{accepted, problem};
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::config::parse_duration;
use crate::http::respond::{self, Response};
use crate::http::server::RequestBody;
use crate::jobs::{CollectAsked, CollectorView, JobView};

/// What to collect now.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectRequest {
    /// How long content stays that nothing names any more, such as `0s` or `1h30m`; `gc.grace` without it. Leases count
    /// whatever it says.
    grace: Option<String>,
    /// Whether manifests go that nothing keeps but the rule that untagged ones stay; `gc.deleteuntagged` without it.
    deleteuntagged: Option<bool>,
    /// Whether to tell only what would go.
    #[serde(default)]
    dryrun: bool,
}

/// Tells how the collector stands
#[utoipa::path(
    get,
    path = "/api/v1/gc",
    responses(
        (status = 200, description = "How it stands", body = CollectorView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(call: &Call) -> Result<Response, Problem> {
    let status = call.context.jobs.collector().await.map_err(problem)?;
    Ok(respond::json(StatusCode::OK, "application/json", &status))
}

/// Collects what nothing names any more, as a job; its lines tell what went
#[utoipa::path(
    post,
    path = "/api/v1/gc/run",
    request_body = CollectRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn run(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let request: CollectRequest = body::read(&call.headers, body).await?;
    let asked = CollectAsked {
        grace: request.grace.as_deref().map(grace).transpose()?,
        delete_untagged: request.deleteuntagged,
        dry_run: request.dryrun,
    };
    let job = call.context.jobs.collect(asked).await.map_err(problem)?;
    Ok(accepted(call, &job))
}

fn grace(text: &str) -> Result<Duration, Problem> {
    let shown = || text.escape_debug().take(64).collect::<String>();
    parse_duration(text).map_err(|_| {
        Problem::bad_request(format!(
            "grace \"{}\" is no duration like 0s, 30m or 1d",
            shown()
        ))
    })
}

/// Pauses the collector, also over restarts; a run under way is not broken off
#[utoipa::path(
    post,
    path = "/api/v1/gc/pause",
    responses(
        (status = 200, description = "How it stands then", body = CollectorView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(call: &Call) -> Result<Response, Problem> {
    set_paused(call, true).await
}

/// Lets the collector run by itself again
#[utoipa::path(
    post,
    path = "/api/v1/gc/resume",
    responses(
        (status = 200, description = "How it stands then", body = CollectorView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(call: &Call) -> Result<Response, Problem> {
    set_paused(call, false).await
}

async fn set_paused(call: &Call, paused: bool) -> Result<Response, Problem> {
    let status = call.context.jobs.pause_collector(paused).await;
    let status = status.map_err(problem)?;
    Ok(respond::json(StatusCode::OK, "application/json", &status))
}
