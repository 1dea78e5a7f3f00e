//! `seawall mirror`: asks a running server how its mirrors stand, and tells it to fetch or forget images.
//! Everything goes over the management API, through the server's socket unless a URL is given.

mod arguments;
mod follow;
mod job;
mod purge;
mod run;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod warm;

pub use arguments::{Arguments, Command, Format, PurgeArguments, ServerArguments, WarmArguments};
pub(super) use run::run;
