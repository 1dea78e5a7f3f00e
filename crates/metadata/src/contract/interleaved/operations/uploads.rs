//! Uploads.

use super::{Operation, operation};
use crate::Advance;
use crate::clock::tests::NOON;
use crate::contract::interleaved::scenario::upload;
use crate::contract::support::upload_id;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation!(create_upload, "that is new", _facts, [upload(2, "bob")]),
        operation!(
            create_upload,
            "of an id that is taken",
            _facts,
            [upload(1, "carol")]
        ),
        operation!(advance_upload, "by one chunk", _facts, [advance(10)]),
        operation!(advance_upload, "by another chunk", _facts, [advance(20)]),
        operation!(
            create_upload,
            "another one of the same client",
            _facts,
            [upload(3, "bob")]
        ),
        operation!(
            delete_idle_upload,
            "under way",
            _facts,
            [&upload_id(1), NOON]
        ),
        operation!(delete_upload, "under way", _facts, [&upload_id(1)]),
    ]
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
