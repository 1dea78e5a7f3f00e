//! A job done at once by who asks for it, without a row and without a runner: for commands that work where no server runs.

use std::sync::Arc;

use super::failure::Failure;
use super::lines::Lines;
use super::payload::Payload;
use super::service::Settings;
use super::view::Progress;
use super::{backup, collect, export_links, fsck, scrub};
use crate::content::Content;
use crate::mirror::Mirror;

/// Why a job that was done at once did not end well; the text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfinished {
    reason: String,
}

/// Does a job and returns what it did; without a `mirror` no upstream is asked for anything. `line` gets every line it tells, as JSON, at once.
///
/// # Errors
/// [`Unfinished`] with the reason, also for work that only a server can do.
pub async fn run_now(
    content: &Content,
    mirror: Option<&Arc<Mirror>>,
    settings: &Settings,
    payload: &Payload,
    line: Box<dyn FnMut(&str) + Send>,
) -> Result<Progress, Unfinished> {
    let mut lines = Lines::to_caller(line);
    let tally = lines.tally().clone();
    let done = match payload {
        Payload::Collect(wanted) => {
            collect::run(content, wanted, settings.gc.rate, &mut lines).await
        }
        Payload::ExportLinks => export_links::run(content, &mut lines).await,
        Payload::Scrub(wanted) => {
            let rate = settings.scrub.rate;
            scrub::run(content, mirror, wanted, rate, &mut lines).await
        }
        Payload::Fsck(wanted) => fsck::run(content, wanted, settings.scrub.rate, &mut lines).await,
        Payload::Backup(_) => backup::run(content, &tally).await,
        Payload::Warm(_) | Payload::Purge(_) => {
            Err(Failure::Final("only a running server does this".to_owned()))
        }
    };
    match done {
        Ok(()) => Ok(tally.now()),
        Err(Failure::Final(reason) | Failure::Scarce(reason)) => Err(Unfinished { reason }),
    }
}
