//! `seawall mirror`: asks a running server how its mirrors stand, and tells it to fetch or forget images.
//! Everything goes over the management API, through the server's socket unless a URL is given.

mod arguments;
mod purge;
mod run;
mod status;
#[cfg(test)]
mod tests;
mod warm;

pub use arguments::{Arguments, Command, PurgeArguments, WarmArguments};
pub(super) use run::run;
