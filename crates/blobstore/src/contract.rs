//! The contract of [`BlobStore`]: one function per promise, run by every driver over an empty store.

use std::io::Read;

use oci::{Algorithm, Digest, UploadId};

use crate::{BlobAddress, BlobKey, BlobStore, ErrorKind};

/// Every clause.
pub(crate) const CLAUSES: [fn(&dyn BlobStore); 9] = [
    a_published_blob_reads_back,
    an_absent_blob_is_not_found,
    bytes_behind_the_offset_are_cut_off,
    an_upload_with_lost_bytes_is_not_continued,
    publishing_another_size_is_refused_and_leaves_nothing,
    an_upload_stays_until_it_is_aborted_and_aborting_twice_does_no_harm,
    publishing_again_replaces_what_is_there,
    copies_under_keys_live_and_die_on_their_own,
    deleting_twice_does_no_harm,
];

/// Returns the upload id number `number`.
pub(crate) fn id(number: u8) -> UploadId {
    UploadId::parse(&format!("00000000-0000-4000-8000-0000000000{number:02x}")).expect("an id")
}

/// Stores `bytes` and returns where.
pub(crate) fn stored(store: &dyn BlobStore, bytes: &[u8], key: Option<&str>) -> BlobAddress {
    let at = BlobAddress {
        digest: Digest::of(Algorithm::Sha256, bytes),
        key: key.map(|key| BlobKey::parse(key).expect("a key")),
    };
    write(store, &id(1), bytes);
    publish(store, &id(1), bytes.len() as u64, &at);
    store.abort_upload(&id(1)).expect("aborted");
    at
}

fn write(store: &dyn BlobStore, id: &UploadId, bytes: &[u8]) {
    let state = store.begin_upload(id).expect("begun");
    let mut appender = store.append(id, &state, 0).expect("opened");
    for chunk in bytes.chunks(3) {
        appender.write(chunk).expect("written");
    }
    appender.flush().expect("flushed");
}

fn publish(store: &dyn BlobStore, id: &UploadId, size: u64, at: &BlobAddress) {
    let state = crate::UploadState::of_driver(vec![1]);
    store.publish(id, &state, size, at).expect("published");
}

fn read(store: &dyn BlobStore, at: &BlobAddress) -> Vec<u8> {
    let mut opened = store.open(at).expect("there");
    let mut bytes = Vec::new();
    opened.file.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes.len() as u64, opened.size);
    bytes
}

fn a_published_blob_reads_back(store: &dyn BlobStore) {
    for bytes in [b"".as_slice(), b"seawall"] {
        let at = stored(store, bytes, None);
        assert_eq!(read(store, &at), bytes);
    }
}

fn an_absent_blob_is_not_found(store: &dyn BlobStore) {
    let at = BlobAddress {
        digest: Digest::of(Algorithm::Sha512, b"absent"),
        key: None,
    };
    let error = store.open(&at).expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn bytes_behind_the_offset_are_cut_off(store: &dyn BlobStore) {
    write(store, &id(2), b"0123456789");
    let state = crate::UploadState::of_driver(vec![1]);
    let mut appender = store.append(&id(2), &state, 4).expect("continued");
    appender.write(b"xy").expect("written");
    appender.flush().expect("flushed");
    let mut bytes = String::new();
    let mut upload = store.read_upload(&id(2)).expect("there");
    upload.read_to_string(&mut bytes).expect("read");
    assert_eq!(bytes, "0123xy");
}

fn an_upload_with_lost_bytes_is_not_continued(store: &dyn BlobStore) {
    write(store, &id(2), b"0123");
    let state = crate::UploadState::of_driver(vec![1]);
    let error = store.append(&id(2), &state, 5).err().expect("too short");
    assert_eq!(error.kind(), ErrorKind::UploadTooShort { have: 4 });
    let error = store.append(&id(3), &state, 0).err().expect("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn publishing_another_size_is_refused_and_leaves_nothing(store: &dyn BlobStore) {
    let at = BlobAddress {
        digest: Digest::of(Algorithm::Sha256, b"0123"),
        key: None,
    };
    write(store, &id(2), b"0123");
    let state = crate::UploadState::of_driver(vec![1]);
    for size in [3, 5] {
        assert!(store.publish(&id(2), &state, size, &at).is_err());
    }
    assert!(store.open(&at).is_err());
}

fn an_upload_stays_until_it_is_aborted_and_aborting_twice_does_no_harm(store: &dyn BlobStore) {
    let at = BlobAddress {
        digest: Digest::of(Algorithm::Sha256, b"0123"),
        key: None,
    };
    write(store, &id(2), b"0123");
    publish(store, &id(2), 4, &at);
    // As after a crash between publishing and the commit: it is done again.
    publish(store, &id(2), 4, &at);
    assert_eq!(store.list_uploads().expect("a list"), [id(2)]);
    for _ in 0..2 {
        store.abort_upload(&id(2)).expect("aborted");
    }
    assert!(store.list_uploads().expect("a list").is_empty());
    assert_eq!(read(store, &at), b"0123");
}

fn publishing_again_replaces_what_is_there(store: &dyn BlobStore) {
    let at = BlobAddress {
        digest: Digest::of(Algorithm::Sha256, b"good"),
        key: None,
    };
    write(store, &id(2), b"damaged");
    publish(store, &id(2), 7, &at);
    let opened_before = store.open(&at).expect("there");
    write(store, &id(3), b"good");
    publish(store, &id(3), 4, &at);
    assert_eq!(read(store, &at), b"good");
    assert_eq!(opened_before.size, 7, "a reader keeps what it opened");
}

fn copies_under_keys_live_and_die_on_their_own(store: &dyn BlobStore) {
    let plain = stored(store, b"seawall", None);
    let keyed = stored(store, b"seawall", Some("copy-2"));
    store.delete(&plain).expect("deleted");
    assert!(store.open(&plain).is_err());
    assert_eq!(read(store, &keyed), b"seawall");
}

fn deleting_twice_does_no_harm(store: &dyn BlobStore) {
    let at = stored(store, b"seawall", None);
    for _ in 0..2 {
        store.delete(&at).expect("deleted");
    }
    assert!(store.open(&at).is_err());
}
