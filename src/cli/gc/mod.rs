//! `seawall gc`: asks a running server how its collector stands, has it collect now, and pauses it. Everything goes over the
//! management API. `seawall garbage-collect`, which also works where no server runs, is a command of its own.

mod arguments;
mod run;
mod status;

pub use arguments::{Arguments, Command, RunArguments};
pub(super) use run::run;
