//! A job done at once by who asks for it, without a row and without a runner: for commands that work where no server runs.

use super::lines::Lines;
use super::payload::Payload;
use super::view::Progress;
use crate::content::Content;

/// Why a job that was done at once did not end well; the text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfinished {
    reason: String,
}

/// Does a job and returns what it did; `line` gets every line it tells, as JSON, at once.
///
/// # Errors
/// [`Unfinished`] with the reason, also for work that only a server can do.
pub async fn run_now(
    content: &Content,
    payload: &Payload,
    line: Box<dyn FnMut(&str) + Send>,
) -> Result<Progress, Unfinished> {
    let lines = Lines::to_caller(line);
    let tally = lines.tally().clone();
    let _ = content;
    match payload {
        Payload::Warm(_) | Payload::Purge(_) => Err(Unfinished {
            reason: "only a running server does this".to_owned(),
        }),
    }
    .map(|()| tally.now())
}
