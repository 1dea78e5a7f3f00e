//! What may be typed after `seawall tag`.

use clap::{Args, Subcommand};
use oci::{Digest, RepositoryName, Tag, split_tag};

use crate::cli::server::ServerArguments;

/// Arguments of `tag`.
#[derive(Debug, Clone, Args)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with a tag.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show where a tag pointed, when it was moved and by whom
    History(HistoryArguments),
    /// Point a tag to what it pointed to before; a deleted one too, while its image is still here
    Restore(RestoreArguments),
}

/// A tag of a repository, as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagName {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
}

/// Arguments of `tag history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArguments {
    /// The tag, as in team/app:1.2; mirrored ones as in docker.io/library/nginx:1.27
    #[arg(value_name = "REPOSITORY:TAG", value_parser = tag_name)]
    pub name: TagName,
    /// Which server, and how to print.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// Arguments of `tag restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArguments {
    /// The tag, as in team/app:1.2
    #[arg(value_name = "REPOSITORY:TAG", value_parser = tag_name)]
    pub name: TagName,
    /// A digest that the tag once pointed to [default: the one before its last move]
    #[arg(value_name = "DIGEST", value_parser = digest)]
    pub digest: Option<Digest>,
    /// Which server, and how to print.
    #[command(flatten)]
    pub server: ServerArguments,
}

fn tag_name(text: &str) -> Result<TagName, String> {
    let (repository, tag) = split_tag(text);
    let tag = tag.ok_or_else(|| "no tag is named: write REPOSITORY:TAG".to_owned())?;
    Ok(TagName {
        repository: RepositoryName::parse(repository).map_err(|error| error.to_string())?,
        tag: Tag::parse(tag).map_err(|error| error.to_string())?,
    })
}

fn digest(text: &str) -> Result<Digest, String> {
    Digest::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::tag_name;

    #[test]
    fn a_tag_is_named_with_its_repository() {
        let named = tag_name("docker.io/library/nginx:1.27").expect("a tag");
        assert_eq!(named.repository.as_str(), "docker.io/library/nginx");
        assert_eq!(named.tag.as_str(), "1.27");
        for wrong in [
            "team/app",
            "localhost:5000/app",
            "team/app:",
            "team/App:v1",
            ":v1",
        ] {
            tag_name(wrong).expect_err(wrong);
        }
    }
}
