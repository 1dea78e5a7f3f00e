//! The management API: JSON below `/api/v1`, one file per noun. The CLI uses nothing else.
//! Handlers get parsed, admitted requests and call `registry` and `jobs`; they hold no logic of their own.

mod backup;
mod body;
mod gc;
mod integrity;
mod jobs;
mod links;
mod mirrors;
mod openapi;
mod paging;
mod problem;
mod repository_path;
mod route;
mod router;
mod tags;
#[cfg(test)]
mod tests;

pub(super) use problem::Problem;
pub(super) use router::{ROOT, answer, below_root};
