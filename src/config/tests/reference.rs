//! The reference page of the keys says what the code does: every key is there, every example is taken as it stands.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::Path;

use super::load::without_file;
use crate::config::catalogue::{Standing, table};

/// Sections of Distribution whose keys the page need not repeat.
const DISTRIBUTIONS: &[&str] = &["log", "catalog", "validation"];

/// Keys of Distribution in sections that the page has.
const DISTRIBUTIONS_KEYS: &[&str] = &[
    "version",
    "loglevel",
    "http.addr",
    "http.host",
    "http.prefix",
    "http.relativeurls",
    "http.draintimeout",
    "http.headers.*[]",
    "storage.filesystem.rootdirectory",
    "storage.delete.enabled",
    "storage.maintenance.readonly.enabled",
    "proxy.username",
    "proxy.password",
];

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    std::fs::read_to_string(file).unwrap()
}

/// Key and example of every row.
fn rows(page: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 5, "{line}");
        let bare = |cell: &str| cell.trim().trim_matches('`').to_owned();
        rows.push((bare(cells[0]), bare(cells[4])));
    }
    rows
}

#[test]
fn the_page_names_every_supported_key_that_is_not_distributions_alone() {
    let page = page();
    let told: Vec<String> = rows(&page).into_iter().map(|(key, _)| key).collect();
    let (_, supported) = table()
        .iter()
        .find(|(standing, _)| *standing == Standing::Supported)
        .unwrap();
    for key in *supported {
        let section = key.split('.').next().unwrap();
        let expected = !DISTRIBUTIONS.contains(&section) && !DISTRIBUTIONS_KEYS.contains(key);
        assert_eq!(told.iter().any(|told| told == key), expected, "{key}");
    }
    for key in &told {
        assert!(supported.contains(&key.as_str()), "{key} is no key");
    }
}

#[test]
fn every_example_of_the_page_is_taken_as_it_stands() {
    let page = page();
    for (key, example) in rows(&page) {
        // Files of an example are on no test machine; `tests::logins` and `tests::mirror_settings` name real ones.
        if example.starts_with('/') && !key.starts_with("http.") {
            continue;
        }
        let variable = key.replace("[]", "_0").replace('*', "latest");
        let variable = format!("REGISTRY_{}", variable.replace('.', "_").to_uppercase());
        let beside = match key.as_str() {
            "mirrors[].name" => vec![],
            "mirrors[].password" => vec![("REGISTRY_MIRRORS_0_USERNAME", "u")],
            "mirrors[].lifetime" => vec![("REGISTRY_MIRRORS_0_HELPER", "h")],
            "proxy.exec.lifetime" => vec![("REGISTRY_PROXY_EXEC_COMMAND", "h")],
            "warm[].schedule" | "warm[].platforms[]" => {
                vec![("REGISTRY_WARM_0_IMAGES_0", "docker.io/library/debian")]
            }
            _ => vec![],
        };
        let mut variables = beside;
        if key.starts_with("warm[]") && key != "warm[].schedule" {
            variables.push(("REGISTRY_WARM_0_SCHEDULE", "0 0 * * *"));
        }
        if key.starts_with("proxy.") {
            variables.push(("REGISTRY_PROXY_REMOTEURL", "https://a.example"));
        }
        if key.starts_with("mirrors[]") && key != "mirrors[].name" {
            variables.push(("REGISTRY_MIRRORS_0_NAME", "a.example"));
        }
        variables.retain(|(name, _)| *name != variable);
        variables.push((&variable, &example));
        let config = without_file(&variables).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(config.warnings.is_empty(), "{key}: {:?}", config.warnings);
    }
}

#[test]
fn what_the_page_shows_as_a_file_is_one() {
    let page = page();
    let mut shown = 0;
    for block in page.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        // The files it names are not here; everything else is checked.
        let block: Vec<&str> = block
            .lines()
            .filter(|line| {
                !["passwordfile", "tls"]
                    .iter()
                    .any(|key| line.trim().starts_with(key))
            })
            .collect();
        let mirrors = if block[0] == "mirrors:" {
            ""
        } else {
            "mirrors: [{name: docker.io}]\n"
        };
        let text = format!("{}{mirrors}{}\n", super::load::PLAIN, block.join("\n"));
        let config = super::load::with(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        shown += 1;
    }
    assert_eq!(shown, 3);
}
