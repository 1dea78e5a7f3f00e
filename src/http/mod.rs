//! HTTP: what comes in on the socket becomes a parsed, admitted request for `registry`, and what comes
//! out becomes a status and headers. Nothing here touches stored bytes, the database or upstreams.

mod access_log;
mod api;
mod base_url;
mod context;
mod door;
mod error;
mod gate;
mod respond;
mod root;
pub mod server;
#[cfg(test)]
mod tests;
mod v2;
mod watch;

pub use context::{Context, MANIFEST_BUDGET_KIB, Settings};
pub use door::Door;
pub use root::handler;
