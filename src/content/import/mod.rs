//! Adopting the root of a Distribution registry in place: a row for every blob that lies there, then what its link files
//! say about repositories, manifests and tags. No blob is copied and none is changed; what cannot be used is told and
//! keeps its repository from being collected. Running it again takes only what the files did not say before.

mod check;
mod origin;
mod report;
mod repository;
mod run;
mod scan;
mod verify;

pub use origin::RootOrigin;
pub use report::{ImportReport, Unusable};
pub(super) use run::refuse_unimported;
pub use run::{ImportRequest, dry_run, import, is_unimported};
