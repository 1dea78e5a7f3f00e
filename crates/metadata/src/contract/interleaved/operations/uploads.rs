//! Uploads.

use oci::Algorithm;

use super::{Operation, operation};
use crate::contract::support::{name, upload_id};
use crate::{Advance, NewUpload, UploadPurpose};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation!(create_upload, "that is new", _facts, [upload(2)]),
        operation!(create_upload, "of an id that is taken", _facts, [upload(1)]),
        operation!(advance_upload, "by one chunk", _facts, [advance(10)]),
        operation!(advance_upload, "by another chunk", _facts, [advance(20)]),
        operation!(delete_upload, "under way", _facts, [&upload_id(1)]),
    ]
}

fn upload(number: u64) -> NewUpload {
    NewUpload {
        id: upload_id(number),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: Algorithm::Sha256,
        hash_state: None,
        store_state: vec![1],
        by: "alice".into(),
    }
}

fn advance(offset: u64) -> Advance {
    Advance {
        id: upload_id(1),
        expected_revision: 0,
        offset,
        hash_state: Some(vec![2]),
        store_state: vec![3],
    }
}
