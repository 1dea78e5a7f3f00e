//! Which server a command asks, and how it prints: the options of every command that speaks to a running server.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::ConfigurationArguments;

/// Which server to ask, and how to print what it says.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArguments {
    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    pub output: Format,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Ask the server at this URL, as in https://registry.example.org; else the one that runs on this machine with this configuration
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The token for --server; SEAWALL_TOKEN does the same and is not shown to other users
    #[arg(long, value_name = "TOKEN", requires = "server")]
    pub token: Option<String>,
    /// The file that holds the token for --server
    #[arg(
        long,
        value_name = "FILE",
        requires = "server",
        conflicts_with = "token"
    )]
    pub tokenfile: Option<PathBuf>,
    /// Where the configuration comes from, and from it the server's socket.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// A form of output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
