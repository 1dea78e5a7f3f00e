//! Stops a transaction before one of its statements, so that a test can let another one run in between.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Where a transaction stops, once.
pub(crate) struct Pause {
    touches: Box<dyn Fn(&str) -> bool + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    /// The places that are still passed.
    left: usize,
    /// Whether the next statement is at a place where stopping is not the same as at the one before.
    is_place: bool,
    stop: Option<Stop>,
}

struct Stop {
    reached: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

/// The other side of a [`Pause`].
pub(crate) struct Paused {
    /// Answers when the statement is reached; fails when it never is.
    pub(crate) reached: oneshot::Receiver<()>,
    /// Lets the transaction go on.
    pub(crate) go: oneshot::Sender<()>,
}

impl Pause {
    /// Returns a pause at the place number `at`, counted from 0 over all transactions of a database handle. The first statement is a
    /// place, and whatever follows one that `touches` what the other transaction has to do with; commits are statements.
    pub(crate) fn at(
        at: usize,
        touches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> (Self, Paused) {
        let ((reached, is_reached), (release, go)) = (oneshot::channel(), oneshot::channel());
        let state = Mutex::new(State {
            left: at,
            is_place: true,
            stop: Some(Stop { reached, go }),
        });
        let paused = Paused {
            reached: is_reached,
            go: release,
        };
        let touches = Box::new(touches);
        (Self { touches, state }, paused)
    }

    /// Returns a pause before the statement number `at`, counted from 0.
    pub(crate) fn before(at: usize) -> (Self, Paused) {
        Self::at(at, |_| true)
    }

    /// Waits when it is the turn.
    pub(crate) async fn before_a_statement(&self, sql: &str) {
        let stop = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let here = std::mem::replace(&mut state.is_place, (self.touches)(sql));
            match state.left.checked_sub(1) {
                Some(left) if here => {
                    state.left = left;
                    None
                }
                None if here => state.stop.take(),
                Some(_) | None => None,
            }
        };
        if let Some(stop) = stop {
            // Whoever does not listen any more does not want to wait either.
            let _ = stop.reached.send(());
            let _ = stop.go.await;
        }
    }
}
