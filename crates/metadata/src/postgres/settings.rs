//! How a PostgreSQL is reached, and how long it may take.

use std::time::Duration;

/// Where the database is and what a process may ask of it.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Where it is: `postgres://user@host/database`, or `key=value` pairs. Secret when it holds a password. The
    /// connection is not encrypted.
    pub url: String,
    /// The most sessions at once; who finds none free waits.
    pub sessions: u32,
    /// How long a write or a read may take, all its attempts included. The server ends what the program could not, after as long
    /// again, so that this is at most an eighth of the lease.
    pub limit: Duration,
}
