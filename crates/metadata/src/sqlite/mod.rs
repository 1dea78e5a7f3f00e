//! The embedded engine: one SQLite file in WAL mode, one writer thread that commits in groups, a few readers.
//! Must never be used on a network filesystem, whose locks SQLite cannot trust.

mod connection;
mod poll;
mod readers;
mod writer;

pub(crate) use connection::{Access, Connection};
pub(crate) use poll::finish_at_once;
pub(crate) use readers::Readers;
pub(crate) use writer::Writer;
