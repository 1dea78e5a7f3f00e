//! The sessions of a process: a bounded number that goes round. One that failed is not used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Config;

use super::session::Session;
use crate::error::{Error, Result};

/// Long enough for a server that is there.
const CONNECT: Duration = Duration::from_secs(5);

/// The sessions of one open database.
pub(crate) struct Sessions {
    config: Config,
    limit: Duration,
    most: u32,
    slots: Arc<Semaphore>,
    /// Sessions nobody uses now, outside of any transaction.
    idle: Mutex<Vec<Session>>,
}

/// The right to use one session.
pub(crate) type Slot = OwnedSemaphorePermit;

impl Sessions {
    /// Returns sessions that are opened when they are needed, at most `most`.
    pub(crate) fn new(mut config: Config, limit: Duration, most: u32) -> Self {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        Self {
            config,
            limit,
            most,
            slots: Arc::new(Semaphore::new(most as usize)),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a session may be used.
    pub(crate) async fn slot(&self) -> Result<Slot> {
        let slot = self.slots.clone().acquire_owned().await;
        slot.map_err(|_| Error::Closed)
    }

    /// Returns a session nobody uses, if there is one; it may be broken. For somebody who has a slot.
    pub(crate) fn reuse(&self) -> Option<Session> {
        self.idle().pop()
    }

    /// Opens another session. For somebody who has a slot.
    pub(crate) async fn connect(&self) -> Result<Session> {
        Session::connect(&self.config, self.limit).await
    }

    /// Takes a session back on which no transaction is open.
    pub(crate) fn give_back(&self, session: Session) {
        self.idle().push(session);
    }

    /// Waits for what is under way, refuses everything after it and closes the sessions.
    pub(crate) async fn close(&self) {
        // An error means that they are closed already.
        if let Ok(all) = self.slots.acquire_many(self.most).await {
            self.slots.close();
            drop(all);
        }
        self.idle().clear();
    }
}
