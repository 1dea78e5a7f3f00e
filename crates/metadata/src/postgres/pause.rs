//! Stops a transaction before one of its statements, so that a test can let another one run in between.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Where a transaction stops, once.
pub(crate) struct Pause {
    state: Mutex<State>,
}

struct State {
    /// The statements that still pass.
    left: usize,
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
    /// Returns a pause before the statement number `before`, counted from 0 over all transactions of a database
    /// handle, commits included.
    pub(crate) fn before(before: usize) -> (Self, Paused) {
        let ((reached, is_reached), (release, go)) = (oneshot::channel(), oneshot::channel());
        let state = Mutex::new(State {
            left: before,
            stop: Some(Stop { reached, go }),
        });
        let paused = Paused {
            reached: is_reached,
            go: release,
        };
        (Self { state }, paused)
    }

    /// Waits when it is the turn.
    pub(crate) async fn before_a_statement(&self) {
        let stop = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.left.checked_sub(1) {
                Some(left) => {
                    state.left = left;
                    None
                }
                None => state.stop.take(),
            }
        };
        if let Some(stop) = stop {
            // Whoever does not listen any more does not want to wait either.
            let _ = stop.reached.send(());
            let _ = stop.go.await;
        }
    }
}
