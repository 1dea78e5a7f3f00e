//! Rule "module doc": every file opens with `//!` lines that say what it is for.
//! It cannot judge the words, only that they are there and come first.

use super::run::Finding;
use super::source::Source;

/// Returns a finding if the first line with anything on it is not a `//!` with text.
pub(crate) fn check(source: &Source) -> Option<Finding> {
    let first = source.text.lines().position(|line| !line.trim().is_empty());
    let opens_with_doc = first.is_some_and(|index| {
        source
            .text
            .lines()
            .nth(index)
            .and_then(|line| line.strip_prefix("//!"))
            .is_some_and(|doc| !doc.trim().is_empty())
    });
    (!opens_with_doc).then(|| Finding {
        path: source.path.clone(),
        line: first.map_or(1, |index| index + 1),
        rule: "module doc",
        advice: "open the file with two to five `//!` lines: what it is for, what it must never do"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::Source;

    fn is_found(text: &str) -> bool {
        check(&Source::new("src/a.rs".to_owned(), text.to_owned())).is_some()
    }

    #[test]
    fn a_file_that_opens_with_its_doc_is_fine() {
        assert!(!is_found("//! Pulls blobs.\nuse a::b;\n"));
        assert!(!is_found("\n//! Pulls blobs.\n"));
    }

    #[test]
    fn a_file_without_or_with_an_empty_or_late_doc_is_found() {
        for text in [
            "",
            "use a::b;\n",
            "//!\nuse a::b;\n",
            "use a::b;\n//! Late.\n",
            "/// An item's doc.\nfn f() {}\n",
        ] {
            assert!(is_found(text), "{text:?}");
        }
    }
}
