//! The contract suite on a real directory, and what only a file system can get wrong: paths, links, leftovers, locks.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use oci::{Algorithm, Digest, UploadId};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::address::{BlobAddress, BlobKey};
use crate::error::ErrorKind;
use crate::filesystem::Filesystem;
use crate::store::{BlobStore, UploadState};

/// Runs one clause of the contract in a directory of its own.
fn in_a_fresh_directory(clause: fn(&dyn BlobStore)) {
    let (_directory, store) = fresh();
    clause(&store);
}

crate::contract_suite!(in_a_fresh_directory);

fn fresh() -> (TempDir, Filesystem) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = Filesystem::open(directory.path()).expect("an empty root can be opened");
    (directory, store)
}

fn id(number: u32) -> UploadId {
    UploadId::parse(&format!("00000000-0000-4000-8000-{number:012x}")).expect("a canonical id")
}

fn sha256(bytes: &[u8]) -> BlobAddress {
    BlobAddress {
        digest: Digest::of(Algorithm::Sha256, bytes),
        key: None,
    }
}

fn upload(store: &Filesystem, id: &UploadId, bytes: &[u8]) -> UploadState {
    let state = store.begin_upload(id).expect("a new upload begins");
    let mut appender = store.append(id, &state, 0).expect("it is there");
    appender.write(bytes).expect("the disk takes bytes");
    appender.flush().expect("the disk keeps bytes")
}

fn store_blob(store: &Filesystem, id: &UploadId, bytes: &[u8], at: &BlobAddress) {
    let state = upload(store, id, bytes);
    store
        .publish(id, &state, bytes.len() as u64, at)
        .expect("a complete upload is published");
    store.abort_upload(id).expect("a published upload ends");
}

fn blobs(root: &Path) -> PathBuf {
    root.join("docker/registry/v2/blobs")
}

fn listed(store: &Filesystem) -> Vec<(BlobAddress, u64)> {
    let mut found = Vec::new();
    store
        .list(&mut |address, size| {
            found.push((address, size));
            ControlFlow::Continue(())
        })
        .expect("the store can be listed");
    found
}

fn uploads_left(root: &Path) -> usize {
    fs::read_dir(root.join("uploads"))
        .expect("the directory is there")
        .count()
}

#[test]
fn a_blob_lies_where_distribution_keeps_it_and_one_with_a_key_beside_it() {
    let (root, store) = fresh();
    let mut at = sha256(b"hello");
    let directory = blobs(root.path())
        .join("sha256/2c/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");

    store_blob(&store, &id(1), b"hello", &at);
    at.key = BlobKey::parse("k-1");
    store_blob(&store, &id(2), b"hello", &at);

    let mut names: Vec<_> = fs::read_dir(&directory)
        .expect("the blob's directory is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["data", "data.k-1"]);
    assert_eq!(
        fs::read(directory.join("data")).expect("it is a file"),
        b"hello"
    );
}

#[test]
fn opening_creates_the_root_and_opening_again_finds_what_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let root = directory.path().join("not/yet/there");
    let store = Filesystem::open(&root).expect("the root is created");
    store_blob(&store, &id(1), b"bytes", &sha256(b"bytes"));

    let again = Filesystem::open(&root).expect("the root can be opened twice");

    assert_eq!(listed(&again), [(sha256(b"bytes"), 5)]);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let root = directory.path().join("file");
    fs::write(&root, b"").expect("the directory takes files");
    let error = Filesystem::open(&root)
        .err()
        .expect("a file holds no directories");
    assert_eq!(error.kind(), ErrorKind::Other);
}

#[test]
fn no_error_tells_a_path() {
    let (root, store) = fresh();
    let state = upload(&store, &id(1), b"bytes");
    let errors = [
        store.open(&sha256(b"absent")).err(),
        store.append(&id(2), &state, 0).err(),
        store.append(&id(1), &state, 9).err(),
        store.read_upload(&id(2)).err(),
        store.publish(&id(1), &state, 9, &sha256(b"x")).err(),
        Filesystem::open(&root.path().join("uploads").join(id(1).as_str())).err(),
    ];
    for error in errors {
        let text = error.expect("each of these fails").to_string();
        assert!(!text.contains('/'), "{text}");
        assert!(!text.contains("uploads"), "{text}");
    }
}

#[test]
fn another_process_continues_an_upload() {
    let (root, store) = fresh();
    let state = upload(&store, &id(1), b"first ");
    let other = Filesystem::open(root.path()).expect("two may have the root open");

    let mut appender = other
        .append(&id(1), &state, 6)
        .expect("the upload is there");
    appender.write(b"second").expect("the disk takes bytes");
    let state = appender.flush().expect("the disk keeps bytes");
    drop(appender);

    let at = sha256(b"first second");
    store
        .publish(&id(1), &state, 12, &at)
        .expect("the upload is complete");
    assert_eq!(store.open(&at).expect("the blob is there").size, 12);
}

