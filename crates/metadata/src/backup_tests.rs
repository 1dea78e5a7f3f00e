//! Copies of the database and putting them back, with every place where a crash can come between.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::clock::tests::{FakeClock, HOUR, NOON};
use crate::contract::support::{World, name, push, tag};
use crate::sqlite::{Access, Connection};
use crate::{
    Cancel, CopyError, Error, FILE_NAME, Metadata, PushManifest, back_up, finish_restore, restore,
};

struct Place {
    directory: TempDir,
    clock: Arc<FakeClock>,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            clock: FakeClock::at(NOON),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.file(FILE_NAME)
    }

    fn open(&self) -> World {
        let metadata = Metadata::open(&self.database(), self.clock.clone());
        World {
            metadata: metadata.expect("opens"),
            clock: self.clock.clone(),
        }
    }

    /// Makes a database whose one tag has this name.
    async fn with_tag(&self, tag: &str) {
        let world = self.open();
        world.tagged("a", tag, "m").await;
        world.metadata.close().await;
    }

    async fn tags(&self) -> Vec<String> {
        let world = self.open();
        let tags = world.metadata.tags(&name("a"), None, None).await;
        world.metadata.close().await;
        tags.expect("reads").unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into()
            })
            .collect();
        names.sort();
        names
    }

    fn back_up(&self, to: &str) {
        back_up(&self.database(), &self.file(to), &Cancel::default()).expect("is copied");
    }
}

/// Changes a file as no program of ours would.
fn tamper(file: &Path, sql: &'static str) {
    let mut connection = Connection::open(file, Access::Copy).expect("opens");
    connection.batch(sql).expect("is changed");
}

