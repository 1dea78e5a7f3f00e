//! Names that come from outside: repositories, tags, upload ids. Hand-written ASCII grammars; what does
//! not fit is refused here and never reaches a path or a query.

use std::fmt;
use std::sync::Arc;

use crate::digest::{Digest, DigestError};
use crate::quote::quote;

/// The longest repository name, in bytes, as in Distribution.
const LONGEST_NAME: usize = 255;

/// The longest tag, in bytes (distribution-spec).
const LONGEST_TAG: usize = 128;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a repository name.
    #[error("repository name \"{value}\" is invalid")]
    Repository {
        /// The text, cut and escaped.
        value: String,
    },
    /// A repository name of more than 255 bytes.
    #[error("repository name \"{value}\" is longer than 255 characters")]
    TooLong {
        /// The text, cut and escaped.
        value: String,
    },
    /// Not a tag.
    #[error("tag \"{value}\" is invalid")]
    Tag {
        /// The text, cut and escaped.
        value: String,
    },
    /// Not a digest, where a tag cannot stand.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Not an upload id.
    #[error("upload id \"{value}\" is invalid")]
    UploadId {
        /// The text, cut and escaped.
        value: String,
    },
}

/// Splits an image as people write it into the repository and what stands for its tag; a colon before the last slash
/// belongs to a port. Neither part is checked, and either may be a pattern.
pub fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        Some(_) | None => (image, None),
    }
}

/// The name of a repository: the grammar of the distribution-spec, and before it a host, in upper case
/// and with a port if need be, as Distribution takes it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NameError::TooLong`], [`NameError::Repository`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong { value: quote(text) });
        }
        let invalid = || NameError::Repository { value: quote(text) };
        let mut components = text.split('/');
        let first = components.next().ok_or_else(invalid)?;
        let rest_fits = components.clone().all(is_component);
        let has_rest = components.next().is_some();
        if rest_fits && (is_component(first) || (has_rest && is_host(first))) {
            Ok(Self(text.into()))
        } else {
            Err(invalid())
        }
    }

    /// Returns `<prefix>/<name>`.
    ///
    /// # Errors
    /// As [`RepositoryName::parse`].
    pub fn join(prefix: &str, name: &Self) -> Result<Self, NameError> {
        Self::parse(&format!("{prefix}/{name}"))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the components.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the first component.
    pub fn first_component(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(first, _)| first)
    }

    /// Returns the name without its first component, if that leaves one.
    pub fn rest_after_first(&self) -> Option<Self> {
        let (_, rest) = self.0.split_once('/')?;
        Self::parse(rest).ok()
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+` runs joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !is_alphanumeric(first) || !is_alphanumeric(last) {
        return false;
    }
    bytes
        .chunk_by(|a, b| is_alphanumeric(a) == is_alphanumeric(b))
        .all(|run| is_alphanumeric(&run[0]) || is_separator(run))
}

fn is_separator(run: &[u8]) -> bool {
    matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-')
}

/// A host: dot-separated labels of letters, digits and inner hyphens, and a port.
fn is_host(text: &str) -> bool {
    let (labels, port) = match text.split_once(':') {
        Some((labels, port)) => (labels, Some(port)),
        None => (text, None),
    };
    let port_fits = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
    });
    port_fits
        && labels.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// A tag.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// Parses a tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
    ///
    /// # Errors
    /// [`NameError::Tag`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let starts = bytes
            .first()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let fits = bytes.len() <= LONGEST_TAG
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
        if starts && fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Tag { value: quote(text) })
        }
    }

    /// Returns the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a manifest is asked for by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl Reference {
    /// Parses a reference: with a colon it is a digest, else a tag.
    ///
    /// # Errors
    /// [`NameError::Digest`], [`NameError::Tag`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            Ok(Self::Digest(Digest::parse(text)?))
        } else {
            Tag::parse(text).map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

/// The id of an upload: a UUID in its canonical form. Whoever knows it and may push may continue the
/// upload, so it is made from the operating system's generator elsewhere, and only parsed here.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// Parses the canonical form, lower-case hex in groups of 8-4-4-4-12.
    ///
    /// # Errors
    /// [`NameError::UploadId`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError::UploadId { value: quote(text) })
        }
    }

    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{NameError, Reference, RepositoryName, Tag, UploadId, split_tag};

    #[test]
    fn names_of_the_specification_and_hosts_before_them_are_taken() {
        for name in [
            "a",
            "library/nginx",
            "a/b/c/d/e",
            "a.b_c__d---e/0",
            "docker.io/library/nginx",
            "localhost:5000/app",
            "Registry.Example:443/team/app",
            &"a".repeat(255),
        ] {
            assert!(RepositoryName::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "_a",
            ".",
            "..",
            "a/..",
            "a/./b",
            "a b",
            "é",
            "a%2fb",
            "a:1",
            "h:123456/a",
            "h:/a",
            "a\0",
            "-h.example/a",
            "_uploads",
            "a/_manifests",
        ] {
            assert!(RepositoryName::parse(name).is_err(), "{name}");
        }
        let long = RepositoryName::parse(&"a".repeat(256));
        assert!(matches!(long, Err(NameError::TooLong { .. })));
    }

    #[test]
    fn the_first_component_comes_off() {
        let name = RepositoryName::parse("docker.io/library/nginx").expect("a name");
        assert_eq!(name.first_component(), "docker.io");
        let rest = name.rest_after_first().expect("a rest");
        assert_eq!(rest.as_str(), "library/nginx");
        let joined = RepositoryName::join("quay.io", &rest).expect("a name");
        assert_eq!(joined.as_str(), "quay.io/library/nginx");
    }

    #[test]
    fn tags_follow_their_grammar() {
        for tag in ["latest", "_", "1.2.3", "A-b_c.d", &"x".repeat(128)] {
            assert!(Tag::parse(tag).is_ok(), "{tag}");
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "a+b", "ü", &"x".repeat(129)] {
            assert!(Tag::parse(tag).is_err(), "{tag}");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        assert!(matches!(Reference::parse("latest"), Ok(Reference::Tag(_))));
        let refused = Reference::parse("sha256:abc");
        assert!(matches!(refused, Err(NameError::Digest(_))));
    }

    #[test]
    fn an_upload_id_is_exactly_a_canonical_uuid() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert!(UploadId::parse(id).is_ok());
        let upper = id.to_uppercase();
        let slashed = id.replacen('0', "/", 1);
        for bad in [
            "",
            &id[1..],
            &upper,
            "../../../../../../../../etc/passwd-",
            &slashed,
        ] {
            assert!(UploadId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_tag_of_an_image_stands_behind_the_last_slash() {
        for (image, repository, tag) in [
            (
                "docker.io/library/nginx:1.25",
                "docker.io/library/nginx",
                Some("1.25"),
            ),
            (
                "registry.example:5000/app",
                "registry.example:5000/app",
                None,
            ),
            (
                "registry.example:5000/app:*",
                "registry.example:5000/app",
                Some("*"),
            ),
            ("registry.example:5000/**", "registry.example:5000/**", None),
            ("nginx:", "nginx", Some("")),
            ("nginx", "nginx", None),
        ] {
            assert_eq!(split_tag(image), (repository, tag));
        }
    }
}
