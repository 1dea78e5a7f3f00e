//! The `validation` section.

use super::problems::Problems;
use super::section::Section;

/// What is checked of a pushed manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Whether manifests may refer to what is not there (`validation.disabled`; default false).
    pub disabled: bool,
}

/// Reads the section. `enabled: true`, Distribution's older key, wins over `disabled`; `enabled: false` means nothing.
pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Validation {
    let validation = root.section("validation");
    let enabled = validation.switch("enabled", problems);
    Validation {
        disabled: validation.switch("disabled", problems) && !enabled,
    }
}
