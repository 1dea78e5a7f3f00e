//! "Exists" protects what it is said of (law 3), and a plain hit writes nothing (law 7): told by the lease
//! in the database, which only these stories look into.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::support::images::{Algorithm, digest_of, noise};
use crate::support::server::TestServer;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns when the lease of the blob of `size` bytes ends, in microseconds since 1970.
fn lease(server: &TestServer, size: usize) -> i64 {
    let file = server.data().join("seawall.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let size = i64::try_from(size).unwrap();
    database
        .query_row(
            "SELECT lease_until FROM blobs WHERE size = ?1",
            [size],
            |row| row.get(0),
        )
        .unwrap()
}

#[tokio::test]
async fn exists_extends_the_lease_once_less_than_half_of_it_remains() {
    let server = TestServer::start().await;
    let blob = noise("leased", 4321);
    let path = format!("/v2/team/app/blobs/{}", digest_of(Algorithm::Sha256, &blob));
    let client = server.client();
    client.push_blob("team/app", &blob).await;
    let pushed = lease(&server, 4321);
    server.clock().advance(HOUR / 3);
    client.head(&path).await.expect_status(200);
    assert_eq!(lease(&server, 4321), pushed, "more than half remains");
    server.clock().advance(HOUR / 3);
    client.get(&path).await.expect_status(200);
    assert_eq!(lease(&server, 4321), pushed, "a pull writes nothing");
    client.head(&path).await.expect_status(200);
    let hour = i64::try_from((HOUR * 2 / 3).as_micros()).unwrap();
    assert_eq!(
        lease(&server, 4321),
        pushed + hour,
        "it lasts an hour from now"
    );
}

#[tokio::test]
async fn a_mount_protects_what_it_names() {
    let server = TestServer::start().await;
    let blob = noise("mounted", 1234);
    let digest = digest_of(Algorithm::Sha256, &blob);
    let client = server.client();
    client.push_blob("team/app", &blob).await;
    let pushed = lease(&server, 1234);
    server.clock().advance(HOUR);
    let mount = format!("/v2/team/other/blobs/uploads/?mount={digest}&from=team/app");
    client.post(&mount).await.expect_status(201);
    assert!(lease(&server, 1234) > pushed);
}

#[tokio::test]
async fn a_server_that_takes_no_pushes_writes_no_lease() {
    let mut server = TestServer::start().await;
    let blob = noise("still", 777);
    let digest = digest_of(Algorithm::Sha256, &blob);
    server.client().push_blob("team/app", &blob).await;
    let pushed = lease(&server, 777);
    server
        .restart_with(|config| {
            config["storage"]["maintenance"] = serde_json::json!({"readonly": {"enabled": true}});
        })
        .await;
    server.clock().advance(HOUR);
    let path = format!("/v2/team/app/blobs/{digest}");
    server.client().head(&path).await.expect_status(200);
    assert_eq!(lease(&server, 777), pushed);
}
