//! Rules "file size" and "function size": what is too long to be checked by a reader must be split.
//! Lines are lines of the file; comments, blank lines and inline tests count, because they are read too.

use super::run::Finding;
use super::source::{Source, closing};
use super::tokens::Token;

/// The lines a file may have.
const FILE_LINES: usize = 500;

/// The lines a function may have, signature and braces included.
const FUNCTION_LINES: usize = 100;

/// A file that may be longer than the limit, and why.
struct Exception {
    path: &'static str,
    reason: &'static str,
}

/// Catalogues of one shape: long because the list is long, not because the idea is. Files under `tests` need no entry.
const LONGER_FILES: [Exception; 0] = [];

/// Returns a finding if the file, and one for every function in it, that is too long.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    let excepted = source.is_test_file()
        || LONGER_FILES
            .iter()
            .any(|exception| exception.path == source.path);
    if lines > FILE_LINES && !excepted {
        findings.push(Finding {
            path: source.path.clone(),
            line: FILE_LINES + 1,
            rule: "file size",
            advice: format!(
                "{lines} lines, the limit is {FILE_LINES}: split it by idea, one file each"
            ),
        });
    }
    for function in functions(&source.tokens()) {
        let lines = function.last_line - function.first_line + 1;
        if lines > FUNCTION_LINES {
            findings.push(Finding {
                path: source.path.clone(),
                line: function.first_line,
                rule: "function size",
                advice: format!(
                    "`{}` has {lines} lines, the limit is {FUNCTION_LINES}: give its steps names of their own",
                    function.name
                ),
            });
        }
    }
    findings
}

/// Returns a finding for every exception that no file needs any more.
pub(crate) fn stale_exceptions(sources: &[Source]) -> Vec<Finding> {
    LONGER_FILES
        .iter()
        .filter(|exception| {
            !sources.iter().any(|source| {
                source.path == exception.path && source.text.lines().count() > FILE_LINES
            })
        })
        .map(|exception| Finding {
            path: exception.path.to_owned(),
            line: 1,
            rule: "file size",
            advice: format!(
                "no longer needs its exception (\"{}\"); remove it from xtask/src/tidy/sizes.rs",
                exception.reason
            ),
        })
        .collect()
}

struct Function<'a> {
    name: &'a str,
    first_line: usize,
    last_line: usize,
}

/// Returns every function with a body, nested ones too.
fn functions<'a>(all: &[Token<'a>]) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let Some(name) = all
            .get(at + 1)
            .filter(|next| token.text == "fn" && next.is_word())
        else {
            continue;
        };
        if let Some(open) = body_start(all, at + 2) {
            let end = closing(all, open);
            found.push(Function {
                name: name.text,
                first_line: token.line,
                last_line: all[end - 1].line,
            });
        }
    }
    found
}

/// Returns the index of the `{` that opens the body of the function whose signature goes on at `at`.
fn body_start(all: &[Token<'_>], mut at: usize) -> Option<usize> {
    loop {
        match all.get(at)?.text {
            "{" => return Some(at),
            ";" => return None,
            "(" | "[" => at = closing(all, at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES, FUNCTION_LINES, check};
    use crate::tidy::source::Source;

    fn rules_found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let source = Source::new(path.to_owned(), text.to_owned());
        check(&source)
            .into_iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn a_file_at_the_limit_is_fine_and_one_line_more_is_found() {
        assert_eq!(rules_found("src/a.rs", &"\n".repeat(FILE_LINES)), []);
        assert_eq!(
            rules_found("src/a.rs", &"\n".repeat(FILE_LINES + 1)),
            [(FILE_LINES + 1, "file size")]
        );
    }

    #[test]
    fn inline_tests_count_to_the_size_of_their_file() {
        let text = format!("#[cfg(test)]\nmod tests {{{}}}", "\n".repeat(FILE_LINES));
        assert_eq!(
            rules_found("src/a.rs", &text),
            [(FILE_LINES + 1, "file size")]
        );
    }

    #[test]
    fn a_long_file_of_tests_is_fine() {
        assert_eq!(
            rules_found("tests/pull.rs", &"\n".repeat(FILE_LINES * 2)),
            []
        );
        assert_eq!(
            rules_found("crates/oci/tests/grammar.rs", &"\n".repeat(FILE_LINES * 2)),
            []
        );
    }

    #[test]
    fn a_function_at_the_limit_is_fine_and_one_line_more_is_found() {
        let body = |lines: usize| {
            format!(
                "\nfn f(a: [u8; 3]) -> [u8; 3] {{{}}}\n",
                "\n".repeat(lines - 1)
            )
        };
        assert_eq!(rules_found("src/a.rs", &body(FUNCTION_LINES)), []);
        assert_eq!(
            rules_found("src/a.rs", &body(FUNCTION_LINES + 1)),
            [(2, "function size")]
        );
    }

    #[test]
    fn braces_in_strings_and_characters_do_not_end_a_function_early() {
        let text = format!(
            "fn f() {{ let a = \"}}\"; let b = '}}';{} }}",
            "\n".repeat(FUNCTION_LINES)
        );
        assert_eq!(rules_found("src/a.rs", &text), [(1, "function size")]);
    }

    #[test]
    fn signatures_without_a_body_and_function_pointers_are_not_functions() {
        let text = format!(
            "trait T {{ fn f(&self);{} }} struct S(fn(u8) -> u8);",
            "\n".repeat(FUNCTION_LINES)
        );
        assert_eq!(rules_found("src/a.rs", &text), []);
    }
}
