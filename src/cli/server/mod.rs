//! The running server as commands see it: its management API, through the socket in the state directory unless a URL is
//! given, and its jobs, which are waited for and shown.

mod arguments;
mod connection;
mod follow;
mod job;
mod moment;

pub use arguments::{Format, ServerArguments};
pub(super) use connection::{Server, printable};
pub(super) use follow::{Shown, follow, follow_lines};
pub(super) use job::{Job, Progress};
pub(super) use moment::moment;