#[test]
fn a_writer_keeps_others_out_also_of_another_process() {
    let (root, store) = fresh();
    let other = Filesystem::open(root.path()).expect("two may have the root open");
    let state = upload(&store, &id(1), b"bytes");

    let appender = store
        .append(&id(1), &state, 5)
        .expect("the upload is there");
    let append = other.append(&id(1), &state, 5).err().expect("it is locked");
    let publish = other
        .publish(&id(1), &state, 5, &sha256(b"bytes"))
        .expect_err("it is locked");
    assert_eq!(append.kind(), ErrorKind::UploadBusy);
    assert_eq!(publish.kind(), ErrorKind::UploadBusy);

    drop(appender);
    other
        .append(&id(1), &state, 5)
        .expect("the lock went with its holder");
}

#[test]
fn a_published_upload_shares_its_bytes_until_it_goes_on() {
    let (root, store) = fresh();
    let at = sha256(b"bytes");
    let state = upload(&store, &id(1), b"bytes");
    store
        .publish(&id(1), &state, 5, &at)
        .expect("the upload is complete");
    let blob = store.open(&at).expect("the blob is there");
    let inode = |path: &Path| fs::metadata(path).expect("the file is there").ino();
    let blob_inode = blob.file.metadata().expect("it is open").ino();
    let path = root.path().join("uploads").join(id(1).as_str());
    assert_eq!(inode(&path), blob_inode);

    drop(store.append(&id(1), &state, 2).expect("the upload goes on"));

    assert_ne!(inode(&path), blob_inode);
    assert_eq!(fs::read(&path).expect("the copy is there"), b"by");
    assert_eq!(store.open(&at).expect("the blob is there").size, 5);
    assert_eq!(uploads_left(root.path()), 1);
}

#[test]
fn what_a_crash_leaves_beside_an_upload_is_found_and_removed_with_it() {
    let (root, store) = fresh();
    for name in [format!("{}.publish", id(1)), format!("{}.copy", id(2))] {
        fs::write(root.path().join("uploads").join(name), b"left").expect("it takes files");
    }
    upload(&store, &id(2), b"bytes");
    fs::write(root.path().join("uploads/README"), b"foreign").expect("it takes files");

    assert_eq!(
        store.list_uploads().expect("it can be listed"),
        [id(1), id(2)]
    );

    for left in [id(1), id(2)] {
        store.abort_upload(&left).expect("an upload can be aborted");
    }
    assert_eq!(store.list_uploads().expect("it can be listed"), []);
    assert_eq!(uploads_left(root.path()), 1, "the foreign file stays");
}

#[test]
fn publishing_twice_leaves_no_second_name_behind() {
    let (root, store) = fresh();
    let at = sha256(b"bytes");
    let state = upload(&store, &id(1), b"bytes");
    for _ in 0..2 {
        store
            .publish(&id(1), &state, 5, &at)
            .expect("the upload is complete");
        assert_eq!(uploads_left(root.path()), 1);
    }
}

#[test]
fn a_symbolic_link_in_the_place_of_a_blob_or_upload_is_not_followed() {
    let (root, store) = fresh();
    let secret = root.path().join("secret");
    fs::write(&secret, b"secret").expect("the root takes files");
    let at = sha256(b"bytes");
    store_blob(&store, &id(1), b"bytes", &at);
    let hex = at.digest.hex();
    let data = blobs(root.path())
        .join("sha256")
        .join(&hex[..2])
        .join(&hex)
        .join("data");
    fs::remove_file(&data).expect("the blob is there");
    symlink(&secret, &data).expect("links can be made");
    let state = store.begin_upload(&id(2)).expect("a new upload begins");
    store.abort_upload(&id(2)).expect("it ends");
    symlink(&secret, root.path().join("uploads").join(id(2).as_str())).expect("links can be made");

    let results = [
        store.open(&at).err(),
        store.append(&id(2), &state, 0).err(),
        store.read_upload(&id(2)).err(),
        store.publish(&id(2), &state, 6, &at).err(),
        store.begin_upload(&id(2)).err(),
    ];

    for error in results {
        let error = error.expect("the link is not followed");
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    }
    assert_eq!(listed(&store), []);
    assert_eq!(fs::read(&secret).expect("it is untouched"), b"secret");

    store_blob(&store, &id(3), b"bytes", &at);
    assert_eq!(store.open(&at).expect("a push heals it").size, 5);
    assert_eq!(fs::read(&secret).expect("it is untouched"), b"secret");
}

#[test]
fn a_directory_or_pipe_in_the_place_of_a_blob_is_refused_at_once() {
    let (root, store) = fresh();
    let place = |bytes: &[u8]| {
        let at = sha256(bytes);
        let hex = at.digest.hex();
        let directory = blobs(root.path()).join("sha256").join(&hex[..2]).join(&hex);
        fs::create_dir_all(&directory).expect("the root takes directories");
        (at, directory.join("data"))
    };
    let (directory, path) = place(b"directory");
    fs::create_dir(path).expect("it takes directories");
    let (pipe, path) = place(b"pipe");
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("pipes can be made");

    for at in [directory, pipe] {
        let error = store.open(&at).expect_err("it is no blob");
        assert_eq!(error.kind(), ErrorKind::Other);
    }
    assert_eq!(listed(&store), []);
}

