//! The server's truth beside the model's: rows as the database has them, files as the disk has them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OpenFlags};

use super::registry::{Digest, Registry};
use crate::support::server::TestServer;

fn digest(row: &[u8]) -> Digest {
    let (algorithm, raw) = row.split_first().expect("a digest has an algorithm");
    assert_eq!(*algorithm, 1, "these walks push sha256 only");
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns the rows of a question with a repository's name, a digest and a text.
fn rows(database: &Connection, sql: &str) -> BTreeSet<(String, Digest, String)> {
    let mut statement = database.prepare(sql).expect("the tables are known");
    let read = |row: &rusqlite::Row<'_>| {
        let raw: Vec<u8> = row.get(1)?;
        Ok((row.get(0)?, digest(&raw), row.get(2)?))
    };
    let found = statement
        .query_map([], read)
        .expect("the database can be read");
    found.map(|row| row.expect("a row")).collect()
}

fn told<'a, T>(
    model: &'a Registry,
    each: impl Fn(&'a str, &'a super::registry::Repository) -> Vec<T> + 'a,
) -> BTreeSet<T>
where
    T: Ord,
{
    let repositories = model.repositories.iter();
    repositories
        .flat_map(|(name, repository)| each(name, repository))
        .collect()
}

/// Fails with what only one of the two has.
fn same<T: Ord + std::fmt::Debug>(what: &str, server: &BTreeSet<T>, model: &BTreeSet<T>) {
    let only_server: Vec<&T> = server.difference(model).collect();
    let only_model: Vec<&T> = model.difference(server).collect();
    assert!(
        only_server.is_empty() && only_model.is_empty(),
        "{what}: only the server has {only_server:?}, only the model has {only_model:?}"
    );
}

/// Compares everything that is local, and every file; `mirrored` are the files that may be there besides.
pub(super) fn compare(server: &TestServer, model: &Registry, mirrored: &BTreeMap<Digest, bool>) {
    let file = server.data().join("seawall.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database can be opened beside the server");
    let plain = String::new();
    let members = rows(
        &database,
        "SELECT r.name, l.digest, '' FROM repository_blobs l JOIN repositories r ON r.id = l.repository_id WHERE r.kind = 1",
    );
    let expected = told(model, |name, repository| {
        let of = |digest: &Digest| (name.to_owned(), digest.clone(), String::new());
        repository.members.iter().map(of).collect()
    });
    same("memberships", &members, &expected);
    let manifests = rows(
        &database,
        "SELECT r.name, m.digest, '' FROM manifests m JOIN repositories r ON r.id = m.repository_id WHERE r.kind = 1",
    );
    let expected = told(model, |name, repository| {
        let of = |digest: &Digest| (name.to_owned(), digest.clone(), plain.clone());
        repository.manifests.keys().map(of).collect()
    });
    same("manifests", &manifests, &expected);
    let tags = rows(
        &database,
        "SELECT r.name, t.digest, t.name FROM tags t JOIN repositories r ON r.id = t.repository_id WHERE r.kind = 1",
    );
    let expected = told(model, |name, repository| {
        let of = |(tag, digest): (&String, &Digest)| (name.to_owned(), digest.clone(), tag.clone());
        repository.tags.iter().map(of).collect()
    });
    same("tags", &tags, &expected);
    let stored: BTreeSet<Digest> = server.stored_blobs().into_keys().collect();
    // Of bytes that nobody needs, and of which two repositories let go at different times, the order of the reviews decides
    // whether they go with the first or with the last.
    for digest in model.live.iter().filter(|digest| model.is_held(digest)) {
        assert!(stored.contains(digest), "the bytes of {digest} are gone");
    }
    for digest in &stored {
        let may_be = model.live.contains(digest) && model.is_held(digest);
        let may_be = may_be || model.waits(digest) || mirrored.contains_key(digest);
        assert!(may_be, "nobody needs the bytes of {digest}");
    }
    for (digest, must_be) in mirrored {
        assert!(
            !must_be || stored.contains(digest),
            "the mirrored {digest} is gone"
        );
    }
}
