//! What only this engine promises.

use std::sync::Arc;

use super::pause::Pause;

/// What a test makes different.
#[derive(Clone, Default)]
pub(crate) struct InTests {
    /// Where the transactions of this handle stop.
    pub(crate) pause: Option<Arc<Pause>>,
    /// Whether writers do without the guarantee.
    pub(crate) unguarded: bool,
}
