//! What a suite prints: a line per sentence that held or did not, in the words of `e2e/kit.sh`, which counts them.

use std::fmt::Display;

/// Reasons shown for one failed sentence; the rest is counted.
const REASONS: usize = 12;

/// Counts sentences and prints them as they are decided.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failed: u64,
}

impl Report {
    /// Prints that `sentence` holds, or fails with every one of `problems`.
    pub(crate) fn holds(&mut self, sentence: &str, problems: &[impl Display]) {
        if problems.is_empty() {
            println!("ok {sentence}");
            return;
        }
        self.failed += 1;
        println!("FAIL {sentence}");
        for problem in problems.iter().take(REASONS) {
            println!("     {problem}");
        }
        if problems.len() > REASONS {
            println!("     and {} more", problems.len() - REASONS);
        }
    }

    /// Prints that `sentence` holds when `is_so`, and why not otherwise.
    pub(crate) fn check(&mut self, sentence: &str, is_so: bool, otherwise: impl Display) {
        let problems: &[_] = if is_so { &[] } else { &[otherwise] };
        self.holds(sentence, problems);
    }

    /// Returns whether nothing failed so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0
    }
}
