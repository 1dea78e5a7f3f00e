//! A point that one side reaches and the other side opens, so that a story can hold the world still
//! without sleeping. Every wait ends in a panic rather than in a hang.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long anything in a story may take before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A closed gate; clones are the same gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    arrivals: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// Returns a closed gate that nobody has reached.
    pub(crate) fn closed() -> Self {
        Self {
            arrivals: Arc::new(watch::Sender::new(0)),
            open: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Says "here" and waits until the gate is open.
    pub(crate) async fn pass(&self) {
        self.arrivals.send_modify(|count| *count += 1);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
    }

    /// Waits until somebody stands at the gate.
    pub(crate) async fn reached(&self) {
        let mut arrivals = self.arrivals.subscribe();
        timeout(PATIENCE, arrivals.wait_for(|count| *count > 0))
            .await
            .expect("nobody reached the gate in time")
            .expect("the gate owns its sender, so the channel is open");
    }

    /// Lets everybody through, now and later.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}
