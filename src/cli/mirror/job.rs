//! A job as the management API tells it, as far as these commands show it. Servers of other versions may say
//! more.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::Failure;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) state: String,
    #[serde(default)]
    pub(super) progress: Progress,
    pub(super) error: Option<String>,
}

/// What a job has done so far; a total of 0 is not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    #[serde(rename = "imagesdone")]
    pub(super) images_done: u64,
    #[serde(rename = "imagestotal")]
    pub(super) images_total: u64,
    #[serde(rename = "layersdone")]
    pub(super) layers_done: u64,
    #[serde(rename = "layerstotal")]
    pub(super) layers_total: u64,
    #[serde(rename = "bytesdone")]
    pub(super) bytes_done: u64,
    #[serde(rename = "bytestotal")]
    pub(super) bytes_total: u64,
    pub(super) manifests: u64,
    #[serde(rename = "bytesfreed")]
    pub(super) bytes_freed: u64,
    pub(super) kept: u64,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    UnderWay,
    Done,
    Failed,
}

impl Job {
    /// Reads a job from what the server said.
    pub(super) fn of(value: &Value) -> Result<Self, Failure> {
        Self::deserialize(value)
            .map_err(|error| Failure::new(format!("the server tells of a strange job: {error}")))
    }

    /// Returns how it stands.
    pub(super) fn standing(&self) -> Standing {
        match self.state.as_str() {
            "done" => Standing::Done,
            "failed" => Standing::Failed,
            _ => Standing::UnderWay,
        }
    }
}
