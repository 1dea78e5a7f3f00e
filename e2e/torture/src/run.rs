//! What every suite is given: the programs, a folder of its own and the seed.

use std::path::PathBuf;

use crate::random::Random;
use crate::server::Setup;

/// One run of a suite.
#[derive(Debug)]
pub(crate) struct Run {
    /// The server under test.
    pub(crate) seawall: PathBuf,
    /// The program made of `faults.c`.
    pub(crate) faults: PathBuf,
    /// An existing folder in which everything happens.
    pub(crate) home: PathBuf,
    pub(crate) random: Random,
    /// The one part of the suite to run.
    pub(crate) only: Option<String>,
}

impl Run {
    /// Returns the setup of a server with its data in a folder of this run.
    pub(crate) fn setup(&self, name: &str) -> Setup {
        Setup::new(&self.seawall, &self.home, name)
    }
}
