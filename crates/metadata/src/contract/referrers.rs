//! Clauses about referrers.

use std::collections::BTreeMap;

use oci::Digest;

use super::support::{World, digest, name, push};
use crate::{PushManifest, ReferrerRow};

const SBOM: &str = "application/spdx+json";

async fn refer(world: &World, repository: &str, content: &str, artifact_type: &str) {
    let annotations = BTreeMap::from([("made from".to_owned(), format!("\"{content}\" é"))]);
    let push = PushManifest {
        subject: Some(digest("subject")),
        artifact_type: Some(artifact_type.to_owned()),
        annotations,
        ..push(repository, content)
    };
    world.push(push).await;
}

async fn list(
    world: &World,
    artifact_type: Option<&str>,
    after: Option<Digest>,
    limit: u64,
) -> Vec<ReferrerRow> {
    let subject = digest("subject");
    let rows = world
        .metadata
        .referrers(&name("a"), &subject, artifact_type, after, limit)
        .await;
    rows.expect("reads")
}

fn digests(rows: &[ReferrerRow]) -> Vec<Digest> {
    rows.iter().map(|row| row.digest).collect()
}

pub(super) async fn a_referrer_is_told_with_its_type_and_annotations(world: World) {
    refer(&world, "a", "sbom", SBOM).await;
    let row = ReferrerRow {
        digest: digest("sbom"),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: 4,
        artifact_type: Some(SBOM.into()),
        annotations: BTreeMap::from([("made from".into(), "\"sbom\" é".into())]),
    };
    assert_eq!(
        list(&world, None, None, 10).await,
        [row],
        "the subject itself is not here"
    );
}

pub(super) async fn referrers_are_paged_by_digest_and_filtered_by_type(world: World) {
    let contents: Vec<String> = (0..9).map(|number| format!("referrer {number}")).collect();
    for (number, content) in contents.iter().enumerate() {
        refer(
            &world,
            "a",
            content,
            if number < 3 { SBOM } else { "other/type" },
        )
        .await;
    }
    let sorted = |contents: &[String]| {
        let mut all: Vec<Digest> = contents.iter().map(|content| digest(content)).collect();
        all.sort();
        all
    };
    let all = sorted(&contents);
    assert_eq!(digests(&list(&world, None, None, 100).await), all);
    let mut paged = Vec::new();
    while let rows = list(&world, None, paged.last().copied(), 4).await
        && !rows.is_empty()
    {
        assert!(rows.len() <= 4);
        paged.extend(digests(&rows));
    }
    assert_eq!(paged, all);
    let sboms = sorted(&contents[..3]);
    assert_eq!(digests(&list(&world, Some(SBOM), None, 100).await), sboms);
    assert_eq!(
        digests(&list(&world, Some(SBOM), Some(sboms[0]), 1).await),
        sboms[1..2]
    );
    assert_eq!(list(&world, Some("no/such"), None, 100).await, []);
}

pub(super) async fn referrers_are_those_of_the_repository_asked(world: World) {
    refer(&world, "b", "sbom", SBOM).await;
    world.push(push("a", "subject")).await;
    assert_eq!(list(&world, None, None, 10).await, []);
}

pub(super) async fn a_deleted_referrer_is_no_longer_listed(world: World) {
    refer(&world, "a", "sbom", SBOM).await;
    world
        .metadata
        .delete_manifest(&name("a"), &digest("sbom"), "alice")
        .await
        .expect("deletes");
    assert_eq!(list(&world, None, None, 10).await, []);
}
