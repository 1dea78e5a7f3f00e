//! What is wrong or odd in a configuration, collected so that all of it is told at once.
//! Every line names its place (file and line, variable or option); none may hold a secret.

use std::fmt;

use super::tree::Origin;

/// A configuration that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Every reason, one line each: place, key, what is wrong. Never empty.
    pub errors: Vec<String>,
    /// What would have been warned about beside it.
    pub warnings: Vec<String>,
}

impl Error {
    /// Returns an error with one reason.
    pub(super) fn new(reason: String) -> Self {
        Self {
            errors: vec![reason],
            warnings: Vec::new(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.errors.join("\n"))
    }
}

impl std::error::Error for Error {}

/// Collected lines; those of the file come first, in its order.
#[derive(Default)]
pub(super) struct Problems {
    errors: Vec<(Option<Origin>, String)>,
    warnings: Vec<(Option<Origin>, String)>,
}

impl Problems {
    /// Adds a reason to refuse, found at `origin`.
    pub(super) fn error(&mut self, origin: &Origin, reason: impl fmt::Display) {
        self.errors
            .push((Some(origin.clone()), format!("{origin}: {reason}")));
    }

    /// Adds a reason to refuse that has no place of its own; the text names what it is about.
    pub(super) fn error_without_place(&mut self, reason: String) {
        self.errors.push((None, reason));
    }

    /// Adds a warning about something at `origin`.
    pub(super) fn warning(&mut self, origin: &Origin, text: impl fmt::Display) {
        self.warnings
            .push((Some(origin.clone()), format!("{origin}: {text}")));
    }

    /// Returns the warnings, or everything when there is a reason to refuse.
    ///
    /// # Errors
    /// Returns [`Error`] when any reason to refuse was added.
    pub(super) fn finish(self) -> Result<Vec<String>, Error> {
        let errors = lines(self.errors);
        let warnings = lines(self.warnings);
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(Error { errors, warnings })
        }
    }
}

fn lines(mut problems: Vec<(Option<Origin>, String)>) -> Vec<String> {
    problems.sort_by(|a, b| a.0.cmp(&b.0));
    let mut lines: Vec<String> = Vec::new();
    for (_, line) in problems {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}
