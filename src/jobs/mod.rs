//! Work that goes on without anybody waiting for it: one file per kind of job, with what they
//! are to do in `payload`. Every job is a
//! row, claimed by one runner at a time; running it twice does no harm. Never answers clients, and never changes bytes
//! or rows but through the mirror and content rooms.

mod backup;
mod collect;
mod collector;
mod ending;
mod error;
mod export_links;
mod failure;
mod fsck;
mod lines;
mod live;
mod now;
mod payload;
mod purge;
mod runner;
mod schedule;
mod scrub;
mod service;
mod view;
mod warm;

pub use collector::{CollectAsked, CollectorView};
pub use error::Error;
pub use metadata::JobLine;
pub use now::{Unfinished, run_now};
pub use payload::{
    BackUp, CollectNow, CompareAll, Payload, PayloadError, PurgePattern, ScrubBlobs, WarmImages,
};
pub use runner::Running;
pub use service::{Jobs, Settings};
pub use view::{JobKind, JobState, JobView, Progress};
