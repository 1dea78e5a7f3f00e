//! Rule "arrow": a room uses only the rooms the table allows it, and calls go down.
//! It reads paths as written, `super::` and grouped imports included; test code may use what it likes.

use super::rooms::{CRATES, ROOMS, Room, SHARED, WIRING, WIRING_FOLDER, WITHOUT_SHARED, room_of};
use super::run::Finding;
use super::source::{Source, WrittenPath, written_paths};

/// Returns a finding for every use of a room that the file's room may not use.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if WIRING.contains(&source.path.as_str())
        || source.path.starts_with(WIRING_FOLDER)
        || source.is_test_file()
        || source.path.starts_with("fuzz/")
    {
        return Vec::new();
    }
    let Some(room) = room_of(&source.path) else {
        let advice = "no room holds this file: put it into one, or add the room to xtask/src/tidy/rooms.rs and \
                      ARCHITECTURE.md with what it may use";
        return vec![finding(source, 1, advice.to_owned())];
    };
    let tokens = source.production_tokens();
    let declared: Vec<&str> = tokens
        .windows(2)
        .filter(|pair| pair[0].text == "mod")
        .map(|pair| pair[1].text)
        .collect();
    let file_modules = module_path(&source.path);
    let mut findings = Vec::new();
    for path in written_paths(&tokens) {
        if let Some(advice) = advice(room, &file_modules, &declared, &path) {
            findings.push(finding(source, path.line, advice));
        }
    }
    findings.dedup();
    findings
}

fn finding(source: &Source, line: usize, advice: String) -> Finding {
    Finding {
        path: source.path.clone(),
        line,
        rule: "arrow",
        advice,
    }
}

/// Returns what to do about `path` if `room` may not use it.
fn advice(
    room: &Room,
    file_modules: &[&str],
    declared: &[&str],
    path: &WrittenPath<'_>,
) -> Option<String> {
    let own = room.name.split('/').next().unwrap_or(room.name);
    let used = match target(file_modules, declared, path) {
        Target::Room(used) => used,
        Target::Outside(written) => {
            let reached = room.never.iter().find(|never| {
                written
                    .strip_prefix(**never)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })?;
            return Some(format!(
                "`{}` never uses `{reached}`: {}",
                room.name,
                reason_of(room, reached)
            ));
        }
        Target::Nothing => return None,
    };
    let shared = room.name.starts_with("crates/") || WITHOUT_SHARED.contains(&own);
    let allowed = used == own
        || room.name.strip_prefix("crates/") == Some(used)
        || room.may_use.contains(&used)
        || (!shared && SHARED.contains(&used));
    if allowed {
        return None;
    }
    let known =
        CRATES.contains(&used) || used == "app" || ROOMS.iter().any(|other| other.name == used);
    Some(if known {
        format!(
            "`{}` may not use `{used}`, only {}: what you want is in the wrong room, move it down",
            room.name,
            list_of(room.may_use)
        )
    } else {
        format!(
            "`crate::{used}` is no room: name the room, and add a new one to xtask/src/tidy/rooms.rs"
        )
    })
}

fn reason_of(room: &Room, reached: &str) -> &'static str {
    match (room.name, reached) {
        ("policy", _) => "facts and the time are arguments, the verdict is all it gives",
        ("crates/oci", _) => "it is pure, so that clients and fuzzers can share it",
        (_, "std::env") => "only `config` reads the environment, take a typed setting",
        _ => "only `http` and `upstream` speak HTTP, return a type of your own",
    }
}

