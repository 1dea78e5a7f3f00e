//! How these tests load a configuration: from a text in a temporary file, and from given variables only.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use crate::config::{Config, Environment, Error, Sources, load};

pub(super) const PLAIN: &str = "version: 0.1\nstorage: filesystem\n";

pub(super) fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let strip = |line: String| line.replace(&format!("{}/", directory.path().display()), "");
    let loaded = load(&sources, &Environment::of(variables));
    loaded
        .map(|loaded| Config {
            warnings: loaded.config.warnings.iter().cloned().map(strip).collect(),
            ..loaded.config
        })
        .map_err(|error| Error {
            errors: error.errors.into_iter().map(strip).collect(),
            warnings: error.warnings.into_iter().map(strip).collect(),
        })
}

pub(super) fn without_file(variables: &[(&str, &str)]) -> Result<Config, Error> {
    let mut all = vec![("HOME", "/home/u")];
    all.extend(variables);
    load(&Sources::default(), &Environment::of(&all)).map(|loaded| loaded.config)
}

pub(super) fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    with(text, variables)
        .expect_err("the configuration is wrong")
        .errors
}

pub(super) fn names(config: &Config) -> Vec<&str> {
    config
        .mirrors
        .upstreams
        .iter()
        .map(|mirror| mirror.name.as_str())
        .collect()
}
