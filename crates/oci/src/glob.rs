//! Patterns over repository names and tags, as operators write them: `*` stands for any characters of one path
//! component, `**` for any characters at all, `?` for one character of a component, `[a-z]` and `[!a-z]` for one of a set.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes; longer than any name and tag together.
const LONGEST: usize = 512;

/// A pattern. Matching takes time proportional to pattern times text, whatever both say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Character(char),
    /// `?`
    One,
    /// `*`
    WithinComponent,
    /// `**`
    Across,
    Set {
        ranges: Vec<(char, char)>,
        inverted: bool,
    },
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing at all.
    #[error("a pattern is empty")]
    Empty,
    /// More than 512 bytes.
    #[error("a pattern of {0} bytes is too long")]
    TooLong(usize),
    /// A `[` without its `]`, or with nothing in between.
    #[error("{0:?}: a set [...] is empty or has no end")]
    Set(String),
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`GlobError`], naming the text.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > LONGEST {
            return Err(GlobError::TooLong(text.len()));
        }
        let mut steps = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            steps.push(match c {
                '?' => Step::One,
                '*' if rest.next_if_eq(&'*').is_some() => Step::Across,
                '*' => Step::WithinComponent,
                '[' => set(&mut rest).ok_or_else(|| GlobError::Set(text.to_owned()))?,
                c => Step::Character(c),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    /// Returns the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the pattern fits the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        // reached[i]: the first i steps fit what was read so far.
        let mut reached = vec![false; self.steps.len() + 1];
        reached[0] = true;
        self.pass_stars(&mut reached);
        for c in text.chars() {
            let mut next = vec![false; reached.len()];
            for (i, step) in self.steps.iter().enumerate().filter(|(i, _)| reached[*i]) {
                match step {
                    Step::Across => next[i] = true,
                    Step::WithinComponent => next[i] |= c != '/',
                    step => next[i + 1] |= step.takes(c),
                }
            }
            self.pass_stars(&mut next);
            reached = next;
        }
        reached[self.steps.len()]
    }

    /// Stars may stand for nothing.
    fn pass_stars(&self, reached: &mut [bool]) {
        for (i, step) in self.steps.iter().enumerate() {
            if reached[i] && matches!(step, Step::Across | Step::WithinComponent) {
                reached[i + 1] = true;
            }
        }
    }
}

impl Step {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Character(own) => *own == c,
            Self::One => c != '/',
            Self::WithinComponent | Self::Across => true,
            Self::Set { ranges, inverted } => {
                let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                c != '/' && inside != *inverted
            }
        }
    }
}

/// Reads a set after its `[`. A `]` that comes first belongs to it.
fn set(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Step> {
    let inverted = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let from = rest.next()?;
        if from == ']' && !ranges.is_empty() {
            return Some(Step::Set { ranges, inverted });
        }
        let mut ahead = rest.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                *rest = ahead;
                to
            }
            _ => from,
        };
        ranges.push((from, to));
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        Self::parse(text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, GlobError};

    fn fits(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).expect(pattern).matches(text)
    }

    #[test]
    fn one_star_keeps_to_a_component_and_two_go_across() {
        assert!(fits("library/*", "library/nginx"));
        assert!(!fits("library/*", "library/a/b"));
        assert!(fits("library/**", "library/a/b"));
        assert!(!fits("library/**", "other/a"));
        assert!(fits("**", "a/b/c:1.0"));
        assert!(fits(
            "docker.io/library/debian:*",
            "docker.io/library/debian:12"
        ));
        assert!(fits("**:1.*", "docker.io/library/nginx:1.27"));
        assert!(fits("library/secret*", "library/secret"));
    }

    #[test]
    fn single_characters_and_sets() {
        assert!(fits("v?", "v1") && !fits("v?", "v") && !fits("a?b", "a/b"));
        assert!(fits("v[0-9]*", "v12") && !fits("v[0-9]*", "vx"));
        assert!(fits("[!a-c]", "d") && !fits("[!a-c]", "b") && !fits("[^a]", "/"));
        assert!(fits("[]]", "]") && fits("[a-]", "-"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Glob::parse(""), Err(GlobError::Empty));
        for text in ["[", "a[", "[]", "[!]"] {
            assert_eq!(Glob::parse(text), Err(GlobError::Set(text.to_owned())));
        }
        assert_eq!(Glob::parse(&"a".repeat(513)), Err(GlobError::TooLong(513)));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(200);
        assert!(!fits(&pattern, &"a".repeat(199)));
        assert!(fits(&pattern, &"a".repeat(400)));
    }
}
