//! The servers that are compared and the client that loads them.

pub(crate) mod client;
pub(crate) mod server;
