//! Mirrors: how they stand, and the two things one can tell them to do, each of which is a job.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::jobs::{accepted, problem};
use super::problem::{Problem, ProblemBody};
use super::router::Call;
use crate::http::respond::{self, Response};
use crate::http::server::RequestBody;
use crate::jobs::{JobView, Payload, PayloadError, PurgePattern, WarmImages};
use crate::registry::{self, MirrorStatus};

/// How the mirrors stand.
#[derive(Serialize, ToSchema)]
pub(super) struct Mirrors {
    /// Every configured mirror, in the order of the configuration.
    mirrors: Vec<Mirror>,
    /// What they keep here, together.
    cache: Cache,
}

/// How one mirror stands. Counts begin with the server.
#[derive(Serialize, ToSchema)]
pub(super) struct Mirror {
    /// Its configured name.
    name: String,
    /// Whether any of its endpoints is being asked.
    healthy: bool,
    /// Its endpoints, in the order they are tried.
    endpoints: Vec<Endpoint>,
    /// Manifests and blobs answered from here, revalidated ones included.
    hits: u64,
    /// Manifests and blobs fetched.
    misses: u64,
    /// Manifests served although the upstream could not confirm them.
    stale: u64,
    /// Bytes sent to clients that were not fetched for them.
    bytessaved: u64,
    /// What the upstream last said is left of its rate limit; null where it never said.
    ratelimitremaining: Option<i64>,
    /// Blob fetches under way.
    inflight: u64,
}

/// How one endpoint stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Endpoint {
    /// Its URL.
    url: String,
    /// Whether it is being asked.
    healthy: bool,
}

/// What the mirrors keep here.
#[derive(Serialize, ToSchema)]
pub(super) struct Cache {
    /// Bytes of blobs that only mirrored repositories hold.
    bytes: u64,
    /// The bound on them; 0 for none but the free space that must remain.
    maxbytes: u64,
}

/// Images to fetch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WarmRequest {
    /// Each `<mirror>/<repository>` with `:<tag>` (a pattern; `latest` without one) or `@<digest>`, or as
    /// clients of the default mirror write it.
    images: Vec<String>,
    /// Platforms such as `linux/amd64`; all that an index lists when there are none.
    #[serde(default)]
    platforms: Vec<String>,
}

/// Images to forget.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeRequest {
    /// A glob over `<mirror>/<repository>:<tag>`.
    pattern: String,
}

impl From<MirrorStatus> for Mirror {
    fn from(status: MirrorStatus) -> Self {
        let endpoints = status.endpoints.into_iter().map(|endpoint| Endpoint {
            url: endpoint.url,
            healthy: endpoint.healthy,
        });
        Self {
            name: status.name,
            healthy: status.healthy,
            endpoints: endpoints.collect(),
            hits: status.numbers.hits,
            misses: status.numbers.misses,
            stale: status.numbers.stale,
            bytessaved: status.numbers.bytes_saved,
            ratelimitremaining: status.ratelimit_remaining,
            inflight: status.numbers.inflight,
        }
    }
}

/// Tells how the mirrors stand
#[utoipa::path(
    get,
    path = "/api/v1/mirrors",
    responses(
        (status = 200, description = "How they stand", body = Mirrors),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(call: &Call) -> Response {
    let status = registry::mirror_status(&call.context.registry, &call.caller).await;
    let body = Mirrors {
        mirrors: status.mirrors.into_iter().map(Mirror::from).collect(),
        cache: Cache {
            bytes: status.cache.bytes,
            maxbytes: status.cache.max_bytes.unwrap_or_default(),
        },
    };
    respond::json(StatusCode::OK, "application/json", &body)
}

/// Fetches images before anybody asks, as a job
#[utoipa::path(
    post,
    path = "/api/v1/mirrors/warm",
    request_body = WarmRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn warm(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let WarmRequest { images, platforms } = body::read(&call.headers, body).await?;
    let payload = WarmImages::new(images, platforms).map_err(makes_no_sense)?;
    start(call, Payload::Warm(payload)).await
}

/// Forgets mirrored images and frees what only they use, as a job
#[utoipa::path(
    post,
    path = "/api/v1/mirrors/purge",
    request_body = PurgeRequest,
    responses(
        (status = 202, description = "The job, which the Location names", body = JobView),
        (status = "default", description = "Refused or failed", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn purge(call: &Call, body: RequestBody) -> Result<Response, Problem> {
    let PurgeRequest { pattern } = body::read(&call.headers, body).await?;
    let payload = PurgePattern::new(pattern).map_err(makes_no_sense)?;
    start(call, Payload::Purge(payload)).await
}

async fn start(call: &Call, payload: Payload) -> Result<Response, Problem> {
    let job = call.context.jobs.start(payload).await.map_err(problem)?;
    Ok(accepted(call, &job))
}

fn makes_no_sense(error: PayloadError) -> Problem {
    Problem::bad_request(error.to_string())
}
