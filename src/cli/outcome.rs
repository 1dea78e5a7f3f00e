//! What a command leaves behind: text for stdout and stderr, or the reasons it failed.

use crate::config;

/// What a command that succeeded prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The result.
    pub stdout: String,
    /// Remarks for the person at the terminal.
    pub stderr: String,
    /// The exit code: 0, or 1 where the command did its work and what it found is not well.
    pub code: u8,
}

/// Why a command failed; the program ends with exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reasons, one line each, saying what is wrong and what to do.
    pub reasons: Vec<String>,
    /// Remarks beside them.
    pub remarks: Vec<String>,
}

impl Failure {
    /// Returns a failure with one reason.
    #[must_use]
    pub fn new(reason: String) -> Self {
        Self {
            reasons: vec![reason],
            remarks: Vec::new(),
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        let remarks = error
            .warnings
            .into_iter()
            .map(|warning| format!("warning: {warning}"));
        Self {
            reasons: error.errors,
            remarks: remarks.collect(),
        }
    }
}
