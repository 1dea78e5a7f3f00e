//! An empty SQLite file for each clause.

use std::future::Future;

use crate::Metadata;
use crate::clock::tests::{FakeClock, NOON};
use crate::contract::support::World;

/// Runs a clause on a database of its own.
pub(crate) async fn run<F: Future<Output = ()>>(clause: impl FnOnce(World) -> F) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = FakeClock::at(NOON);
    let metadata = Metadata::open(&directory.path().join(crate::FILE_NAME), clock.clone());
    let metadata = metadata.expect("a new database opens");
    clause(World {
        metadata: metadata.clone(),
        clock,
    })
    .await;
    metadata.close().await;
}
