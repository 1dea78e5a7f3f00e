//! A job as people see it: what it is, how far it is, and why it failed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Fetch images before anybody asks.
    Warm,
    /// Remove mirrored content.
    Purge,
    /// Collect what nothing names any more.
    Gc,
    /// Write the link files of Distribution.
    ExportLinks,
    /// Copy the database.
    Backup,
    /// Hash stored blobs again.
    Scrub,
    /// Compare rows with files.
    Fsck,
}

impl JobKind {
    /// Returns the name it is stored and told by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Purge => "purge",
            Self::Gc => "gc",
            Self::ExportLinks => "exportlinks",
            Self::Backup => "backup",
            Self::Scrub => "scrub",
            Self::Fsck => "fsck",
        }
    }

    /// Tells whether it makes room: such a job does not wait for others, and is queued, run and ended also on a full disk.
    pub(super) fn makes_room(self) -> bool {
        match self {
            Self::Purge | Self::Gc => true,
            Self::Warm | Self::ExportLinks | Self::Backup | Self::Scrub | Self::Fsck => false,
        }
    }

    /// Returns every kind.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self::FIRST), |kind| kind.next())
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    const FIRST: Self = Self::Warm;

    /// Returns the next kind; written as a match so that a new one cannot be forgotten.
    fn next(self) -> Option<Self> {
        match self {
            Self::Warm => Some(Self::Purge),
            Self::Purge => Some(Self::Gc),
            Self::Gc => Some(Self::ExportLinks),
            Self::ExportLinks => Some(Self::Backup),
            Self::Backup => Some(Self::Scrub),
            Self::Scrub => Some(Self::Fsck),
            Self::Fsck => None,
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is being done.
    Running,
    /// It did what it was to do.
    Done,
    /// It gave up; `error` says why.
    Failed,
}

impl From<metadata::JobState> for JobState {
    fn from(state: metadata::JobState) -> Self {
        match state {
            metadata::JobState::Queued => Self::Queued,
            metadata::JobState::Running => Self::Running,
            metadata::JobState::Done => Self::Done,
            metadata::JobState::Failed => Self::Failed,
        }
    }
}

/// What a job has done so far. A total of 0 is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", default)]
pub struct Progress {
    /// Images that are whole here.
    #[serde(rename = "imagesdone")]
    pub images_done: u64,
    /// Images it is about.
    #[serde(rename = "imagestotal")]
    pub images_total: u64,
    /// Configs and layers that are whole here, of the images looked at so far.
    #[serde(rename = "layersdone")]
    pub layers_done: u64,
    /// Configs and layers of the images looked at so far.
    #[serde(rename = "layerstotal")]
    pub layers_total: u64,
    /// Their bytes that are here.
    #[serde(rename = "bytesdone")]
    pub bytes_done: u64,
    /// Their bytes.
    #[serde(rename = "bytestotal")]
    pub bytes_total: u64,
    /// Manifests that were fetched or removed.
    pub manifests: u64,
    /// Candidates that were looked at.
    pub reviewed: u64,
    /// Blobs that were collected, bytes of manifests included.
    pub blobs: u64,
    /// Bytes that were freed.
    #[serde(rename = "bytesfreed")]
    pub bytes_freed: u64,
    /// Manifests and blobs that were to be removed and stay, because they are in use, leased, or needed by what stays.
    pub kept: u64,
    /// Blobs that there are after a collection, bytes of manifests included.
    pub remaining: u64,
    /// Until when a collection leaves what a local repository ever held, in microseconds since 1970.
    #[serde(rename = "helduntil", skip_serializing_if = "Option::is_none")]
    pub held_until: Option<i64>,
    /// Blobs that were looked at.
    pub checked: u64,
    /// Things that are wrong and stay so for now.
    pub problems: u64,
    /// Lines that found no place among those of the job.
    pub unlisted: u64,
}

/// A job as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id; later jobs have higher ones.
    pub id: i64,
    /// What kind of work it is.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// What it has done so far.
    pub progress: Progress,
    /// Why it failed, or what it waits for.
    pub error: Option<String>,
    /// When it was queued, in microseconds since 1970.
    #[serde(rename = "createdat")]
    pub created_at: i64,
    /// When it first began, in microseconds since 1970.
    #[serde(rename = "startedat")]
    pub started_at: Option<i64>,
    /// When it was done or failed, in microseconds since 1970.
    #[serde(rename = "finishedat")]
    pub finished_at: Option<i64>,
}

impl JobView {
    /// Returns the view of a row whose kind is known.
    pub(super) fn of(kind: JobKind, row: metadata::JobRow) -> Self {
        let stored = row.progress.as_deref();
        Self {
            id: row.id,
            kind,
            state: row.state.into(),
            progress: stored.map_or_else(Progress::default, Progress::from_row),
            error: row.error,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl Progress {
    /// Returns the higher of each figure.
    pub(super) fn max_of(self, other: Self) -> Self {
        Self {
            images_done: self.images_done.max(other.images_done),
            images_total: self.images_total.max(other.images_total),
            layers_done: self.layers_done.max(other.layers_done),
            layers_total: self.layers_total.max(other.layers_total),
            bytes_done: self.bytes_done.max(other.bytes_done),
            bytes_total: self.bytes_total.max(other.bytes_total),
            manifests: self.manifests.max(other.manifests),
            bytes_freed: self.bytes_freed.max(other.bytes_freed),
            kept: self.kept.max(other.kept),
            reviewed: self.reviewed.max(other.reviewed),
            blobs: self.blobs.max(other.blobs),
            remaining: self.remaining.max(other.remaining),
            held_until: self.held_until.max(other.held_until),
            checked: self.checked.max(other.checked),
            problems: self.problems.max(other.problems),
            unlisted: self.unlisted.max(other.unlisted),
        }
    }

    /// Reads stored progress; what another version wrote counts as none.
    pub(super) fn from_row(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Returns the JSON to store.
    pub(super) fn to_row(self) -> String {
        serde_json::to_string(&self).expect("numbers can always be written as JSON")
    }
}
