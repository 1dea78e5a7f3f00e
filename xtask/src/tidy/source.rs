//! One Rust file as the rules see it: path, text, tokens, and which tokens are test code.
//! It knows Rust's shape only as far as braces, attributes and `use` trees; it never resolves names.

use super::tokens::{Token, tokens};

/// A Rust file of the workspace.
pub(crate) struct Source {
    /// The path relative to the workspace's root, with forward slashes.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// A path written in the code: `crate::http::error` as its segments, with the line it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenPath<'a> {
    /// The segments in order; the first may be `crate`, `super`, `self` or a crate's name.
    pub(crate) segments: Vec<&'a str>,
    /// The line of the last segment, counted from 1.
    pub(crate) line: usize,
    /// How many `mod name { … }` of this file surround it.
    pub(crate) inline_modules: usize,
}

impl Source {
    /// Returns the file `path` with its text.
    pub(crate) fn new(path: String, text: String) -> Self {
        Self { path, text }
    }

    /// Returns whether the whole file is test code: under a `tests` folder or named `tests.rs`.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
    }

    /// Returns all tokens, test code included.
    pub(crate) fn tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.text)
    }

    /// Returns the tokens without the items that exist only under `#[cfg(test)]`.
    pub(crate) fn production_tokens(&self) -> Vec<Token<'_>> {
        if self.is_test_file() {
            return Vec::new();
        }
        let all = self.tokens();
        let mut kept = Vec::with_capacity(all.len());
        let mut at = 0;
        while at < all.len() {
            match test_attribute_end(&all, at) {
                Some(after) => at = item_end(&all, after),
                None => {
                    kept.push(all[at]);
                    at += 1;
                }
            }
        }
        kept
    }
}

/// Returns the index behind the attribute at `at` if it is a `#[cfg(…)]` that asks for `test`.
fn test_attribute_end(all: &[Token<'_>], at: usize) -> Option<usize> {
    let texts: Vec<&str> = all[at..].iter().take(3).map(|token| token.text).collect();
    if texts != ["#", "[", "cfg"] {
        return None;
    }
    let end = closing(all, at + 1);
    let words = || all[at..end].iter().map(|token| token.text);
    (words().any(|word| word == "test") && !words().any(|word| word == "not")).then_some(end)
}

/// Returns the index behind the item that begins at `at`: behind its `;`, or behind its braces.
fn item_end(all: &[Token<'_>], mut at: usize) -> usize {
    while at < all.len() {
        match all[at].text {
            ";" => return at + 1,
            "{" => {
                let end = closing(all, at);
                // A `use a::{b};` goes on after its braces; other items end with them.
                return if all.get(end).is_some_and(|token| token.text == ";") {
                    end + 1
                } else {
                    end
                };
            }
            "(" | "[" => at = closing(all, at),
            _ => at += 1,
        }
    }
    at
}

/// Returns the index behind the bracket that closes the one at `open`.
pub(crate) fn closing(all: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    all.len()
}

/// Returns every path with at least two segments or a `use` in front, groups taken apart:
/// `use a::{b, c::d}` gives `a::b` and `a::c::d`.
pub(crate) fn written_paths<'a>(all: &[Token<'a>]) -> Vec<WrittenPath<'a>> {
    let mut found = Vec::new();
    let mut module_ends: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < all.len() {
        module_ends.retain(|end| at < *end);
        let next = |offset: usize| all.get(at + offset).map(|token| token.text);
        let text = all[at].text;
        let before = at.checked_sub(1).map(|index| all[index].text);
        if text == "mod" && next(2) == Some("{") {
            module_ends.push(closing(all, at + 2));
            at += 2;
        } else if text == "use" && next(1) != Some("<") {
            at = tree(all, at + 1, &mut Vec::new(), module_ends.len(), &mut found);
        } else if all[at].is_word() && next(1) == Some("::") && before != Some("::") {
            at = tree(all, at, &mut Vec::new(), module_ends.len(), &mut found);
        } else if text == "::" && next(1).is_some() && !ends_a_path_prefix(all, at) {
            at = tree(all, at + 1, &mut Vec::new(), module_ends.len(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Returns whether the `::` at `at` goes on from something (`Vec<u8>::new`) instead of opening an absolute path.
fn ends_a_path_prefix(all: &[Token<'_>], at: usize) -> bool {
    at.checked_sub(1)
        .is_some_and(|index| all[index].is_word() || matches!(all[index].text, ">" | "]" | ")"))
}

/// Reads one `use` tree or path from `at`, adds its leaves to `found`, and returns the index behind it.
fn tree<'a>(
    all: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    inline_modules: usize,
    found: &mut Vec<WrittenPath<'a>>,
) -> usize {
    let depth = prefix.len();
    let mut line = all.get(at).map_or(0, |token| token.line);
    while let Some(token) = all.get(at) {
        if token.text == "::" {
            at += 1;
        } else if token.text == "{" {
            let end = closing(all, at);
            at += 1;
            while at + 1 < end {
                if all[at].text == "," {
                    at += 1;
                } else {
                    at = tree(all, at, prefix, inline_modules, found).max(at + 1);
                }
            }
            prefix.truncate(depth);
            return end;
        } else if token.is_word() || token.text == "*" {
            prefix.push(token.text);
            line = token.line;
            at += 1;
            if all.get(at).is_none_or(|next| next.text != "::") {
                break;
            }
        } else {
            break;
        }
    }
    if prefix.len() > depth {
        found.push(WrittenPath {
            segments: prefix.clone(),
            line,
            inline_modules,
        });
    }
    prefix.truncate(depth);
    // `as name` belongs to the leaf before it.
    if all.get(at).is_some_and(|token| token.text == "as") {
        at + 2
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, written_paths};

    fn source(path: &str, text: &str) -> Source {
        Source::new(path.to_owned(), text.to_owned())
    }

    fn paths(text: &str) -> Vec<String> {
        let source = source("src/a.rs", text);
        written_paths(&source.production_tokens())
            .into_iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_taken_apart_and_renames_ignored() {
        assert_eq!(
            paths("use crate::{a::{b as c, d}, e::self};"),
            ["crate::a::b", "crate::a::d", "crate::e::self"]
        );
    }

    #[test]
    fn paths_inside_expressions_and_types_are_found() {
        assert_eq!(
            paths("fn f(x: crate::a::B<crate::c::D>) { ::std::fs::read(1); Vec::<u8>::new(); }"),
            ["crate::a::B", "crate::c::D", "std::fs::read", "Vec"]
        );
    }

    #[test]
    fn code_under_cfg_test_is_not_production() {
        let text = "use a::b;\n#[cfg(test)]\nuse c::d;\n#[cfg(test)]\nmod tests { use e::f; fn g() { h::i(); } }\nuse j::k;";
        assert_eq!(paths(text), ["a::b", "j::k"]);
        assert_eq!(paths("#[cfg(not(test))] use a::b;"), ["a::b"]);
        assert_eq!(
            paths("#[cfg(any(test, feature = \"contract\"))] pub mod m { use a::b; } use c::d;"),
            ["c::d"]
        );
    }

    #[test]
    fn a_test_file_has_no_production_code() {
        assert!(
            source("tests/pull.rs", "use a::b;")
                .production_tokens()
                .is_empty()
        );
        assert!(
            source("src/http/tests.rs", "use a::b;")
                .production_tokens()
                .is_empty()
        );
    }

    #[test]
    fn precise_capturing_is_not_an_import() {
        assert_eq!(
            paths("fn f<'a>() -> impl Sized + use<'a> { a::b() }"),
            ["a::b"]
        );
    }
}
