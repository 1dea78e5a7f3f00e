//! The table of rooms: who may call whom. ARCHITECTURE.md draws the same arrows, and a test compares them; change both
//! together. It holds names only; how they are found in the code is the business of `arrows`.

use super::run::Finding;
use super::source::Source;

/// A folder or file of `src` with a purpose of its own, or a crate of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// The path under `src` (`http`), or `crates/<name>`. The longest one that fits a file counts.
    pub(crate) name: &'static str,
    /// The rooms and workspace crates it may use beside itself and the shared ones.
    pub(crate) may_use: &'static [&'static str],
    /// Outside paths it must not use, by their beginning.
    pub(crate) never: &'static [&'static str],
}

/// Files that wire everything together and therefore may use everything.
pub(crate) const WIRING: [&str; 3] = ["src/app.rs", "src/main.rs", "src/lib.rs"];

/// The folder of the parts of `src/app.rs`.
pub(crate) const WIRING_FOLDER: &str = "src/app/";

/// What every room of `src` but those in `WITHOUT_SHARED` may use: "now", logs, typed settings, pure types.
pub(crate) const SHARED: [&str; 4] = ["clock", "telemetry", "config", "oci"];

/// Rooms that say in the table themselves which of the shared ones they use: policy is pure, the others lie beneath.
pub(crate) const WITHOUT_SHARED: [&str; 4] = ["policy", "clock", "telemetry", "config"];

/// The crates of the workspace that may be named in a path.
pub(crate) const CRATES: [&str; 3] = ["oci", "blobstore", "metadata"];

/// What no room but `config` reads: a setting has one way in, which `check-config` can explain.
const ENVIRONMENT: &[&str] = &["std::env"];

/// The environment, and the words of HTTP, which only `http` turns errors and answers into.
const BASEMENT: &[&str] = &["std::env", "http", "hyper", "hyper_util"];

/// Everything that touches the world: a verdict must follow from its arguments.
const WORLD: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio",
    "reqwest",
];

/// Every room, from the door down.
pub(crate) const ROOMS: [Room; 18] = [
    Room {
        name: "cli",
        may_use: &["app", "jobs", "config"],
        never: ENVIRONMENT,
    },
    Room {
        name: "http",
        may_use: &["auth", "registry", "jobs"],
        never: ENVIRONMENT,
    },
    Room {
        name: "jobs",
        may_use: &["mirror", "content", "metadata"],
        never: BASEMENT,
    },
    Room {
        name: "registry",
        may_use: &["auth", "policy", "mirror", "content", "metadata"],
        never: BASEMENT,
    },
    Room {
        name: "mirror",
        may_use: &["policy", "upstream", "content"],
        never: BASEMENT,
    },
    Room {
        name: "content",
        may_use: &["policy", "metadata", "blobstore"],
        never: BASEMENT,
    },
    Room {
        name: "auth",
        may_use: &["oci"],
        never: ENVIRONMENT,
    },
    Room {
        name: "upstream",
        may_use: &["oci"],
        never: ENVIRONMENT,
    },
    Room {
        name: "policy",
        may_use: &["oci"],
        never: WORLD,
    },
    Room {
        name: "config",
        may_use: &["oci"],
        // The grammar of header names is the `http` crate's; answering requests is not this room's business.
        never: &["hyper", "hyper_util"],
    },
    Room {
        name: "telemetry",
        may_use: &["clock", "config"],
        never: ENVIRONMENT,
    },
    // The clock's trait is defined where stored instants are made.
    Room {
        name: "clock",
        may_use: &["metadata"],
        never: BASEMENT,
    },
    Room {
        name: "crates/oci",
        may_use: &[],
        never: WORLD,
    },
    Room {
        name: "crates/blobstore",
        may_use: &["oci"],
        never: ENVIRONMENT,
    },
    Room {
        name: "crates/metadata",
        may_use: &["oci"],
        never: ENVIRONMENT,
    },
    Room {
        name: "xtask",
        may_use: &[],
        never: &[],
    },
    // What a digest or an answer must be is not asked of the program under test.
    Room {
        name: "e2e/torture",
        may_use: &[],
        never: &["oci", "blobstore", "metadata"],
    },
    Room {
        name: "benches",
        may_use: &["oci", "blobstore", "metadata"],
        never: &[],
    },
];

