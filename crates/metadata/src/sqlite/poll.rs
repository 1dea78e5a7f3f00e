//! How a transaction body runs on an engine that never suspends: to its end, on the spot.

use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::tx::BodyFuture;

/// Runs a body whose only waiting is for SQL. One that waits for anything else is a mistake in this crate and fails.
pub(crate) fn finish_at_once<T>(mut body: BodyFuture<'_, T>) -> Result<T> {
    match body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(Error::unavailable(
            "a transaction waited for something else than the database",
        )),
    }
}
