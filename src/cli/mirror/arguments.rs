//! What may be typed after `seawall mirror`.

use clap::{Args, Subcommand};

use crate::cli::server::ServerArguments;

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
