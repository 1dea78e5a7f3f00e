//! What may be typed after `seawall gc`.

use clap::{Args, Subcommand};

use crate::cli::server::ServerArguments;
use crate::config::parse_duration;

/// Arguments of `gc`.
#[derive(Debug, Clone, Args)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with the collector.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show what the collector does, what waits for it, and how its last run went
    Status(ServerArguments),
    /// Collect now what nothing names any more
    Run(RunArguments),
    /// Keep the collector from running by itself, also after a restart
    Pause(ServerArguments),
    /// Let the collector run by itself again
    Resume(ServerArguments),
}

/// Arguments of `gc run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Collect what nothing has named for so long, as in 0s or 1h30m; leases count all the same [default: the server's gc.grace]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub grace: Option<String>,
    /// Collect manifests too that no tag names and nothing else keeps [default: the server's gc.deleteuntagged]
    #[arg(short = 'm', long)]
    pub delete_untagged: bool,
    /// Tell only what would go
    #[arg(short = 'd', long)]
    pub dry_run: bool,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    pub detach: bool,
    /// Which server, and how to print.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Checks a time and leaves it as it was written, as the API takes it.
fn time(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

impl Arguments {
    /// Returns which server is meant, and how to print.
    pub(super) fn server(&self) -> &ServerArguments {
        match &self.command {
            Command::Status(server) | Command::Pause(server) | Command::Resume(server) => server,
            Command::Run(run) => &run.server,
        }
    }
}
