//! Tags: where each pointed over time, and putting one back.

use hyper::StatusCode;
use oci::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::paging::Page;
use super::problem::{Problem, ProblemBody};
use super::repository_path::TagName;
use super::router::Call;
use crate::http::error::Failure;
use crate::http::respond::{self, Response};
use crate::http::server::RequestBody;
use crate::registry::{self, Error, RestoreError};

/// A page of a tag's history.
#[derive(Serialize, ToSchema)]
pub(super) struct TagHistory {
    /// The moves, the latest first.
    moves: Vec<TagMove>,
}

/// A move of a tag.
#[derive(Serialize, ToSchema)]
pub(super) struct TagMove {
    /// Its place in the history; later moves have higher ones.
    id: i64,
    /// When, in microseconds since 1970.
    at: i64,
    /// The digest it pointed to before; null when it was made.
    from: Option<String>,
    /// The digest it points to since; null when it was deleted.
    to: Option<String>,
    /// Who did it.
    by: String,
    /// How it came to point there: pushed, mirrored, imported or mounted.
    origin: &'static str,
}

/// Where a tag is to point.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreRequest {
    /// A digest of the tag's history; without it the one before the last move.
    #[serde(default)]
    digest: Option<String>,
}

/// A tag that was put back.
#[derive(Serialize, ToSchema)]
pub(super) struct RestoredTag {
    /// The repository.
    repository: String,
    /// The tag.
    tag: String,
    /// The digest it pointed to until now; null where it was deleted.
    from: Option<String>,
    /// The digest it points to.
    to: String,
    /// Whether its manifest had been deleted and was put back too.
    manifestrestored: bool,
}

impl From<registry::TagMove> for TagMove {
    fn from(moved: registry::TagMove) -> Self {
        let text = |digest: Digest| digest.to_string();
        Self {
            id: moved.id,
            at: moved.at,
            from: moved.from.map(text),
            to: moved.to.map(text),
            by: moved.by,
            origin: moved.origin,
        }
    }
}

/// Tells where a tag pointed over time, the latest move first
#[utoipa::path(
    get,
    path = "/api/v1/repositories/{name}/-/tags/{tag}/history",
    params(
        ("name" = String, Path, description = "The repository; its slashes stand as they are"),
        ("tag" = String, Path, description = "The tag, which may be deleted"),
        ("limit" = Option<u32>, Query, description = "The most moves, 1 to 1000; 100 without it"),
        ("cursor" = Option<String>, Query, description = "Where a page begins, as the Link of the page before says"),
    ),
    responses(
        (status = 200, description = "A page; its Link leads to the next", body = TagHistory),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(call: &Call, name: &TagName, page: Page) -> Result<Response, Problem> {
    let TagName { repository, tag } = name;
    let limit = u64::from(page.limit) + 1;
    let (registry, caller) = (&call.context.registry, &call.caller);
    let found = registry::tag_history(registry, caller, (repository, tag), page.cursor, limit);
    let mut moves = found.await.map_err(problem)?;
    let has_more = moves.len() > page.limit as usize;
    moves.truncate(page.limit as usize);
    let next = moves.last().map(|last| last.id).filter(|_| has_more);
    let body = TagHistory {
        moves: moves.into_iter().map(TagMove::from).collect(),
    };
    let mut response = respond::json(StatusCode::OK, "application/json", &body);
    if let Some(next) = next {
        let path = format!(
            "{}/repositories/{repository}/-/tags/{tag}/history",
            call.root
        );
        page.link(&mut response, &path, next);
    }
    Ok(response)
}

/// Points a tag to a digest of its history again
#[utoipa::path(
    post,
    path = "/api/v1/repositories/{name}/-/tags/{tag}/restore",
    params(
        ("name" = String, Path, description = "The repository; its slashes stand as they are"),
        ("tag" = String, Path, description = "The tag, which may be deleted"),
    ),
    request_body = RestoreRequest,
    responses(
        (status = 200, description = "Where it points now", body = RestoredTag),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn restore(
    call: &Call,
    name: &TagName,
    body: RequestBody,
) -> Result<Response, Problem> {
    let RestoreRequest { digest } = body::read(&call.headers, body).await?;
    let digest = digest.map(|text| Digest::parse(&text)).transpose();
    let digest = digest.map_err(|error| Problem::bad_request(error.to_string()))?;
    let TagName { repository, tag } = name;
    let (registry, caller) = (&call.context.registry, &call.caller);
    let restored = registry::restore_tag(registry, caller, (repository, tag), digest.as_ref());
    let restored = restored.await.map_err(not_restored)?;
    let body = RestoredTag {
        repository: repository.to_string(),
        tag: tag.to_string(),
        from: restored.from.map(|digest| digest.to_string()),
        to: restored.to.to_string(),
        manifestrestored: restored.manifest_restored,
    };
    Ok(respond::json(StatusCode::OK, "application/json", &body))
}

fn not_restored(error: RestoreError) -> Problem {
    let detail = error.to_string();
    let status = match error {
        RestoreError::NoHistory { .. } | RestoreError::NeverThere { .. } => StatusCode::NOT_FOUND,
        RestoreError::NothingBefore { .. } => StatusCode::CONFLICT,
        RestoreError::Gone { .. } => StatusCode::GONE,
        RestoreError::Registry(error) => return problem(error),
    };
    Problem::new(status, detail)
}

/// Says what a failure of the registry room means for whoever asked.
pub(super) fn problem(error: Error) -> Problem {
    if let Error::Unavailable { reason } = &error {
        return Problem::unavailable(reason);
    }
    let failure = Failure::Registry(error);
    let (status, _) = failure.classify();
    Problem::new(status, failure.message())
}