#[test]
fn listing_passes_over_what_is_not_ours() {
    let (root, store) = fresh();
    store_blob(&store, &id(1), b"bytes", &sha256(b"bytes"));
    let blobs = blobs(root.path());
    let hex = sha256(b"bytes").digest.hex();
    let own = blobs.join("sha256").join(&hex[..2]).join(&hex);
    let other_hex = sha256(b"other").digest.hex();
    for directory in [
        blobs.join("sha384/ab"),
        blobs.join("lost+found"),
        blobs.join("sha256/lost+found"),
        blobs.join("sha256/zz/nonsense"),
        // Right name, wrong shard: no request would ever find it.
        blobs.join("sha256").join("00").join(&other_hex),
        blobs.join("sha256").join(&other_hex[..2]).join(&other_hex),
    ] {
        fs::create_dir_all(directory).expect("the root takes directories");
    }
    for file in [
        blobs.join("README"),
        blobs.join("sha256/x"),
        blobs.join("sha256/xy"),
        blobs.join("sha256").join(&hex[..2]).join(".tmp"),
        blobs
            .join("sha256")
            .join("00")
            .join(&other_hex)
            .join("data"),
        own.join("data.tmp~"),
        own.join("data."),
        own.join("database"),
        own.join(".data.12345"),
    ] {
        fs::write(file, b"foreign").expect("the root takes files");
    }
    assert_eq!(listed(&store), [(sha256(b"bytes"), 5)]);
}

#[test]
fn deleting_the_last_key_of_a_digest_removes_its_directory() {
    let (root, store) = fresh();
    let at = sha256(b"bytes");
    let keyed = BlobAddress {
        key: BlobKey::parse("k"),
        ..at.clone()
    };
    store_blob(&store, &id(1), b"bytes", &at);
    store_blob(&store, &id(2), b"bytes", &keyed);
    let hex = at.digest.hex();
    let shard = blobs(root.path()).join("sha256").join(&hex[..2]);

    store.delete(&at).expect("a blob can be deleted");
    assert!(shard.join(&hex).join("data.k").exists());
    store.delete(&keyed).expect("a blob can be deleted");
    assert!(!shard.join(&hex).exists());
    assert!(shard.exists());
}

#[test]
fn a_shard_that_was_removed_by_hand_is_made_again() {
    let (root, store) = fresh();
    for number in [1, 2] {
        store_blob(&store, &id(number), b"bytes", &sha256(b"bytes"));
        fs::remove_dir_all(blobs(root.path()).join("sha256")).expect("it is there");
    }
    store_blob(&store, &id(3), b"bytes", &sha256(b"bytes"));
    assert_eq!(listed(&store), [(sha256(b"bytes"), 5)]);
}

#[test]
fn publications_beside_deletions_of_the_same_digest_all_succeed() {
    const ROUNDS: u32 = 200;
    let (root, store) = fresh();
    let keyed = |key: &str| BlobAddress {
        key: BlobKey::parse(key),
        ..sha256(b"bytes")
    };
    let (published, deleted) = (keyed("published"), keyed("deleted"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each deletion takes away the digest's directory whenever it is empty, also just after it was made.
        let deleting = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.delete(&deleted).expect("nothing there is fine");
            }
        });
        let publishing = scope.spawn(|| {
            for round in 0..ROUNDS {
                store_blob(&store, &id(round), b"bytes", &published);
                assert_eq!(store.open(&published).expect("it was published").size, 5);
                store.delete(&published).expect("a blob can be deleted");
            }
        });
        let outcome = publishing.join();
        done.store(true, Ordering::Relaxed);
        deleting.join().expect("deletions succeed");
        outcome.expect("publications succeed");
    });
    assert_eq!(listed(&store), []);
    assert_eq!(uploads_left(root.path()), 0);
}

#[test]
fn a_blob_is_replaced_whole_under_the_eyes_of_its_readers() {
    let (_root, store) = fresh();
    let at = sha256(b"sound");
    store_blob(&store, &id(1), b"damaged", &at);
    let before = store.open(&at).expect("the blob is there");
    store_blob(&store, &id(2), b"sound", &at);
    assert_eq!(before.file.metadata().expect("it is open").len(), 7);
    assert_eq!(store.open(&at).expect("the blob is there").size, 5);
}

#[test]
fn an_opened_blob_cannot_be_written_through() {
    let (_root, store) = fresh();
    let at = sha256(b"bytes");
    store_blob(&store, &id(1), b"bytes", &at);
    let mut blob = store.open(&at).expect("the blob is there");
    blob.file
        .write_all(b"x")
        .expect_err("it is open for reading");
}
