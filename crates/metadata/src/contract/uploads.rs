//! Clauses about uploads.

use oci::Algorithm;

use super::support::{World, name, upload_id};
use crate::clock::tests::{NOON, SECOND};
use crate::{Advance, AdvanceOutcome, Error, NewUpload, UploadPurpose, UploadRow};

fn new_upload(number: u64) -> NewUpload {
    NewUpload {
        id: upload_id(number),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: Algorithm::Sha512,
        hash_state: Some(vec![1, 2]),
        store_state: vec![3],
        by: "anonymous".into(),
    }
}

fn advance(expected_revision: i64, offset: u64) -> Advance {
    let (hash_state, store_state) = (None, vec![4, 5]);
    Advance {
        id: upload_id(1),
        expected_revision,
        offset,
        hash_state,
        store_state,
    }
}

async fn read(world: &World) -> Option<UploadRow> {
    world.metadata.upload(&upload_id(1)).await.expect("reads")
}

pub(super) async fn an_upload_keeps_what_it_was_given_and_moves_on(world: World) {
    assert_eq!(read(&world).await, None);
    world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect("creates");
    let begun = UploadRow {
        id: upload_id(1),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        offset: 0,
        revision: 0,
        algorithm: Algorithm::Sha512,
        hash_state: Some(vec![1, 2]),
        store_state: vec![3],
        created_at: NOON,
        updated_at: NOON,
        created_by: "anonymous".into(),
    };
    assert_eq!(read(&world).await.as_ref(), Some(&begun));
    world.clock.advance(SECOND);
    let advanced = world
        .metadata
        .advance_upload(advance(0, 7))
        .await
        .expect("answers");
    assert_eq!(advanced, AdvanceOutcome::Advanced { revision: 1 });
    let moved = UploadRow {
        offset: 7,
        revision: 1,
        hash_state: None,
        store_state: vec![4, 5],
        updated_at: NOON + SECOND,
        ..begun
    };
    assert_eq!(read(&world).await, Some(moved));
}

pub(super) async fn an_upload_id_is_used_once(world: World) {
    world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect("creates");
    let again = world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect_err("exists");
    assert!(matches!(again, Error::Conflict { .. }), "{again}");
}

pub(super) async fn of_two_racers_exactly_one_advances(world: World) {
    world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect("creates");
    let racers = (0..16_u64).map(|offset| {
        let metadata = world.metadata.clone();
        tokio::spawn(async move { metadata.advance_upload(advance(0, offset)).await })
    });
    let mut winners = Vec::new();
    for (offset, racer) in racers.collect::<Vec<_>>().into_iter().enumerate() {
        match racer.await.expect("does not panic").expect("answers") {
            AdvanceOutcome::Advanced { revision } => winners.push((offset as u64, revision)),
            AdvanceOutcome::Lost => {}
        }
    }
    let row = read(&world).await.expect("is open");
    assert_eq!(winners, [(row.offset, 1)]);
}

pub(super) async fn an_ended_upload_cannot_advance(world: World) {
    world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect("creates");
    assert!(
        world
            .metadata
            .delete_upload(&upload_id(1))
            .await
            .expect("deletes")
    );
    assert!(
        !world
            .metadata
            .delete_upload(&upload_id(1))
            .await
            .expect("answers")
    );
    let lost = world
        .metadata
        .advance_upload(advance(0, 7))
        .await
        .expect("answers");
    assert_eq!(lost, AdvanceOutcome::Lost);
    assert_eq!(read(&world).await, None);
}

pub(super) async fn open_uploads_are_listed_with_their_purpose(world: World) {
    assert_eq!(world.metadata.open_uploads().await.expect("reads"), []);
    world
        .metadata
        .create_upload(new_upload(1))
        .await
        .expect("creates");
    let fill = NewUpload {
        purpose: UploadPurpose::MirrorFill,
        ..new_upload(2)
    };
    world.metadata.create_upload(fill).await.expect("creates");
    let open = world.metadata.open_uploads().await.expect("reads");
    let expected = [
        (upload_id(1), UploadPurpose::Push),
        (upload_id(2), UploadPurpose::MirrorFill),
    ];
    assert_eq!(open, expected);
}