/// Returns the room of the file `path`, or nothing if no room of the table holds it.
pub(crate) fn room_of(path: &str) -> Option<&'static Room> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    ROOMS
        .iter()
        .filter(|room| {
            inside
                .strip_prefix(room.name)
                .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        })
        .max_by_key(|room| room.name.len())
}

/// Returns a finding for every room of the table that holds none of `sources`, the files of the whole workspace.
pub(crate) fn without_files(sources: &[Source]) -> Vec<Finding> {
    ROOMS
        .iter()
        .filter(|room| {
            !sources
                .iter()
                .any(|source| room_of(&source.path) == Some(room))
        })
        .map(|room| Finding {
            path: "xtask/src/tidy/rooms.rs".to_owned(),
            line: 1,
            rule: "arrow",
            advice: format!(
                "room `{}` has no file: take it out of the table and of ARCHITECTURE.md until it has one",
                room.name
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{CRATES, ROOMS, SHARED, WITHOUT_SHARED, room_of, without_files};
    use crate::tidy::source::Source;

    /// The page that draws the table for people.
    const MAP: &str = include_str!("../../../ARCHITECTURE.md");

    #[test]
    fn a_room_without_a_file_is_told_by_name() {
        let sources: Vec<Source> = ROOMS
            .iter()
            .filter(|room| room.name != "mirror")
            .map(|room| Source::new(format!("{}/mod.rs", room.name), String::new()))
            .collect();
        let findings = without_files(&sources);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0].advice.starts_with("room `mirror` has no file"),
            "{findings:?}"
        );
    }

    #[test]
    fn the_map_draws_the_same_arrows() {
        // `| room, room | may use, may use | never |`, below the head of the table.
        let rows = MAP
            .lines()
            .skip_while(|line| !line.starts_with("|---"))
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        let mut drawn = Vec::new();
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let may_use: Vec<&str> = cells[2]
                .split(", ")
                .filter(|name| *name != "nothing")
                .collect();
            drawn.extend(cells[1].split(", ").map(|room| (room, may_use.clone())));
        }
        let table: Vec<(&str, Vec<&str>)> = ROOMS
            .iter()
            .map(|room| (room.name, room.may_use.to_vec()))
            .collect();
        assert_eq!(drawn, table);
    }

    #[test]
    fn the_name_a_path_begins_with_is_the_room() {
        let name = |path| room_of(path).map(|room| room.name);
        assert_eq!(name("src/http/v2/blobs.rs"), Some("http"));
        assert_eq!(name("src/clock.rs"), Some("clock"));
        assert_eq!(name("crates/oci/src/digest.rs"), Some("crates/oci"));
        assert_eq!(name("src/httpd/mod.rs"), None);
    }

    #[test]
    fn the_table_names_only_rooms_and_crates_that_exist() {
        let known = |name: &str| {
            name == "app" || CRATES.contains(&name) || ROOMS.iter().any(|room| room.name == name)
        };
        for room in &ROOMS {
            assert!(room.may_use.iter().all(|name| known(name)), "{room:?}");
        }
        assert!(SHARED.iter().chain(&WITHOUT_SHARED).all(|name| known(name)));
    }

    #[test]
    fn calls_only_go_down() {
        // With every arrow followed, no room may reach itself again.
        for room in &ROOMS {
            let mut reached: Vec<&str> = room.may_use.to_vec();
            let mut at = 0;
            while at < reached.len() {
                let next = ROOMS.iter().find(|other| other.name == reached[at]);
                for name in next.map_or(&[][..], |other| other.may_use) {
                    if !reached.contains(name) {
                        reached.push(name);
                    }
                }
                at += 1;
            }
            assert!(
                !reached.contains(&room.name),
                "{} reaches itself through {reached:?}",
                room.name
            );
        }
    }
}
