//! The clauses about finished blobs: found, read, deleted, listed.

use std::io::Read;
use std::ops::ControlFlow;

use oci::{Algorithm, Digest};

use super::steps::{
    address_of, begin, chunk, is_absent, publish, read, store_blob, upload, upload_id,
};
use crate::address::{BlobAddress, BlobKey};
use crate::store::BlobStore;

/// Returns the address of `bytes` under `key`.
fn keyed(bytes: &[u8], key: &str) -> BlobAddress {
    BlobAddress {
        key: Some(BlobKey::parse(key).expect("the key is well formed")),
        ..address_of(bytes)
    }
}

/// Returns every blob of the store with its size, sorted.
fn listed(store: &dyn BlobStore) -> Vec<(BlobAddress, u64)> {
    let mut blobs = Vec::new();
    store
        .list(&mut |address, size| {
            blobs.push((address, size));
            ControlFlow::Continue(())
        })
        .expect("the store can be listed");
    blobs.sort();
    blobs
}

/// A blob nobody published is not found, whether others exist or not.
pub fn a_blob_that_was_never_published_is_not_found(store: &dyn BlobStore) {
    assert!(is_absent(store, &address_of(b"absent")));
    store_blob(store, &upload_id(1), b"present", &address_of(b"present"));
    assert!(is_absent(store, &address_of(b"absent")));
    assert!(is_absent(store, &keyed(b"present", "k")));
}

/// What went in comes out.
pub fn published_bytes_are_read_back_exactly(store: &dyn BlobStore) {
    let bytes = [chunk(store, b'a'), chunk(store, b'b')].concat();
    let at = address_of(&bytes);
    store_blob(store, &upload_id(1), &bytes, &at);
    assert!(read(store, &at) == bytes, "the bytes are the same");
}

/// A blob of no bytes is published and found; OCI's clients push some.
pub fn an_empty_blob_is_a_blob(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b""));
    let state = begin(store, &id);
    publish(store, &id, &state, b"", &at);
    assert_eq!(read(store, &at), b"");
}

/// Both algorithms are stored beside each other, also for the same bytes.
pub fn digests_of_every_algorithm_have_their_place(store: &dyn BlobStore) {
    for (number, algorithm) in [(1, Algorithm::Sha256), (2, Algorithm::Sha512)] {
        let at = BlobAddress {
            digest: Digest::of(algorithm, b"bytes"),
            key: None,
        };
        assert!(is_absent(store, &at));
        store_blob(store, &upload_id(number), b"bytes", &at);
        assert_eq!(read(store, &at), b"bytes");
    }
}

/// Deleting one generation of a digest leaves the others: a slow deletion cannot hit what was pushed since.
pub fn keys_of_one_digest_are_separate_blobs(store: &dyn BlobStore) {
    let addresses = [
        address_of(b"bytes"),
        keyed(b"bytes", "1"),
        keyed(b"bytes", "2"),
    ];
    for (number, at) in (1..).zip(&addresses) {
        store_blob(store, &upload_id(number), b"bytes", at);
    }
    store.delete(&addresses[1]).expect("a blob can be deleted");
    assert!(is_absent(store, &addresses[1]));
    assert_eq!(read(store, &addresses[0]), b"bytes");
    assert_eq!(read(store, &addresses[2]), b"bytes");
}

/// A deleted blob is gone.
pub fn a_deleted_blob_is_not_found(store: &dyn BlobStore) {
    let at = address_of(b"bytes");
    store_blob(store, &upload_id(1), b"bytes", &at);
    store.delete(&at).expect("a blob can be deleted");
    assert!(is_absent(store, &at));
    assert_eq!(listed(store), []);
}

/// Deleting may be repeated, so that a deletion that was broken off can be finished.
pub fn deleting_a_blob_that_is_not_there_is_fine(store: &dyn BlobStore) {
    let at = address_of(b"bytes");
    store.delete(&at).expect("nothing of the kind was stored");
    store_blob(store, &upload_id(1), b"bytes", &at);
    store.delete(&at).expect("a blob can be deleted");
    store.delete(&at).expect("the blob is gone already");
}

/// Who has a blob open reads it to the end.
pub fn an_open_blob_outlives_its_deletion(store: &dyn BlobStore) {
    let bytes = chunk(store, b'a');
    let at = address_of(&bytes);
    store_blob(store, &upload_id(1), &bytes, &at);
    let mut blob = store.open(&at).expect("the blob is there");
    store.delete(&at).expect("a blob can be deleted");
    let mut rest = Vec::new();
    blob.file
        .read_to_end(&mut rest)
        .expect("the open blob can be read");
    assert!(rest == bytes, "the bytes are the same");
}

/// A deletion leaves nothing behind that stands in the way.
pub fn a_deleted_blob_can_be_published_again(store: &dyn BlobStore) {
    let at = address_of(b"bytes");
    store_blob(store, &upload_id(1), b"bytes", &at);
    store.delete(&at).expect("a blob can be deleted");
    store_blob(store, &upload_id(2), b"bytes", &at);
    assert_eq!(read(store, &at), b"bytes");
}

/// Each blob is visited once, under the address and with the size it was published with.
pub fn every_blob_is_visited_once_with_its_size(store: &dyn BlobStore) {
    assert_eq!(listed(store), []);
    let long = BlobAddress {
        digest: Digest::of(Algorithm::Sha512, b"long"),
        key: None,
    };
    let mut stored = vec![
        (address_of(b""), 0),
        (address_of(b"one"), 3),
        (keyed(b"one", "a-key"), 3),
        (long, 4),
    ];
    for (number, ((at, _), bytes)) in
        (1..).zip(stored.iter().zip([&b""[..], b"one", b"one", b"long"]))
    {
        store_blob(store, &upload_id(number), bytes, at);
    }
    stored.sort();
    assert_eq!(listed(store), stored);
}

/// A visitor that has seen enough is not called again.
pub fn a_visit_ends_when_the_visitor_breaks(store: &dyn BlobStore) {
    for (number, bytes) in (1..).zip([b"one", b"two", b"six"]) {
        store_blob(store, &upload_id(number), bytes, &address_of(bytes));
    }
    let mut visits = 0;
    store
        .list(&mut |_, _| {
            visits += 1;
            ControlFlow::Break(())
        })
        .expect("the store can be listed");
    assert_eq!(visits, 1);
}

/// An upload is no blob before it is published.
pub fn open_uploads_are_not_visited(store: &dyn BlobStore) {
    upload(store, &upload_id(1), b"bytes");
    assert_eq!(listed(store), []);
}
