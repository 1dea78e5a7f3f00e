//! What is wrong with what is stored, as an operator is told it. Paths and names of other repositories are in here: it is
//! never an answer to somebody who pulls or pushes.

use oci::Digest;
use serde::Serialize;

use super::damage::Damage;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The digest of the bytes it is about, if it is about some.
    pub digest: Option<Digest>,
    /// Where: a file, or the manifest or tag that refers to what is not there.
    pub path: String,
    /// What.
    pub problem: ProblemKind,
    /// What was done about it.
    pub action: Action,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemKind {
    /// A row has no bytes.
    Missing,
    /// The bytes are more or fewer than the row says.
    Size,
    /// The bytes do not have their digest.
    Digest,
    /// The bytes are there and cannot be read.
    Unreadable,
    /// Bytes have no row.
    NoRow,
    /// Something refers to what is not there.
    Dangling,
    /// Nothing refers to it, and the collector does not know of it.
    Unreferenced,
    /// A file that was to become a blob belongs to no upload.
    TempFile,
}

/// What was done about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    None,
    /// It exists to nobody until a push or a repair brings its bytes.
    Quarantined,
    /// Its bytes are right again, and it is served.
    Restored,
    /// Its bytes were fetched from the upstream again.
    Fetched,
    /// It has a row now, and the collector frees it unless something refers to it before its grace is over.
    Entered,
    /// The collector knows of it now, and frees it unless something refers to it before its grace is over.
    Noted,
    /// It was deleted.
    Removed,
}

impl Action {
    /// Tells whether the problem is there no more.
    pub fn solves(self) -> bool {
        match self {
            Self::None | Self::Quarantined => false,
            Self::Restored | Self::Fetched | Self::Entered | Self::Noted | Self::Removed => true,
        }
    }
}

impl From<Damage> for ProblemKind {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Missing => Self::Missing,
            Damage::Size => Self::Size,
            Damage::Digest => Self::Digest,
        }
    }
}
