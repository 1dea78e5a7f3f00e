//! A job as the management API tells it, as far as these commands show it. Servers of other versions may say
//! more.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::Failure;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::cli) struct Job {
    pub(in crate::cli) id: i64,
    /// What kind of work it is.
    #[serde(default)]
    pub(in crate::cli) kind: String,
    pub(in crate::cli) state: String,
    #[serde(default)]
    pub(in crate::cli) progress: Progress,
    pub(in crate::cli) error: Option<String>,
}

/// What a job has done so far; a total of 0 is not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Progress {
    #[serde(rename = "imagesdone")]
    pub(in crate::cli) images_done: u64,
    #[serde(rename = "imagestotal")]
    pub(in crate::cli) images_total: u64,
    #[serde(rename = "layersdone")]
    pub(in crate::cli) layers_done: u64,
    #[serde(rename = "layerstotal")]
    pub(in crate::cli) layers_total: u64,
    #[serde(rename = "bytesdone")]
    pub(in crate::cli) bytes_done: u64,
    #[serde(rename = "bytestotal")]
    pub(in crate::cli) bytes_total: u64,
    pub(in crate::cli) manifests: u64,
    #[serde(rename = "bytesfreed")]
    pub(in crate::cli) bytes_freed: u64,
    pub(in crate::cli) kept: u64,
    pub(in crate::cli) reviewed: u64,
    pub(in crate::cli) blobs: u64,
    pub(in crate::cli) remaining: u64,
    pub(in crate::cli) checked: u64,
    pub(in crate::cli) problems: u64,
    pub(in crate::cli) unlisted: u64,
    #[serde(rename = "helduntil")]
    pub(in crate::cli) held_until: Option<i64>,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Standing {
    UnderWay,
    Done,
    Failed,
}

impl Job {
    /// Reads a job from what the server said.
    pub(in crate::cli) fn of(value: &Value) -> Result<Self, Failure> {
        Self::deserialize(value)
            .map_err(|error| Failure::new(format!("the server tells of a strange job: {error}")))
    }

    /// Returns how it stands.
    pub(in crate::cli) fn standing(&self) -> Standing {
        match self.state.as_str() {
            "done" => Standing::Done,
            "failed" => Standing::Failed,
            _ => Standing::UnderWay,
        }
    }
}
