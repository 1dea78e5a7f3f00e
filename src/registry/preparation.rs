//! What a start has to finish before requests can be served, such as adopting what another registry stored. Told to whoever
//! asks meanwhile, without paths.

use std::sync::{Arc, PoisonError, RwLock};

use super::error::Error;

/// What is still to be finished, if anything. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Preparation {
    what: Arc<RwLock<Option<String>>>,
}

impl Preparation {
    /// Says what is being done and how far it is; requests are refused from now on.
    pub fn tell(&self, what: String) {
        *self.what.write().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// Says that all is done; requests are served from now on.
    pub fn end(&self) {
        *self.what.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Refuses a request while something is being done.
    ///
    /// # Errors
    /// [`Error::Preparing`].
    pub fn check(&self) -> Result<(), Error> {
        match &*self.what.read().unwrap_or_else(PoisonError::into_inner) {
            Some(what) => Err(Error::Preparing { what: what.clone() }),
            None => Ok(()),
        }
    }
}
