//! The environment variables that configuration may come from, taken once so that everything after is a pure function.
//! Other variables are not looked at.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A snapshot of the environment.
#[derive(Default, Clone)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Returns this process's environment, as far as configuration can come from it.
    #[must_use]
    pub fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: variables.filter(|(name, _)| matters(name)).collect(),
        }
    }

    /// Returns an environment of exactly these variables.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Self {
            variables: variables.collect(),
        }
    }

    /// Returns the token for a server on the network (`SEAWALL_TOKEN`).
    #[must_use]
    pub fn token(&self) -> Option<String> {
        self.get("SEAWALL_TOKEN")?.to_str().map(str::to_owned)
    }

    /// Returns the value of a variable; one that is set to nothing counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(name)
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Returns name and value of all `REGISTRY_*` variables, empty ones included.
    pub(super) fn registry_variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        let variables = self
            .variables
            .iter()
            .filter(|(name, _)| name.starts_with("REGISTRY_"));
        variables.map(|(name, value)| (name.as_str(), value.as_os_str()))
    }

    /// Returns the directory for this user's data of Seawall, by the XDG base directory specification.
    pub(super) fn user_data_directory(&self) -> Option<PathBuf> {
        let xdg = self
            .get("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let base = xdg.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".local/share")))?;
        Some(base.join("seawall"))
    }
}

fn matters(name: &str) -> bool {
    name.starts_with("REGISTRY_")
        || name.starts_with("SEAWALL_")
        || name == "HOME"
        || name == "XDG_DATA_HOME"
}
