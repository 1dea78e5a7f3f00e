//! A store full of blobs that nobody needs, made directly: pushing a million would take longer than everything else.

use std::fs;
use std::io;
use std::path::Path;

use oci::{Algorithm, Digest};
use rusqlite::{Connection, params};

/// The bytes of a blob.
pub(crate) const SIZE: usize = 64;

fn content(number: u64) -> Vec<u8> {
    format!("{number:0SIZE$}").into_bytes()
}

fn digest(number: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &content(number))
}

/// Writes the files.
pub(crate) fn fill(root: &Path, count: u64) -> io::Result<()> {
    let blobs = root.join("docker/registry/v2/blobs/sha256");
    for number in 0..count {
        let hex = digest(number).hex();
        let directory = blobs.join(&hex[..2]).join(&hex);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("data"), content(number))?;
    }
    Ok(())
}

/// Counts the files of blobs.
pub(crate) fn count(root: &Path) -> io::Result<u64> {
    let mut found = 0;
    for shard in fs::read_dir(root.join("docker/registry/v2/blobs/sha256"))? {
        for blob in fs::read_dir(shard?.path())? {
            found += u64::from(blob?.path().join("data").exists());
        }
    }
    Ok(found)
}

/// Enters them as what an upload left that no manifest followed: a row, a membership, and the note that it may go.
pub(crate) fn enter(database: &Path, count: u64) {
    let mut database = Connection::open(database).expect("the server made the database");
    let entering = database.transaction().expect("nobody else writes");
    let repository: i64 = entering
        .query_row(
            "SELECT id FROM repositories ORDER BY id LIMIT 1",
            [],
            |row| row.get(0),
        )
        .expect("an image was pushed");
    for number in 0..count {
        let digest = digest(number).to_row();
        let enter = |sql: &str| {
            let mut statement = entering.prepare_cached(sql).expect("the tables are known");
            statement
                .execute(params![digest, repository])
                .expect("a row");
        };
        enter(&format!(
            "INSERT INTO blobs (digest, size, state, lease_until, created_at, held_locally) VALUES (?1, {SIZE}, 1, ?2 * 0, 0, 1)"
        ));
        enter(
            "INSERT INTO repository_blobs (repository_id, digest, added_at, added_by, origin) VALUES (?2, ?1, 0, 'bench', 1)",
        );
        enter(
            "INSERT INTO gc_candidates (repository_id, digest, kind, since) VALUES (?2, ?1, 1, 0)",
        );
    }
    entering.commit().expect("the disk has room");
}
