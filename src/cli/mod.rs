//! The command line: one file per command, each of which parses, calls and prints.
//! Nothing here decides anything; failures become one line on stderr and exit code 1, misuse exit code 2.

pub mod backup;
pub mod check_config;
pub mod client_config;
mod command_line;
mod configuration;
pub mod export_links;
mod findings;
pub mod fsck;
pub mod garbage_collect;
pub mod gc;
pub mod import;
pub mod mirror;
mod offline;
mod outcome;
pub mod restore;
mod run;
pub mod scrub;
pub mod serve;
pub mod server;
pub mod tag;

pub use command_line::{Command, CommandLine};
pub use configuration::{ConfigurationArguments, ConfigurationArgumentsWithFile};
pub use outcome::{Failure, Output};
pub use run::{Streams, run};
