//! Giving the store root back to Distribution: link files say what Seawall knows, nothing else is touched, and taking it back
//! again changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::binary::{Outcome, run, seawall};
use crate::support::distribution::{Root, write};
use crate::support::images::{Algorithm, Recipe, index};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::FakeUpstream;

/// Runs a command on the server's data, in JSON.
async fn command(server: &TestServer, arguments: &[&str]) -> Outcome {
    let mut command = seawall(&server.data());
    run(command
        .args(arguments)
        .args(["-o", "json", "--config"])
        .arg(server.config_file()))
    .await
}

fn told(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:#?}"))
}

async fn export(server: &TestServer) -> Value {
    let outcome = command(server, &["export-links"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    told(&outcome)
}

/// Returns every link file below the root with what is in it.
fn links(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.join("docker/registry/v2/repositories")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path, text);
            }
        }
    }
    found
}

#[tokio::test]
async fn what_was_pushed_is_linked_as_distribution_does_it_and_what_was_deleted_is_not() {
    let mut server = TestServer::start().await;
    let children = ["a", "b"].map(|name| Recipe::image(name).build());
    let multi = index(Algorithm::Sha256, &children, &[]);
    let (old, other) = (Recipe::image("old").build(), Recipe::image("other").build());
    let client = server.client().clone();
    client.push("team/app", &multi, &["all"]).await;
    client.push("team/app", &old, &["1", "2"]).await;
    client.push("team/gone", &other, &["1"]).await;
    let first = export(&server).await;
    assert_eq!(
        [
            &first["repositories"],
            &first["tags"],
            &first["manifests"],
            &first["removed"]
        ],
        [&json!(2), &json!(4), &json!(5), &json!(0)],
        "{first}"
    );
    let root = Root::at(&server.data());
    let said = |path: PathBuf| fs::read_to_string(path).ok();
    let (top, all) = (&old.top().digest, &multi.top().digest);
    for (path, digest) in [
        (root.current("team/app", "all"), all),
        (root.index("team/app", "all", all), all),
        (root.current("team/app", "2"), top),
        (root.revision("team/app", top), top),
        (root.revision("team/app", all), all),
        (
            root.layer("team/app", &old.blobs[1].digest),
            &old.blobs[1].digest,
        ),
        (root.current("team/gone", "1"), &other.top().digest),
    ] {
        assert_eq!(
            said(path.clone()).as_ref(),
            Some(digest),
            "{}",
            path.display()
        );
        assert!(root.blob(digest).is_file());
    }

    client
        .delete(&format!("/v2/team/app/manifests/{top}"))
        .await
        .expect_status(202);
    client
        .delete("/v2/team/app/manifests/all")
        .await
        .expect_status(202);
    client
        .delete(&format!("/v2/team/gone/manifests/{}", other.top().digest))
        .await
        .expect_status(202);
    for blob in &other.blobs {
        client
            .delete(&format!("/v2/team/gone/blobs/{}", blob.digest))
            .await
            .expect_status(202);
    }
    let second = export(&server).await;
    assert_eq!(second["written"], json!(0), "{second}");
    assert!(second["removed"].as_u64() > Some(4), "{second}");
    for path in [
        root.tag("team/app", "all"),
        root.tag("team/app", "1"),
        root.revision("team/app", top),
        root.repository("team/gone"),
    ] {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(said(root.revision("team/app", all)).as_ref(), Some(all));

    let before = links(root.path());
    server.stop().await;
    let third = export(&server).await;
    assert_eq!(
        [&third["written"], &third["removed"]],
        [&json!(0), &json!(0)]
    );
    assert_eq!(links(root.path()), before);
    let imported = command(&server, &["import"]).await;
    assert_eq!(imported.code, Some(0), "{imported:#?}");
    assert_eq!(told(&imported)["changed"], json!(0));
    assert_eq!(told(&imported)["unusable"], json!([]));
}

#[tokio::test]
async fn a_moved_tag_says_so_and_its_index_holds_both() {
    let server = TestServer::start().await;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    server.client().push("team/app", &old, &["1"]).await;
    export(&server).await;
    server.client().push("team/app", &new, &["1"]).await;
    export(&server).await;
    let root = Root::at(&server.data());
    let (old, new) = (&old.top().digest, &new.top().digest);
    assert_eq!(
        &fs::read_to_string(root.current("team/app", "1")).unwrap(),
        new
    );
    assert!(root.index("team/app", "1", old).is_file());
    assert!(root.index("team/app", "1", new).is_file());
    server
        .client()
        .delete(&format!("/v2/team/app/manifests/{old}"))
        .await
        .expect_status(202);
    export(&server).await;
    assert!(!root.index("team/app", "1", old).exists());
    assert!(root.index("team/app", "1", new).is_file());
}

#[tokio::test]
async fn an_adopted_root_is_left_as_it_was() {
    let image = Recipe::image("image").algorithm(Algorithm::Sha512).build();
    let plain = Recipe::image("plain").build();
    let (first, second) = (image.clone(), plain.clone());
    let mut server = TestServer::builder()
        .over(move |root| {
            let root = Root::at(root);
            for blob in &first.blobs {
                root.push_blob("team/app", &blob.digest, &blob.bytes);
            }
            root.push("team/app", &second, &["1"]);
            root.push_manifest("team/app", br#"{"schemaVersion":1}"#);
            write(
                &root.repository("team/app").join("_uploads/0c8f/data"),
                b"part",
            );
        })
        .start()
        .await;
    server.client().until_ready().await;
    let before = links(&server.data());
    let exported = export(&server).await;
    assert_eq!(
        [&exported["written"], &exported["removed"]],
        [&json!(0), &json!(0)]
    );
    assert_eq!(links(&server.data()), before);
    server.stop().await;
    let exported = export(&server).await;
    assert_eq!(
        [&exported["written"], &exported["removed"]],
        [&json!(0), &json!(0)]
    );
}

#[tokio::test]
async fn what_distribution_wrote_since_is_left_and_told() {
    let server = TestServer::start().await;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    server.client().push("team/app", &old, &["1", "2"]).await;
    export(&server).await;
    let root = Root::at(&server.data());
    root.push("team/app", &new, &["1"]);
    server
        .client()
        .delete("/v2/team/app/manifests/1")
        .await
        .expect_status(202);
    let outcome = command(&server, &["export-links"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let conflicts = &told(&outcome)["conflicts"];
    assert_eq!(conflicts.as_array().unwrap().len(), 1, "{conflicts}");
    let path = conflicts[0]["path"].as_str().unwrap();
    assert!(
        path.ends_with("team/app/_manifests/tags/1/current/link"),
        "{path}"
    );
    assert_eq!(
        fs::read_to_string(root.current("team/app", "1")).unwrap(),
        new.top().digest
    );
}

#[tokio::test]
async fn an_emptied_link_is_written_anew() {
    let server = TestServer::start().await;
    let image = Recipe::image("image").build();
    server.client().push("team/app", &image, &["1"]).await;
    export(&server).await;
    let root = Root::at(&server.data());
    fs::write(root.current("team/app", "1"), "").unwrap();
    fs::remove_file(root.revision("team/app", &image.top().digest)).unwrap();
    assert_eq!(export(&server).await["written"], json!(2));
    assert_eq!(
        fs::read_to_string(root.current("team/app", "1")).unwrap(),
        image.top().digest
    );
}

#[tokio::test]
async fn a_root_that_was_never_imported_is_not_exported_to() {
    let mut server = TestServer::start().await;
    server.stop().await;
    Root::at(&server.data()).push("team/app", &Recipe::image("image").build(), &["1"]);
    let before = links(&server.data());
    let outcome = command(&server, &["export-links"]).await;
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (Some(1), 1));
    assert!(outcome.stderr.contains("seawall import"), "{outcome:#?}");
    assert_eq!(links(&server.data()), before);
}

#[tokio::test]
async fn mirrored_repositories_are_linked_by_a_server_that_is_one_mirror_and_by_no_other() {
    let upstream = FakeUpstream::start().await;
    let image = Recipe::image("image").build();
    upstream.hold("team/app", &image, &["1"]);
    let beside = TestServer::builder().mirror_of(&upstream).start().await;
    let pulled = format!("/v2/{UPSTREAM}/team/app/manifests/1");
    beside.client().get(&pulled).await.expect_status(200);
    assert_eq!(export(&beside).await["repositories"], json!(0));
    assert!(links(&beside.data()).is_empty());

    let url = upstream.url();
    let proxy = TestServer::builder()
        .config(move |settings| settings["proxy"] = json!({"remoteurl": url}))
        .start()
        .await;
    proxy
        .client()
        .get("/v2/team/app/manifests/1")
        .await
        .expect_status(200);
    assert_eq!(export(&proxy).await["tags"], json!(1));
    let root = Root::at(&proxy.data());
    assert_eq!(
        fs::read_to_string(root.current("team/app", "1")).unwrap(),
        image.top().digest
    );
}

/// Imports where no server runs, and expects that nothing new is found.
async fn import_nothing(server: &TestServer) {
    let imported = command(server, &["import"]).await;
    assert_eq!(imported.code, Some(0), "{imported:#?}");
    let told = told(&imported);
    assert_eq!(
        [&told["changed"], &told["unusable"]],
        [&json!(0), &json!([])],
        "{told}"
    );
}

#[tokio::test]
async fn an_export_that_broke_off_is_finished_by_the_next_one_and_is_no_news_to_an_import() {
    let mut server = TestServer::start().await;
    let (old, new) = (Recipe::image("old").build(), Recipe::image("new").build());
    let tags = ["1", "2", "3"];
    server.client().push("team/app", &old, &tags).await;
    export(&server).await;
    server.client().push("team/app", &new, &tags).await;
    server.stop().await;
    let root = Root::at(&server.data());
    let said = || tags.map(|tag| fs::read_to_string(root.current("team/app", tag)).unwrap());
    let (old, new) = (old.top().digest.clone(), new.top().digest.clone());
    let in_the_way = root
        .current("team/app", "3")
        .with_file_name("link.seawall.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let broken = command(&server, &["export-links"]).await;
    assert_eq!(broken.code, Some(1), "{broken:#?}");
    assert_eq!(said(), [&new, &new, &old].map(String::clone));

    import_nothing(&server).await;
    // A power cut takes back what was not flushed.
    fs::write(root.current("team/app", "1"), &old).unwrap();
    import_nothing(&server).await;
    fs::remove_dir(&in_the_way).unwrap();
    let finished = export(&server).await;
    assert_eq!(finished["conflicts"], json!([]), "{finished}");
    assert_eq!(said(), [&new, &new, &new].map(String::clone));
    import_nothing(&server).await;
    assert_eq!(export(&server).await["written"], json!(0));

    // From now on what they said before is news like anything else.
    for tag in ["1", "2"] {
        fs::write(root.current("team/app", tag), &old).unwrap();
    }
    let outcome = command(&server, &["export-links"]).await;
    assert_eq!(told(&outcome)["conflicts"].as_array().unwrap().len(), 2);
    let imported = command(&server, &["import"]).await;
    assert_eq!(told(&imported)["changed"], json!(2));
}

#[tokio::test]
async fn a_tag_that_is_moved_again_after_an_export_broke_off_is_exported() {
    let mut server = TestServer::start().await;
    let images = ["a", "b", "c"].map(|name| Recipe::image(name).build());
    let client = server.client().clone();
    client.push("team/app", &images[0], &["1", "2"]).await;
    export(&server).await;
    client.push("team/app", &images[1], &["1", "2"]).await;
    let root = Root::at(&server.data());
    let in_the_way = root
        .current("team/app", "2")
        .with_file_name("link.seawall.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let broken = command(&server, &["export-links"]).await;
    assert_eq!(broken.code, Some(1), "{broken:#?}");
    client.push("team/app", &images[2], &["1", "2"]).await;
    fs::remove_dir(&in_the_way).unwrap();
    let finished = export(&server).await;
    assert_eq!(finished["conflicts"], json!([]), "{finished}");
    for tag in ["1", "2"] {
        let said = fs::read_to_string(root.current("team/app", tag)).unwrap();
        assert_eq!(said, images[2].top().digest);
    }
    server.stop().await;
    import_nothing(&server).await;
}

#[tokio::test]
async fn a_deleted_tag_whose_link_comes_back_with_a_power_cut_stays_deleted() {
    let mut server = TestServer::start().await;
    let image = Recipe::image("image").build();
    let client = server.client().clone();
    client.push("team/app", &image, &["1", "2"]).await;
    export(&server).await;
    client
        .delete("/v2/team/app/manifests/1")
        .await
        .expect_status(202);
    client.push("team/zoo", &image, &["1"]).await;
    server.stop().await;
    let root = Root::at(&server.data());
    let link = root.current("team/app", "1");
    // Its directory cannot be made.
    write(&root.repository("team/zoo"), b"");
    let broken = command(&server, &["export-links"]).await;
    assert_eq!(broken.code, Some(1), "{broken:#?}");
    assert!(!link.exists());
    write(&link, image.top().digest.as_bytes());

    import_nothing(&server).await;
    fs::remove_file(root.repository("team/zoo")).unwrap();
    let finished = export(&server).await;
    assert_eq!(finished["tags"], json!(2), "{finished}");
    assert!(!link.exists());
    assert!(root.current("team/zoo", "1").is_file());
}
