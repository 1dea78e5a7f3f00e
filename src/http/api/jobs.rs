//! Jobs: long work that was started, the latest first, and how far each is.

use hyper::StatusCode;
use hyper::header::LOCATION;
use serde::Serialize;
use utoipa::ToSchema;

use super::paging::Page;
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::http::respond::{self, Response};
use crate::jobs::{Error, JobView};

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    /// The jobs, the latest first.
    jobs: Vec<JobView>,
}

/// Lists jobs, the latest first
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    params(
        ("limit" = Option<u32>, Query, description = "The most jobs, 1 to 1000; 100 without it"),
        ("cursor" = Option<String>, Query, description = "Where a page begins, as the Link of the page before says"),
    ),
    responses(
        (status = 200, description = "A page; its Link leads to the next", body = JobList),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(call: &Call, page: Page) -> Result<Response, Problem> {
    let found = call.context.jobs.list(page.limit + 1, page.cursor).await;
    let mut jobs = found.map_err(problem)?;
    let has_more = jobs.len() > page.limit as usize;
    jobs.truncate(page.limit as usize);
    let next = jobs.last().map(|job| job.id).filter(|_| has_more);
    let body = JobList { jobs };
    let mut response = respond::json(StatusCode::OK, "application/json", &body);
    if let Some(next) = next {
        page.link(&mut response, &format!("{}/jobs", call.root), next);
    }
    Ok(response)
}

/// Tells how far a job is
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    params(("id" = i64, Path, description = "The job")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(call: &Call, id: i64) -> Result<Response, Problem> {
    let found = call.context.jobs.get(id).await.map_err(problem)?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no job {id}"));
    let job = found.ok_or_else(missing)?;
    Ok(respond::json(StatusCode::OK, "application/json", &job))
}

/// Returns the answer to a request that started `job`.
pub(super) fn accepted(call: &Call, job: &JobView) -> Response {
    let mut response = respond::json(StatusCode::ACCEPTED, "application/json", job);
    let location = format!("{}/jobs/{}", call.root, job.id);
    respond::set(&mut response, LOCATION, &location);
    response
}

/// Says what a failure of the jobs room means for whoever asked.
pub(super) fn problem(error: Error) -> Problem {
    match error {
        Error::Payload(error) => Problem::bad_request(error.to_string()),
        error @ Error::TooMany { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        Error::StorageFull => {
            tracing::warn!("the disk is full: a job was refused");
            let detail = "storage is full: make room, or purge what is not needed";
            Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail)
        }
        Error::Storage(error) => Problem::unavailable(&error.to_string()),
    }
}