#[tokio::test]
async fn a_copy_of_a_database_in_use_holds_what_was_committed_before_and_nothing_torn() {
    let place = Place::new();
    let world = place.open();
    world.tagged("a", "before", "m").await;
    let (metadata, stop) = (world.metadata.clone(), Arc::new(()));
    let going = Arc::downgrade(&stop);
    let pushing = tokio::spawn(async move {
        let mut pushed = 0_u64;
        while going.upgrade().is_some() {
            // Two rows of one transaction: one without the other would be torn.
            let tags = vec![tag(&format!("x{pushed}")), tag(&format!("y{pushed}"))];
            let push = PushManifest {
                tags,
                ..push("b", &format!("m{pushed}"))
            };
            metadata.push_manifest(push).await.expect("pushes");
            pushed += 1;
        }
        pushed
    });
    let (database, copy) = (place.database(), place.file("copy.db"));
    let to = copy.clone();
    let copied =
        tokio::task::spawn_blocking(move || back_up(&database, &to, &Cancel::default())).await;
    let copied = copied.expect("does not panic").expect("is copied");
    drop(stop);
    pushing.await.expect("pushes go on");
    world.metadata.close().await;
    let about = fs::metadata(&copy).expect("is there");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert_eq!((about.len(), copied.as_of), (copied.bytes, NOON));
    assert_eq!(
        place.names(),
        ["copy.db", FILE_NAME],
        "one file, and no other"
    );

    let other = Place::new();
    fs::copy(&copy, other.database()).expect("is copied");
    assert_eq!(other.tags().await, ["before"]);
    let world = other.open();
    let tags = world.metadata.tags(&name("b"), None, None).await;
    let tags = tags.expect("reads").unwrap_or_default();
    let of = |letter: char| {
        let found = tags.iter().filter_map(|tag| tag.strip_prefix(letter));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of('x'), of('y'));
    world.metadata.close().await;
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_former_one_and_nothing_else() {
    let place = Place::new();
    place.with_tag("v1").await;
    place.back_up("copy.db");
    let former = fs::read(place.file("copy.db")).expect("reads");
    let cancelled = Cancel::default();
    cancelled.cancel();
    let failed = back_up(&place.database(), &place.file("copy.db"), &cancelled);
    assert!(matches!(failed, Err(CopyError::Cancelled)), "{failed:?}");
    assert_eq!(fs::read(place.file("copy.db")).expect("reads"), former);
    assert_eq!(place.names(), ["copy.db", FILE_NAME]);
    // What a killed copy left is no obstacle, and goes.
    fs::write(place.file(".copy.db.partial"), b"half").expect("writes");
    place.back_up("copy.db");
    assert_eq!(place.names(), ["copy.db", FILE_NAME]);
}

#[tokio::test]
async fn a_copy_goes_nowhere_where_it_would_do_harm() {
    let place = Place::new();
    let copy = |to: &Path| back_up(&place.database(), to, &Cancel::default());
    let missing = copy(&place.file("copy.db"));
    assert!(matches!(missing, Err(CopyError::Missing)), "{missing:?}");
    place.with_tag("v1").await;
    let itself = copy(&place.database());
    assert!(matches!(itself, Err(CopyError::Itself)), "{itself:?}");
    fs::hard_link(place.database(), place.file("link.db")).expect("links");
    let itself = copy(&place.file("link.db"));
    assert!(matches!(itself, Err(CopyError::Itself)), "{itself:?}");
    for ours in [
        "seawall.db-wal",
        "seawall.db-shm",
        "seawall.lock",
        "seawall.new",
    ] {
        let refused = copy(&place.file(ours));
        assert!(matches!(refused, Err(CopyError::Ours)), "{refused:?}");
    }
    fs::write(place.file("config.yml"), "version: 0.1\n").expect("writes");
    let foreign = copy(&place.file("config.yml"));
    assert!(matches!(foreign, Err(CopyError::NoCopy)), "{foreign:?}");
    fs::write(place.file("empty"), "").expect("writes");
    copy(&place.file("empty")).expect("a new file for it is taken");
    let device = copy(Path::new("/dev/null"));
    assert!(matches!(device, Err(CopyError::NoFile)), "{device:?}");
    let nowhere = copy(&place.file("none/copy.db"));
    assert!(matches!(nowhere, Err(CopyError::Io(_))), "{nowhere:?}");
    assert_eq!(place.tags().await, ["v1"]);
}

#[tokio::test]
async fn a_restore_puts_the_copy_in_place_and_keeps_what_was_there() {
    let place = Place::new();
    place.with_tag("old").await;
    place.back_up("copy.db");
    place.with_tag("new").await;
    let done = restore(&place.file("copy.db"), &place.database(), NOON, "now");
    let done = done.expect("is restored");
    assert_eq!(done.as_of, NOON);
    let replaced = place.file("seawall.db.replaced.now");
    assert_eq!(done.replaced.as_deref(), Some(replaced.as_path()));
    assert_eq!(place.tags().await, ["old"]);
    // And back again, under another name although the moment has the same.
    let done = restore(&replaced, &place.database(), NOON, "now").expect("is restored");
    let second = place.file("seawall.db.replaced.now-2");
    assert_eq!(done.replaced, Some(second));
    assert_eq!(place.tags().await, ["new", "old"]);
}

#[tokio::test]
async fn a_restore_into_an_empty_directory_replaces_nothing() {
    let (from, place) = (Place::new(), Place::new());
    from.with_tag("v1").await;
    from.back_up("copy.db");
    let done = restore(&from.file("copy.db"), &place.database(), NOON, "now");
    assert_eq!(done.expect("is restored").replaced, None);
    assert_eq!(place.tags().await, ["v1"]);
    assert_eq!(place.names(), [FILE_NAME]);
}

#[tokio::test]
async fn what_is_no_whole_database_of_this_program_is_refused_and_changes_nothing() {
    let place = Place::new();
    place.with_tag("v1").await;
    place.back_up("copy.db");
    let whole = fs::read(place.file("copy.db")).expect("reads");
    let file = place.file("wrong.db");
    let refused = || {
        let refused = restore(&file, &place.database(), NOON, "now");
        refused.expect_err("is refused")
    };
    let foreign = |contents: &[u8]| {
        fs::write(&file, contents).expect("writes");
        let refused = refused();
        assert!(matches!(refused, CopyError::Foreign), "{refused:?}");
    };
    foreign(b"");
    foreign(b"docker/registry/v2 is no database");
    foreign(&[b'x'; 8192]);
    fs::write(&file, b"").expect("writes");
    tamper(
        &file,
        "CREATE TABLE schema_version (schema INTEGER, min_compatible INTEGER); CREATE TABLE users (x)",
    );
    assert!(matches!(refused(), CopyError::Foreign));
    fs::write(&file, &whole).expect("writes");
    tamper(
        &file,
        "CREATE TRIGGER t AFTER DELETE ON blobs BEGIN DELETE FROM tags; END",
    );
    assert!(matches!(refused(), CopyError::Foreign));

    fs::write(&file, &whole[..whole.len() / 2]).expect("writes");
    assert!(matches!(refused(), CopyError::Damaged { .. }));
    let mut torn = whole.clone();
    // The pages behind the first one, which holds the schema.
    torn[4096..]
        .iter_mut()
        .step_by(7)
        .for_each(|byte| *byte = !*byte);
    fs::write(&file, &torn).expect("writes");
    assert!(matches!(refused(), CopyError::Damaged { .. }));

    fs::write(&file, &whole).expect("writes");
    tamper(
        &file,
        "UPDATE schema_version SET schema = 9000, min_compatible = 9000",
    );
    let too_new = refused();
    assert!(
        matches!(
            too_new,
            CopyError::Database(Error::TooNew { needs: 9000, .. })
        ),
        "{too_new:?}"
    );
    fs::write(&file, &whole).expect("writes");
    fs::write(place.file("wrong.db-wal"), b"some pages").expect("writes");
    assert!(matches!(refused(), CopyError::NotClosed));
    fs::remove_file(place.file("wrong.db-wal")).expect("is there");
    assert_eq!(place.names(), ["copy.db", FILE_NAME, "wrong.db"]);
    assert_eq!(place.tags().await, ["v1"]);
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_database_or_the_new_one() {
    // How far a restore came: what it had done when it stopped.
    for (steps, expected) in [
        (0, ["newer", "old"].as_slice()),
        (1, &["old"]),
        (2, &["old"]),
        (3, &["old"]),
    ] {
        let place = Place::new();
        place.with_tag("old").await;
        place.back_up("copy.db");
        // A log file with what the database itself does not hold yet, as a killed process leaves it.
        let world = place.open();
        world.tagged("a", "newer", "m").await;
        let log = fs::read(place.file("seawall.db-wal")).expect("a log file");
        let before = fs::read(place.database()).expect("reads");
        world.metadata.close().await;
        drop(world);
        fs::write(place.database(), &before).expect("writes");
        fs::write(place.file("seawall.db-wal"), &log).expect("writes");
        assert!(!log.is_empty());

        let decided = place.file("seawall.db.restored.then");
        fs::write(place.file("seawall.db.restoring"), b"half").expect("writes");
        if steps >= 1 {
            let other = Place::new();
            let made = restore(&place.file("copy.db"), &other.database(), NOON, "then");
            made.expect("is prepared");
            fs::copy(other.database(), &decided).expect("is decided");
            let refused = back_up(&place.database(), &place.file("b.db"), &Cancel::default());
            assert!(matches!(refused, Err(CopyError::Unfinished)), "{refused:?}");
        }
        if steps >= 2 {
            let away = place.file("seawall.db.replaced.then-wal");
            fs::rename(place.file("seawall.db-wal"), away).expect("is moved");
        }
        if steps >= 3 {
            let away = place.file("seawall.db.replaced.then");
            fs::rename(place.database(), away).expect("is moved");
        }
        finish_restore(&place.database()).expect("finishes");
        assert_eq!(place.tags().await, expected, "after {steps} steps");
        assert!(!place.file("seawall.db.restoring").exists());
        if steps >= 1 {
            // What was replaced is whole, its log included.
            let replaced = place.file("seawall.db.replaced.then");
            fs::rename(
                place.file("seawall.db.replaced.then-wal"),
                place.file("seawall.db-wal"),
            )
            .expect("is there");
            fs::rename(replaced, place.database()).expect("is there");
            assert_eq!(place.tags().await, ["newer", "old"], "after {steps} steps");
        }
    }
}

#[tokio::test]
async fn a_restored_database_goes_on_safely() {
    let place = Place::new();
    place.with_tag("v1").await;
    place.back_up("copy.db");
    let copy = place.file("copy.db");
    tamper(
        &copy,
        "INSERT INTO blobs (digest, size, state, lease_until, created_at) VALUES (x'01', 1, 2, 0, 0);
         INSERT INTO gc_candidates (repository_id, digest, kind, since) VALUES (1, x'01', 1, 5);
         INSERT INTO jobs (kind, unique_key, payload, state, run_after, created_at) VALUES ('gc', 'k', '{}', 2, 0, 0);
         INSERT INTO scrubs (scope, began_at) VALUES ('', 5);
         UPDATE upkeep SET clean = 1;",
    );
    // The clock of the replaced database was ahead of the machine's.
    place.clock.advance(HOUR);
    place.with_tag("later").await;
    restore(&copy, &place.database(), NOON, "now").expect("is restored");
    let mut connection = Connection::open(&place.database(), Access::Copy).expect("opens");
    let mut number = |sql: &'static str| {
        let rows = connection.query(sql, &[]).expect("reads");
        rows[0].i64(0).expect("a number")
    };
    assert_eq!(number("SELECT count(*) FROM blobs WHERE state = 2"), 0);
    assert_eq!(number("SELECT count(*) FROM blobs WHERE state = 1"), 1);
    assert_eq!(number("SELECT micros FROM clock"), NOON + HOUR);
    assert_eq!(number("SELECT since FROM gc_candidates"), NOON + HOUR);
    assert_eq!(number("SELECT clean FROM upkeep"), 0);
    assert_eq!(number("SELECT count(*) FROM scrubs"), 0);
    assert_eq!(number("SELECT count(*) FROM jobs WHERE state IN (1, 2)"), 0);
    drop(connection);
    // A clock that is behind turns no stored time back.
    place.clock.set_wall(NOON - HOUR);
    let world = place.open();
    assert!(world.metadata.now() >= NOON + HOUR);
    world.metadata.close().await;
}
