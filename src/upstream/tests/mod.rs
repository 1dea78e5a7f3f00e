//! What the room promises, against servers on real sockets.

mod authorization;
mod content;
mod endpoints;
mod lists;
mod redirects;
mod server;
mod standing;
mod tls;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use oci::{Algorithm, Digest, Page, Reference, RepositoryName};
use url::Url;

use self::server::TestServer;
use crate::clock::Fake;
use crate::config::{Credentials, Login, Mirror, Secret};
use crate::telemetry::Metrics;
use crate::upstream::{Asking, BlobBody, Client, Error, InstanceId, Via};

const LIMIT: u64 = 1024;

const CHALLENGE: &str = "www-authenticate";

fn mirror_of(endpoints: &[&Url]) -> Mirror {
    let long = Duration::from_secs(30);
    let endpoints = endpoints.iter().map(|&url| url.clone()).collect();
    let mut mirror = Mirror::new("registry.example".to_owned(), endpoints);
    mirror.timeout.connect = long;
    mirror.timeout.read = long;
    mirror
}

fn with_credentials(mut mirror: Mirror) -> Mirror {
    mirror.login = Some(Login::Password(Credentials {
        username: "aladdin".to_owned(),
        password: Secret::new("opensesame"),
    }));
    mirror
}

const BASIC: &str = "Basic YWxhZGRpbjpvcGVuc2VzYW1l";

fn client(mirror: &Mirror) -> Client {
    client_at(mirror, &Arc::new(Fake::at(0)))
}

fn client_at(mirror: &Mirror, clock: &Arc<Fake>) -> Client {
    let clock = Arc::clone(clock);
    let client = Client::new(mirror, Metrics::new(), clock, &InstanceId::new());
    client.expect("a client because the mirror is sound")
}

fn ask(client: &Client) -> Asking<'_> {
    static NOWHERE: LazyLock<Via> = LazyLock::new(Via::none);
    client.on_behalf_of(&NOWHERE)
}

fn client_of(server: &TestServer) -> Client {
    client(&mirror_of(&[&server.url]))
}

fn repository() -> RepositoryName {
    RepositoryName::parse("library/nginx").expect("a name because it is written so")
}

fn latest() -> Reference {
    Reference::parse("latest").expect("a reference because it is written so")
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"blob")
}

async fn get(client: &Client) -> Result<Bytes, Error> {
    let fetched = ask(client)
        .get_manifest(&repository(), &latest(), LIMIT)
        .await;
    fetched.map(|manifest| manifest.bytes)
}

fn first_page() -> Page {
    Page::default()
}

async fn read(mut body: BlobBody) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
