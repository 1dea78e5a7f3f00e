//! The clauses about open uploads: begun, continued at an offset, ended.

use std::io::Read;

use super::steps::{address_of, append, begin, chunk, publish, read, upload, upload_id};
use crate::error::ErrorKind;
use crate::store::{BlobStore, UploadState};

/// An upload is listed from its beginning to its end.
pub fn a_begun_upload_is_listed_until_it_is_aborted(store: &dyn BlobStore) {
    assert_eq!(store.list_uploads().expect("uploads can be listed"), []);
    let (empty, full) = (upload_id(1), upload_id(2));
    begin(store, &empty);
    upload(store, &full, b"bytes");
    let mut listed = store.list_uploads().expect("uploads can be listed");
    listed.sort();
    assert_eq!(listed, [empty.clone(), full.clone()]);
    store.abort_upload(&full).expect("an upload can be aborted");
    assert_eq!(
        store.list_uploads().expect("uploads can be listed"),
        [empty]
    );
}

/// Aborting may be repeated, and an aborted upload cannot go on.
pub fn aborting_an_upload_that_is_not_there_is_fine(store: &dyn BlobStore) {
    let id = upload_id(1);
    store.abort_upload(&id).expect("it never began");
    let state = upload(store, &id, b"bytes");
    store.abort_upload(&id).expect("an upload can be aborted");
    store.abort_upload(&id).expect("it is gone already");
    let error = store.append(&id, &state, 5).err().expect("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Two sessions never share an upload by accident.
pub fn beginning_an_upload_that_exists_is_refused(store: &dyn BlobStore) {
    let id = upload_id(1);
    let state = upload(store, &id, b"bytes");
    let error = store.begin_upload(&id).expect_err("the upload exists");
    assert_eq!(error.kind(), ErrorKind::Other);
    publish(store, &id, &state, b"bytes", &address_of(b"bytes"));
    assert_eq!(read(store, &address_of(b"bytes")), b"bytes");
}

/// An upload that is not there is told as such, so that the client starts a new one.
pub fn an_upload_that_is_not_there_cannot_be_appended_to(store: &dyn BlobStore) {
    let state = begin(store, &upload_id(1));
    let error = store
        .append(&upload_id(2), &state, 0)
        .err()
        .expect("no such upload was begun");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// The state may be stored as bytes between two appends: everything else is in the store.
pub fn an_upload_continues_where_its_last_flush_ended(store: &dyn BlobStore) {
    let id = upload_id(1);
    let first = chunk(store, b'a');
    let state = upload(store, &id, &first);
    let stored = UploadState::from_bytes(state.as_bytes().to_vec());
    let state = append(store, &id, &stored, first.len(), b"end");
    let all = [&first[..], b"end"].concat();
    publish(store, &id, &state, &all, &address_of(&all));
    assert!(
        read(store, &address_of(&all)) == all,
        "the bytes are the same"
    );
}

/// Every flush is a checkpoint that a later appender can go back to.
pub fn one_appender_can_flush_many_times(store: &dyn BlobStore) {
    let id = upload_id(1);
    let (first, second) = (chunk(store, b'a'), chunk(store, b'b'));
    let state = begin(store, &id);
    let mut appender = store.append(&id, &state, 0).expect("the upload is there");
    appender.write(&first).expect("the store takes bytes");
    let checkpoint = appender.flush().expect("the store keeps bytes");
    appender.write(&second).expect("the store takes bytes");
    appender.flush().expect("the store keeps bytes");
    drop(appender);
    let state = append(store, &id, &checkpoint, first.len(), b"end");
    let all = [&first[..], b"end"].concat();
    publish(store, &id, &state, &all, &address_of(&all));
    assert!(
        read(store, &address_of(&all)) == all,
        "the bytes are the same"
    );
}

/// Bytes written after the last flush that was recorded do not count.
pub fn bytes_past_the_offset_are_cut(store: &dyn BlobStore) {
    let id = upload_id(1);
    let kept = chunk(store, b'a');
    let state = upload(store, &id, &kept);
    let mut lost = store
        .append(&id, &state, kept.len() as u64)
        .expect("the upload is there");
    lost.write(b"these bytes were never recorded")
        .expect("the store takes bytes");
    drop(lost);
    let state = append(store, &id, &state, kept.len(), b"end");
    let all = [&kept[..], b"end"].concat();
    publish(store, &id, &state, &all, &address_of(&all));
    assert!(
        read(store, &address_of(&all)) == all,
        "the bytes are the same"
    );
}

/// Offset zero takes the upload back to its beginning.
pub fn an_upload_can_be_started_over(store: &dyn BlobStore) {
    let id = upload_id(1);
    let first = begin(store, &id);
    append(store, &id, &first, 0, &chunk(store, b'a'));
    let state = append(store, &id, &first, 0, b"again");
    publish(store, &id, &state, b"again", &address_of(b"again"));
    assert_eq!(read(store, &address_of(b"again")), b"again");
}

/// Bytes that the store lost are noticed before anything is added.
pub fn an_upload_with_fewer_bytes_than_the_offset_is_too_short(store: &dyn BlobStore) {
    let id = upload_id(1);
    let bytes = chunk(store, b'a');
    let have = bytes.len() as u64;
    let state = upload(store, &id, &bytes);
    let error = store
        .append(&id, &state, have + 1)
        .err()
        .expect("a byte is missing");
    assert_eq!(error.kind(), ErrorKind::UploadTooShort { have });
}

/// A state that another version or driver wrote is not guessed at.
pub fn a_state_of_unknown_format_is_refused(store: &dyn BlobStore) {
    let id = upload_id(1);
    upload(store, &id, b"bytes");
    for bytes in [vec![], vec![0xff], vec![0xff; 40]] {
        let foreign = UploadState::from_bytes(bytes);
        let error = store
            .append(&id, &foreign, 5)
            .err()
            .expect("the state is foreign");
        assert_eq!(error.kind(), ErrorKind::Other);
        let error = store
            .publish(&id, &foreign, 5, &address_of(b"bytes"))
            .expect_err("the state is foreign");
        assert_eq!(error.kind(), ErrorKind::Other);
    }
}

/// Followers read what was written so far, and go on when more arrives. Only for stores with the capability.
pub fn a_growing_upload_can_be_read(store: &dyn BlobStore) {
    let id = upload_id(1);
    if !store.capabilities().reread_uploads {
        let error = store
            .read_upload(&id)
            .expect_err("the capability is absent");
        assert_eq!(error.kind(), ErrorKind::Other);
        return;
    }
    let error = store
        .read_upload(&id)
        .expect_err("the upload did not begin");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let state = begin(store, &id);
    let mut appender = store.append(&id, &state, 0).expect("the upload is there");
    let mut follower = store.read_upload(&id).expect("the upload can be read");
    for part in [&b"first"[..], b"second"] {
        appender.write(part).expect("the store takes bytes");
        let mut seen = Vec::new();
        follower
            .read_to_end(&mut seen)
            .expect("the upload can be read");
        assert_eq!(seen, part);
    }
}
