//! The clauses about the step from upload to blob: complete or not at all, and nothing reaches the blob afterwards.

use oci::{Algorithm, Digest, UploadId};

use super::steps::{
    address_of, append, chunk, is_absent, publish, read, store_blob, upload, upload_id,
};
use crate::address::{BlobAddress, BlobKey};
use crate::error::ErrorKind;
use crate::store::BlobStore;

/// An upload that is not there is told as such.
pub fn an_upload_that_is_not_there_cannot_be_published(store: &dyn BlobStore) {
    let at = address_of(b"bytes");
    let state = upload(store, &upload_id(1), b"bytes");
    let error = store
        .publish(&upload_id(2), &state, 5, &at)
        .expect_err("no such upload was begun");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(is_absent(store, &at));
}

/// Lost bytes are noticed before a blob is made of the rest.
pub fn an_upload_of_fewer_bytes_is_not_published(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let state = upload(store, &id, b"byte");
    let error = store
        .publish(&id, &state, 5, &at)
        .expect_err("a byte is missing");
    assert_eq!(error.kind(), ErrorKind::UploadTooShort { have: 4 });
    assert!(is_absent(store, &at));
}

/// Bytes that nobody hashed do not become part of a blob.
pub fn an_upload_of_more_bytes_is_not_published(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let state = upload(store, &id, b"bytes!");
    let error = store
        .publish(&id, &state, 5, &at)
        .expect_err("there is a byte too many");
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(is_absent(store, &at));
}

/// A push or an upstream heals a damaged blob; who reads the old bytes keeps reading them.
pub fn publishing_replaces_what_was_there(store: &dyn BlobStore) {
    let at = address_of(b"sound bytes");
    store_blob(store, &upload_id(1), b"damaged", &at);
    store_blob(store, &upload_id(2), b"sound bytes", &at);
    assert_eq!(read(store, &at), b"sound bytes");
}

/// A retry finds the upload still there and publishes it again, or finds it gone; the blob is whole either way.
pub fn publishing_the_same_upload_again_does_no_harm(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let state = upload(store, &id, b"bytes");
    publish(store, &id, &state, b"bytes", &at);
    if let Err(error) = store.publish(&id, &state, 5, &at) {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(read(store, &at), b"bytes");
}

/// Returns the blobs the upload was published as, sorted.
fn published(store: &dyn BlobStore, id: &UploadId) -> Vec<BlobAddress> {
    let mut blobs = store.published(id).expect("an upload can be looked at");
    blobs.sort();
    blobs
}

/// Whether anything is left of the upload. Some storages cannot keep it beside the blob.
fn is_left(store: &dyn BlobStore, id: &UploadId) -> bool {
    let uploads = store.list_uploads().expect("uploads can be listed");
    uploads.contains(id)
}

/// Nobody takes an upload for a blob because another one of the same bytes is there.
pub fn an_upload_that_was_not_published_is_no_blob(store: &dyn BlobStore) {
    store_blob(store, &upload_id(1), b"bytes", &address_of(b"bytes"));
    assert_eq!(published(store, &upload_id(1)), []);
    upload(store, &upload_id(2), b"bytes");
    assert_eq!(published(store, &upload_id(2)), []);
    assert_eq!(published(store, &upload_id(3)), []);
}

/// What was published and never committed is found from the upload, under every address it was published at.
pub fn an_upload_that_stays_tells_the_blobs_it_was_published_as(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let keyed = BlobAddress {
        key: BlobKey::parse("a-key"),
        ..at.clone()
    };
    let long = BlobAddress {
        digest: Digest::of(Algorithm::Sha512, b"bytes"),
        key: None,
    };
    let state = upload(store, &id, b"bytes");
    let mut at_all = Vec::new();
    for at in [at, keyed, long] {
        match store.publish(&id, &state, 5, &at) {
            Ok(()) => at_all.push(at),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        at_all.sort();
        let expected: &[BlobAddress] = if is_left(store, &id) { &at_all } else { &[] };
        assert_eq!(published(store, &id), expected);
    }
    store.abort_upload(&id).expect("a published upload ends");
    assert_eq!(published(store, &id), []);
}

/// What another upload put in its place is not taken for this one's.
pub fn a_blob_that_was_replaced_or_deleted_is_no_longer_the_uploads(store: &dyn BlobStore) {
    let at = address_of(b"bytes");
    for delete in [false, true] {
        let id = upload_id(u32::from(delete));
        let state = upload(store, &id, b"bytes");
        publish(store, &id, &state, b"bytes", &at);
        if delete {
            store.delete(&at).expect("a blob can be deleted");
        } else {
            store_blob(store, &upload_id(2), b"bytes", &at);
        }
        assert_eq!(published(store, &id), []);
    }
}

/// The end of an upload ends nothing but the upload.
pub fn aborting_after_publishing_leaves_the_blob(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let state = upload(store, &id, b"bytes");
    publish(store, &id, &state, b"bytes", &at);
    store.abort_upload(&id).expect("a published upload ends");
    assert_eq!(read(store, &at), b"bytes");
    assert_eq!(store.list_uploads().expect("uploads can be listed"), []);
}

/// A client whose answer was lost may go back and send other bytes: the blob keeps those it was published with.
pub fn a_published_upload_that_goes_on_leaves_the_blob_alone(store: &dyn BlobStore) {
    let id = upload_id(1);
    let first = chunk(store, b'a');
    let checkpoint = upload(store, &id, &first);
    let whole = [&first[..], b"end"].concat();
    let state = append(store, &id, &checkpoint, first.len(), b"end");
    publish(store, &id, &state, &whole, &address_of(&whole));

    if let Err(error) = store.append(&id, &checkpoint, first.len() as u64) {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    } else {
        let state = append(store, &id, &checkpoint, first.len(), b"another end");
        let other = [&first[..], b"another end"].concat();
        publish(store, &id, &state, &other, &address_of(&other));
        assert!(read(store, &address_of(&other)) == other);
    }
    assert!(read(store, &address_of(&whole)) == whole);
}

/// A writer whose client went away still holds its appender: nothing it does reaches a blob.
pub fn an_appender_left_open_cannot_change_what_is_published(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let state = upload(store, &id, b"bytes");
    let mut left_open = store.append(&id, &state, 5).expect("the upload is there");
    match store.publish(&id, &state, 5, &at) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::UploadBusy);
            drop(left_open);
            publish(store, &id, &state, b"bytes", &at);
        }
        Ok(()) => {
            // Whether it fails is the driver's affair; what counts is the blob.
            drop(left_open.write(b"more"));
            drop(left_open.flush());
        }
    }
    assert_eq!(read(store, &at), b"bytes");
}

/// Of two writers of one upload, the one whose bytes are recorded is the one that is published.
pub fn a_second_appender_cannot_change_what_the_first_flushed(store: &dyn BlobStore) {
    let (id, at) = (upload_id(1), address_of(b"bytes"));
    let begun = store.begin_upload(&id).expect("a new upload begins");
    let mut first = store.append(&id, &begun, 0).expect("the upload is there");
    let second = store.append(&id, &begun, 0);
    first.write(b"bytes").expect("the store takes bytes");
    let state = first.flush().expect("the store keeps bytes");
    match second {
        Err(error) => assert_eq!(error.kind(), ErrorKind::UploadBusy),
        Ok(mut second) => {
            drop(second.write(b"other"));
            drop(second.flush());
        }
    }
    drop(first);
    publish(store, &id, &state, b"bytes", &at);
    assert_eq!(read(store, &at), b"bytes");
}
