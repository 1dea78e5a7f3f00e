//! Splits Rust text into the few tokens the rules look at: words, `::` and single signs, each with its line.
//! Comments, strings, characters and numbers are dropped, so nothing written in them can fool a rule.

/// One token of a Rust file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// The word without a raw marker (`r#`), `::`, or one sign.
    pub(crate) text: &'a str,
    /// The line it stands on, counted from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Returns whether this is an identifier or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(is_word_start)
    }
}

/// Returns the tokens of `text` in order. Unfinished strings and comments reach to the end of the file.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut scanner = Scanner {
        text,
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while scanner.step() {}
    scanner.found
}

fn is_word_start(sign: char) -> bool {
    sign == '_' || sign.is_alphabetic()
}

fn is_word_part(sign: char) -> bool {
    sign == '_' || sign.is_alphanumeric()
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves on by `bytes`, counting the lines passed.
    fn skip(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.line += self.text[self.at..end].matches('\n').count();
        self.at = end;
    }

    /// Takes one token or one piece that is dropped; returns false at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(sign) = rest.chars().next() else {
            return false;
        };
        if sign.is_whitespace() {
            self.skip(sign.len_utf8());
        } else if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment_length(rest));
        } else if sign == '"' {
            self.skip(quoted_length(rest, '"'));
        } else if sign == '\'' {
            self.skip(character_or_lifetime_length(rest));
        } else if let Some(length) = raw_string_length(rest) {
            self.skip(length);
        } else if is_word_start(sign) {
            self.word(rest);
        } else if sign.is_ascii_digit() {
            self.skip(rest.find(|sign| !is_word_part(sign)).unwrap_or(rest.len()));
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                sign.len_utf8()
            };
            self.found.push(Token {
                text: &rest[..length],
                line: self.line,
            });
            self.skip(length);
        }
        true
    }

    fn word(&mut self, rest: &'a str) {
        let raw = rest
            .strip_prefix("r#")
            .is_some_and(|after| after.starts_with(is_word_start));
        let start = if raw { 2 } else { 0 };
        let length = rest[start..]
            .find(|sign| !is_word_part(sign))
            .unwrap_or(rest.len() - start);
        self.found.push(Token {
            text: &rest[start..start + length],
            line: self.line,
        });
        self.skip(start + length);
    }
}

/// Returns the bytes of the block comment `rest` begins with; block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Returns the bytes up to and with the closing `quote`, where a backslash hides the sign after it.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, sign) in rest.char_indices().skip(1) {
        if hidden {
            hidden = false;
        } else if sign == '\\' {
            hidden = true;
        } else if sign == quote {
            return at + sign.len_utf8();
        }
    }
    rest.len()
}

/// Returns the bytes of `'x'`, `'\n'` or `'lifetime`.
fn character_or_lifetime_length(rest: &str) -> usize {
    let mut signs = rest.chars().skip(1);
    let (first, second) = (signs.next(), signs.next());
    if first == Some('\\') || second == Some('\'') {
        return quoted_length(rest, '\'');
    }
    rest[1..]
        .find(|sign| !is_word_part(sign))
        .map_or(rest.len(), |length| length + 1)
}

/// Returns the bytes of `r"…"`, `br#"…"#` or `cr"…"`, or nothing when `rest` begins with something else.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after_letters = ["r", "br", "cr"].iter().find_map(|letters| {
        rest.strip_prefix(letters)
            .filter(|after| after.starts_with(['"', '#']))
    })?;
    let hashes = after_letters.len() - after_letters.trim_start_matches('#').len();
    let body = after_letters[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = body
        .find(&closing)
        .map_or(body.len(), |at| at + closing.len());
    Some(rest.len() - body.len() + end)
}

#[cfg(test)]
mod tests {
    use super::tokens;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_paths_and_signs_are_kept() {
        assert_eq!(
            texts("use crate::a::{b, c};"),
            [
                "use", "crate", "::", "a", "::", "{", "b", ",", "c", "}", ";"
            ]
        );
    }

    #[test]
    fn comments_are_dropped_nested_ones_too() {
        assert_eq!(
            texts("a // use x::*;\nb /* c /* d */ e */ f /// g\n"),
            ["a", "b", "f"]
        );
    }

    #[test]
    fn strings_of_every_kind_are_dropped() {
        let text = r####"a "x \" y" b r"q" r#"use "x::*"# br##"z"# w"## c"k" d"####;
        assert_eq!(texts(text), ["a", "b", "c", "d"]);
    }

    #[test]
    fn characters_and_lifetimes_are_told_apart() {
        assert_eq!(
            texts(r"f<'a>('{', '\'', b'}', 'é', '\u{7d}') x"),
            ["f", "<", ">", "(", ",", ",", "b", ",", ",", ")", "x"]
        );
    }

    #[test]
    fn a_raw_identifier_is_its_word() {
        assert_eq!(texts("r#type r x"), ["type", "r", "x"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let found = tokens("a\n/* \n */ \"\n\" b\nr\"\n\"c");
        assert_eq!(
            found
                .iter()
                .map(|token| (token.text, token.line))
                .collect::<Vec<_>>(),
            [("a", 1), ("b", 4), ("c", 6)]
        );
    }

    #[test]
    fn unfinished_text_reaches_the_end_without_a_panic() {
        for text in ["\"abc", "/* a", "r#\"a\"", "'", "'\\", "b'", "r#"] {
            tokens(text);
        }
    }
}
