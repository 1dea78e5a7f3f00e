//! Clauses about uploads.

use oci::Algorithm;

use super::support::{World, name, upload_id};
use crate::clock::tests::{NOON, SECOND};
use crate::{
    Advance, AdvanceOutcome, Error, IdleUpload, NewUpload, UploadBegun, UploadPurpose, UploadRow,
};

fn new_upload(number: u64) -> NewUpload {
    NewUpload {
        id: upload_id(number),
        repository: name("a"),
        purpose: UploadPurpose::Push,
        algorithm: Algorithm::Sha512,
        hash_state: Some(vec![1, 2]),
        store_state: vec![3],
        by: "anonymous".into(),
        client: String::new(),
        most: None,
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

/// An upload of `client`, which may have two.
fn one_of_two(number: u64, client: &str) -> NewUpload {
    NewUpload {
        client: client.into(),
        most: Some(2),
        ..new_upload(number)
    }
}

pub(super) async fn a_client_begins_no_more_uploads_than_it_may_have_open(world: World) {
    let begin = |upload| world.metadata.create_upload(upload);
    for number in [1, 2] {
        let begun = begin(one_of_two(number, "a")).await.expect("creates");
        assert_eq!(begun, UploadBegun::Begun);
    }
    let refused = begin(one_of_two(3, "a")).await.expect("counts");
    assert_eq!(refused, UploadBegun::TooMany);
    let nothing = world.metadata.upload(&upload_id(3)).await.expect("reads");
    assert_eq!(nothing, None);
    let other = begin(one_of_two(4, "b")).await.expect("creates");
    assert_eq!(other, UploadBegun::Begun);
    let unlimited = NewUpload {
        most: None,
        ..one_of_two(5, "a")
    };
    assert_eq!(begin(unlimited).await.expect("creates"), UploadBegun::Begun);
    for number in [1, 5] {
        let ended = world.metadata.delete_upload(&upload_id(number)).await;
        assert!(ended.expect("deletes"));
    }
    let begun = begin(one_of_two(6, "a")).await.expect("creates");
    assert_eq!(begun, UploadBegun::Begun, "an ended one counts no more");
}

pub(super) async fn of_many_begun_at_once_no_more_are_open_than_may(world: World) {
    let begin = |number| {
        let metadata = world.metadata.clone();
        tokio::spawn(async move { metadata.create_upload(one_of_two(number, "a")).await })
    };
    let begun: Vec<_> = (1..=20).map(begin).collect();
    let mut open = 0;
    for task in begun {
        let outcome = task.await.expect("no panic").expect("counts");
        open += usize::from(outcome == UploadBegun::Begun);
    }
    assert_eq!(open, 2);
    assert_eq!(world.metadata.open_uploads().await.expect("reads").len(), 2);
}

pub(super) async fn idle_uploads_of_clients_are_told_and_ended_unless_they_moved_on(world: World) {
    for number in [3, 1, 2] {
        let created = world.metadata.create_upload(new_upload(number)).await;
        created.expect("creates");
    }
    let fill = NewUpload {
        purpose: UploadPurpose::MirrorFill,
        ..new_upload(4)
    };
    world.metadata.create_upload(fill).await.expect("creates");
    world.clock.advance(SECOND);
    let moved = world.metadata.advance_upload(advance(0, 7)).await;
    moved.expect("moves on");
    let idle = |number| IdleUpload {
        id: upload_id(number),
        repository: name("a"),
        offset: 0,
        updated_at: NOON,
    };
    let at = NOON;
    let none = world.metadata.idle_uploads(at - 1, None).await;
    assert_eq!(none.expect("reads"), []);
    let found = world.metadata.idle_uploads(at, None).await.expect("reads");
    assert_eq!(found, [idle(2), idle(3)]);
    let after = world.metadata.idle_uploads(at, Some(&idle(2))).await;
    assert_eq!(after.expect("reads"), [idle(3)]);
    let end = |number| {
        let metadata = world.metadata.clone();
        async move { metadata.delete_idle_upload(&upload_id(number), at).await }
    };
    assert!(end(2).await.expect("deletes"));
    assert!(!end(2).await.expect("deletes"), "it is gone");
    assert!(!end(1).await.expect("deletes"), "it moved on");
    assert!(read(&world).await.is_some());
}
