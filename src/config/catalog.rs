//! The `catalog` section.

use super::problems::Problems;
use super::section::Section;

/// How the list of repositories is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The most repositories one answer holds (`catalog.maxentries`; default 1000).
    pub maxentries: u64,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { maxentries: 1000 }
    }
}

/// Reads the section.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Catalog {
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| format!("{text:?} is not a whole number"))
    };
    let maxentries = root
        .section("catalog")
        .parse("maxentries", problems, number);
    // Distribution takes zero and less as "the default".
    let maxentries = maxentries
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number > 0);
    maxentries.map_or_else(Catalog::default, |maxentries| Catalog { maxentries })
}
