//! The patterns a configuration may hold. One that can fit nothing is refused: in `deny` it would leave open what it
//! should close, in `cache.pin` it would lose what it should keep.

use oci::Glob;

use super::problems::Problems;
use super::section::{Field, Section};

/// Reads a pattern over repository names, as an upstream has them.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn repository_pattern(text: &str) -> Result<Glob, String> {
    let glob = Glob::parse(text).map_err(|error| error.to_string())?;
    let (before, last) = text.rsplit_once('/').unwrap_or(("", text));
    if last.contains(':') || text.contains('@') {
        return Err(format!(
            "{text:?} names a tag or digest; whole repositories are expected, like library/**"
        ));
    }
    // The first of several components may be a host, in upper case and with a port.
    let after_host = before.split_once('/').map_or("", |(_, inner)| inner);
    let is_upper = |part: &str| part.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_odd = text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii());
    if is_upper(last) || is_upper(after_host) || is_odd || is_misplaced_slash(text) {
        return Err(fits_none(text, "repository"));
    }
    Ok(glob)
}

/// Reads a pattern over tags.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn tag_pattern(text: &str) -> Result<Glob, String> {
    let glob = Glob::parse(text).map_err(|error| error.to_string())?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-*?[]!^".contains(c);
    if !text.chars().all(allowed) {
        return Err(fits_none(text, "tag"));
    }
    Ok(glob)
}

/// Reads a pattern over `<mirror>/<repository>:<tag>`.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn image_pattern(text: &str) -> Result<Glob, String> {
    let glob = Glob::parse(text).map_err(|error| error.to_string())?;
    let (_, last) = text.rsplit_once('/').unwrap_or(("", text));
    // A star, a question mark or a set can stand for the colon too.
    if !last.contains([':', '*', '?', '[']) {
        return Err(format!(
            "{text:?} names no tag; {:?} fits all of them",
            format!("{text}:*")
        ));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) || is_misplaced_slash(text) {
        return Err(fits_none(text, "image"));
    }
    Ok(glob)
}

/// Returns the elements of a list of patterns. One that is empty is an error, not an element less: without its last
/// element `allow` would allow everything.
pub(super) fn pattern_fields<'t>(list: &Section<'t>, problems: &mut Problems) -> Vec<Field<'t>> {
    let mut fields = Vec::new();
    for element in list.elements() {
        if element.is_empty_value() {
            element.error(problems, "a pattern is empty");
        } else {
            fields.extend(element.value(problems));
        }
    }
    fields
}

/// Reads a list of patterns, every element with `parse`.
pub(super) fn patterns(
    list: &Section<'_>,
    parse: impl Fn(&str) -> Result<Glob, String>,
    problems: &mut Problems,
) -> Vec<Glob> {
    let fields = pattern_fields(list, problems);
    let read = |field: &Field<'_>| field.parse(problems, &parse);
    fields.iter().filter_map(read).collect()
}

fn is_misplaced_slash(text: &str) -> bool {
    text.starts_with('/') || text.ends_with('/') || text.contains("//")
}

fn fits_none(text: &str, what: &str) -> String {
    format!("{text:?} can fit no {what}")
}

#[cfg(test)]
mod tests {
    use super::{image_pattern, repository_pattern, tag_pattern};

    #[test]
    fn a_pattern_of_repositories_names_no_tag_and_can_fit_something() {
        for good in [
            "**",
            "library/**",
            "library/secret*",
            "a?c/[a-z]*",
            "Other.Example:5000/**",
        ] {
            assert!(repository_pattern(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "library/nginx:latest",
            "a@sha256:0",
            "/library",
            "library/",
            "a//b",
            "Nginx",
            "a/Nginx/b",
            "a/Nginx",
            "a b",
            "ü",
            "a[",
        ] {
            assert!(repository_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_of_tags_holds_what_tags_can_hold() {
        for good in ["latest", "v*", "[0-9]*", "1.?-Alpine_x", "*", "[!a]*", "**"] {
            assert!(tag_pattern(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a:b", "sha256:*", "a b", "[", "ü"] {
            assert!(tag_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_of_images_reaches_a_tag() {
        for good in [
            "docker.io/library/debian:*",
            "docker.io/**",
            "**:1.*",
            "quay.io/a/b*",
        ] {
            assert!(image_pattern(good).is_ok(), "{good}");
        }
        for bad in ["", "docker.io/library/debian", "/a:b", "a b:c", "a//b:c"] {
            assert!(image_pattern(bad).is_err(), "{bad}");
        }
    }
}
