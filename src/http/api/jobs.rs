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

/// A page of what a job found.
#[derive(Serialize, ToSchema)]
pub(super) struct LineList {
    /// What it found, in the order in which it did; the fields depend on the kind of the job.
    lines: Vec<serde_json::Value>,
    /// The cursor of the next page; while the job runs, more may come there.
    next: i64,
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
    let job = found.ok_or_else(|| missing(id))?;
    Ok(respond::json(StatusCode::OK, "application/json", &job))
}

/// What a job found
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}/lines",
    params(
        ("id" = i64, Path, description = "The job"),
        ("limit" = Option<u32>, Query, description = "The most lines, 1 to 1000; 100 without it"),
        ("cursor" = Option<String>, Query, description = "Where a page begins, as `next` of the page before says"),
    ),
    responses(
        (status = 200, description = "A page; its Link leads to the next", body = LineList),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn lines(call: &Call, id: i64, page: Page) -> Result<Response, Problem> {
    let from = page.cursor.unwrap_or(0);
    let found = call.context.jobs.lines(id, from, page.limit).await;
    let found = found.map_err(problem)?.ok_or_else(|| missing(id))?;
    let next = found.last().map_or(from, |line| line.position + 1);
    let is_full = found.len() == page.limit as usize;
    let lines = found.iter();
    // What another version wrote is told as it stands.
    let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into());
    let body = LineList {
        lines: lines.map(|line| read(&line.line)).collect(),
        next,
    };
    let mut response = respond::json(StatusCode::OK, "application/json", &body);
    if is_full {
        page.link(
            &mut response,
            &format!("{}/jobs/{id}/lines", call.root),
            next,
        );
    }
    Ok(response)
}

fn missing(id: i64) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no job {id}"))
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
