//! Giving a root back to Distribution: its link files are made to say what the rows say, and blobs that lie elsewhere get
//! Distribution's path. One repository after the other, each as it is at one moment, also beside requests. What Distribution
//! wrote since and nobody imported is never overwritten.

mod plan;
mod rekey;
mod report;
mod run;
mod write;

pub use report::{ExportConflict, ExportReport};
