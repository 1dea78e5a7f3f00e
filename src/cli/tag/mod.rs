//! `seawall tag`: asks a running server where a tag pointed over time, and has it put one back. Everything goes over the
//! management API, through the server's socket unless a URL is given.

mod arguments;
mod history;
mod restore;
mod run;

pub use arguments::{Arguments, Command, HistoryArguments, RestoreArguments};
pub(super) use run::run;
