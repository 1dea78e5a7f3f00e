//! The socket part of the HTTP server: listening, the connection cap, timeouts, the guard over what
//! comes in on the wire, and the drain at the end. HTTP/1 only, by hyper.
//! It must never know what a request means: a [`Handler`] gets each one and answers it.

mod body;
mod connection;
mod framing;
mod guard;
mod head_scan;
mod host;
mod listener;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

pub use body::{BodyOut, RequestBody};
pub use connection::{Handler, Limits, PeerInfo};
pub use listener::{Server, bind};
pub use socket::LocalSocket;