fn list_of(names: &[&str]) -> String {
    if names.is_empty() {
        return "the shared rooms".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a written path leads to.
enum Target<'a> {
    /// A room of `src` or a crate of the workspace.
    Room(&'a str),
    /// Something outside the workspace, as written.
    Outside(String),
    /// The file's own neighbourhood, or a plain name.
    Nothing,
}

fn target<'a>(file_modules: &[&'a str], declared: &[&str], path: &WrittenPath<'a>) -> Target<'a> {
    let segments = &path.segments;
    match segments.first().copied() {
        Some("crate" | "super") if file_modules.is_empty() => Target::Nothing,
        Some("crate" | "seawall") => segments
            .get(1)
            .map_or(Target::Nothing, |name| Target::Room(name)),
        Some("self") | None => Target::Nothing,
        Some("super") => {
            let climbs = segments
                .iter()
                .take_while(|segment| **segment == "super")
                .count();
            let depth = file_modules.len() + path.inline_modules;
            match segments.get(climbs) {
                Some(name) if climbs >= depth => Target::Room(name),
                _ => Target::Nothing,
            }
        }
        Some(first) if declared.contains(&first) => Target::Nothing,
        Some(first) if CRATES.contains(&first) => Target::Room(first),
        Some(_) => Target::Outside(segments.join("::")),
    }
}

/// Returns the module a file of `src` is, `src/http/v2/blobs.rs` as `[http, v2, blobs]`; nothing for files elsewhere.
fn module_path(path: &str) -> Vec<&str> {
    let Some(inside) = path.strip_prefix("src/") else {
        return Vec::new();
    };
    let mut modules: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    modules.pop_if(|last| *last == "mod");
    modules
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::Source;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path.to_owned(), text.to_owned());
        check(&source)
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.advice))
            .collect()
    }

    fn is_fine(path: &str, text: &str) {
        assert_eq!(found(path, text), [] as [String; 0], "{path}");
    }

    fn is_refused(path: &str, text: &str, used: &str) {
        let all = found(path, text);
        assert!(
            all.iter()
                .any(|advice| advice.contains(&format!("may not use `{used}`"))),
            "{path}: {all:?}"
        );
    }

    #[test]
    fn arrows_of_the_table_are_fine() {
        is_fine(
            "src/http/v2/blobs.rs",
            "use crate::registry::pull_blob; use crate::auth::Caller; use oci::Digest;",
        );
        is_fine(
            "src/registry/pull_blob.rs",
            "use crate::{mirror::blob, content::open, policy::freshness}; use metadata::Tag;",
        );
        is_fine(
            "src/mirror/blob.rs",
            "use crate::upstream::Client; use crate::content::ingest; use crate::clock::Clock;",
        );
        is_fine(
            "src/content/open.rs",
            "use blobstore::BlobFile; use metadata::BlobRow; use crate::config::Storage;",
        );
        is_fine(
            "src/policy/freshness.rs",
            "use oci::Digest; use std::time::Duration;",
        );
        is_fine(
            "src/cli/serve.rs",
            "use crate::app; use crate::config::Config; use crate::telemetry;",
        );
        is_fine(
            "crates/metadata/src/blobs.rs",
            "use oci::Digest; use crate::store::Store; use super::rows;",
        );
    }

    #[test]
    fn arrows_that_go_up_are_refused() {
        is_refused("src/content/open.rs", "use crate::mirror::blob;", "mirror");
        is_refused(
            "src/mirror/blob.rs",
            "use crate::registry::resolve;",
            "registry",
        );
        is_refused(
            "src/registry/tags.rs",
            "fn f() -> crate::http::Error { todo!() }",
            "http",
        );
        is_refused("src/auth/mod.rs", "use crate::http::gate;", "http");
        is_refused("src/cli/gc.rs", "use crate::http::server;", "http");
        is_refused(
            "crates/oci/src/digest.rs",
            "use metadata::Store;",
            "metadata",
        );
        is_refused(
            "crates/blobstore/src/lib.rs",
            "use metadata::Store;",
            "metadata",
        );
    }

    #[test]
    fn arrows_that_skip_a_room_are_refused() {
        is_refused(
            "src/http/v2/blobs.rs",
            "use crate::content::open;",
            "content",
        );
        is_refused(
            "src/http/gate.rs",
            "use crate::upstream::Client;",
            "upstream",
        );
        is_refused("src/http/v2/tags.rs", "use metadata::Store;", "metadata");
        is_refused(
            "src/http/v2/tags.rs",
            "use blobstore::BlobStore;",
            "blobstore",
        );
        is_refused(
            "src/registry/push_blob.rs",
            "use crate::upstream::Error;",
            "upstream",
        );
        is_refused(
            "src/registry/push_blob.rs",
            "use blobstore::BlobStore;",
            "blobstore",
        );
        is_refused(
            "src/mirror/blob.rs",
            "fn f(x: &metadata::Store) {}",
            "metadata",
        );
        is_refused("src/policy/quota.rs", "use crate::clock::Clock;", "clock");
        is_refused("src/policy/quota.rs", "use crate::config::Quota;", "config");
    }

    #[test]
    fn no_way_of_writing_a_path_hides_it() {
        is_refused(
            "src/http/v2/blobs.rs",
            "use crate::{auth::Caller,\n registry, content::{open, ingest}};",
            "content",
        );
        is_refused(
            "src/http/v2/blobs.rs",
            "use super::super::super::content;",
            "content",
        );
        is_refused(
            "src/http/v2/blobs.rs",
            "use super::{super::super::content};",
            "content",
        );
        is_refused(
            "src/http/mod.rs",
            "mod inner { use super::super::content; }",
            "content",
        );
        is_refused(
            "src/http/mod.rs",
            "use crate::content as inside;",
            "content",
        );
        is_refused(
            "src/http/mod.rs",
            "pub(in crate::content) fn f() {}",
            "content",
        );
        is_refused(
            "src/http/mod.rs",
            "fn f() { seawall::content::open() }",
            "content",
        );
        is_refused("src/http/mod.rs", "use ::metadata::Store;", "metadata");
    }

    #[test]
    fn the_line_of_the_name_is_told() {
        let all = found(
            "src/http/v2/blobs.rs",
            "use crate::{\n    registry,\n    content::open,\n};",
        );
        assert!(
            all.first().is_some_and(|advice| advice.starts_with("3: ")),
            "{all:?}"
        );
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        is_fine(
            "src/http/v2/blobs.rs",
            "// crate::content::open\nconst A: &str = \"crate::content::open\";",
        );
        is_fine(
            "src/http/v2/blobs.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::content::open;\n}",
        );
        is_fine("tests/pull.rs", "use seawall::content::open;");
    }

    #[test]
    fn neighbours_of_the_same_room_and_look_alikes_are_fine() {
        is_fine(
            "src/http/v2/blobs.rs",
            "use super::super::error; use super::range; use crate::http::middleware;",
        );
        is_fine("src/http/v2/mod.rs", "mod content; use content::list;");
        is_fine(
            "src/http/mod.rs",
            "fn f() { std::fs::metadata(path); file.metadata(); }",
        );
        is_fine("src/content/open.rs", "use std::{fs::metadata, io};");
    }

    #[test]
    fn the_world_is_kept_out_of_policy_and_http_out_of_the_basement() {
        for (path, text) in [
            ("src/policy/freshness.rs", "use std::time::SystemTime;"),
            (
                "src/policy/freshness.rs",
                "async fn f() { tokio::time::sleep(x).await }",
            ),
            ("src/registry/tags.rs", "use http::StatusCode;"),
            ("src/content/open.rs", "use hyper::body::Bytes;"),
            ("src/http/server.rs", "fn f() { std::env::var(x); }"),
            ("crates/oci/src/route.rs", "use std::fs::File;"),
        ] {
            assert!(
                found(path, text)
                    .iter()
                    .any(|advice| advice.contains("never uses")),
                "{path}"
            );
        }
    }

    #[test]
    fn wiring_may_use_everything_and_other_packages_their_own_modules() {
        is_fine(
            "xtask/src/tidy/run.rs",
            "use crate::tidy::docs; use super::globs;",
        );
        is_fine(
            "src/app.rs",
            "use crate::{content, http, mirror, upstream};",
        );
        is_fine("src/main.rs", "use seawall::content;");
    }

    #[test]
    fn a_file_or_name_outside_every_room_is_told() {
        assert!(
            found("src/utils.rs", "")
                .iter()
                .any(|advice| advice.contains("no room holds this file"))
        );
        assert!(
            found("src/http/mod.rs", "use crate::helpers::a;")
                .iter()
                .any(|advice| advice.contains("is no room"))
        );
    }
}
