//! What may be typed after `seawall mirror`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::ConfigurationArguments;

/// Arguments of `mirror`.
#[derive(Debug, Clone, Args)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with the mirrors.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show each mirror's health, hits, bytes saved and rate limit, and the size of the cache
    Status(ServerArguments),
    /// Fetch images before anybody asks for them
    Warm(WarmArguments),
    /// Forget mirrored images and free what only they use
    Purge(PurgeArguments),
}

/// Arguments of `mirror warm`.
#[derive(Debug, Clone, Args)]
pub struct WarmArguments {
    /// An image as clients write it: nginx, quay.io/team/app:1.2, ghcr.io/team/app@sha256:…; a tag may be a pattern
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Fetch this platform, as in linux/amd64; may be repeated [default: all that an image has]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,
    /// Print the job's number and do not wait for it
    #[arg(long)]
    pub detach: bool,
    /// Which server, and how to print.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Arguments of `mirror purge`.
#[derive(Debug, Clone, Args)]
pub struct PurgeArguments {
    /// A pattern over MIRROR/REPOSITORY:TAG, as in 'docker.io/library/nginx:*'; ** goes across slashes
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Which server, and how to print.
    #[command(flatten)]
    pub server: ServerArguments,
}

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
