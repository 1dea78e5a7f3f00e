//! The grammar of paths below `/repositories`: a repository's name stands raw, slashes and all, and ends at `/-/`, which no
//! name contains.

use oci::{RepositoryName, Tag};

use super::problem::Problem;

/// A tag of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TagName {
    /// The repository, under the name it is stored by.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
}

/// What can be asked about a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TagNoun {
    History,
    Restore,
}

/// Reads what follows `/repositories/`.
pub(super) fn parse(path: &str) -> Result<(TagName, TagNoun), Problem> {
    let (repository, below) = path.split_once("/-/").ok_or_else(Problem::not_found)?;
    let segments: Vec<&str> = below.splitn(4, '/').collect();
    let (tag, noun) = match segments.as_slice() {
        ["tags", tag, "history"] => (*tag, TagNoun::History),
        ["tags", tag, "restore"] => (*tag, TagNoun::Restore),
        _ => return Err(Problem::not_found()),
    };
    let wrong = |error: oci::NameError| Problem::bad_request(error.to_string());
    let repository = RepositoryName::parse(repository).map_err(wrong)?;
    let tag = Tag::parse(tag).map_err(wrong)?;
    Ok((TagName { repository, tag }, noun))
}
