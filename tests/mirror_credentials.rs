//! Credentials for upstreams, from wherever they come: they are read anew when they change, and a refusal is told as
//! it is.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::images::{Recipe, base64};
use crate::support::server::{TestServer, UPSTREAM};
use crate::support::upstream::{FakeUpstream, basic};
use crate::support::upstream_plan::{Admission, Kind};

const USER: &str = "aladdin";

/// Names of repositories that the upstream holds; a story pulls one after the other, so that none is cached.
const NAMES: [&str; 4] = ["team/a", "team/b", "team/c", "team/d"];

struct Story {
    upstream: FakeUpstream,
    server: TestServer,
    directory: TempDir,
}

impl Story {
    /// Starts a mirror whose credentials are what `login` says with the story's own directory.
    async fn start(login: impl FnOnce(&Path, &FakeUpstream) -> Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let upstream = FakeUpstream::start().await;
        for name in NAMES {
            upstream.hold(name, &Recipe::image(name).build(), &["v1"]);
        }
        let mut mirror = json!({"name": UPSTREAM, "endpoints": [upstream.url()], "default": true});
        let login = login(directory.path(), &upstream);
        for (key, value) in login.as_object().unwrap() {
            mirror[key] = value.clone();
        }
        let server = TestServer::builder().mirror(mirror).start().await;
        Self {
            upstream,
            server,
            directory,
        }
    }

    fn admit(&self, admission: Admission) {
        self.upstream.plan().admission = admission;
    }

    fn admit_password(&self, password: &str) {
        self.admit(Admission::Basic(USER.to_owned(), password.to_owned()));
    }

    async fn pull(&self, name: &str) -> u16 {
        let path = format!("/v2/{UPSTREAM}/{name}/manifests/v1");
        self.server.client().get(&path).await.status
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn shown(&self) -> Vec<Option<String>> {
        let seen = self.upstream.seen(Kind::ManifestGet);
        seen.into_iter().map(|seen| seen.authorization).collect()
    }
}

#[tokio::test]
async fn a_password_file_is_read_again_when_it_changes() {
    let story = Story::start(|directory, _| {
        let file = directory.join("password");
        std::fs::write(&file, "first\n").unwrap();
        json!({"username": USER, "passwordfile": file})
    })
    .await;
    story.admit_password("first");
    assert_eq!(story.pull("team/a").await, 200);
    story.write("password", "the second\n");
    story.admit_password("the second");
    assert_eq!(story.pull("team/b").await, 200);
    story.admit_password("unknown");
    assert_eq!(story.pull("team/c").await, 401);
    story.write("password", "unknown");
    assert_eq!(story.pull("team/c").await, 200);
}

#[tokio::test]
async fn a_bearer_of_a_file_goes_with_every_request_and_is_read_again_when_it_rotates() {
    let story = Story::start(|directory, _| {
        let file = directory.join("token");
        std::fs::write(&file, "one\n").unwrap();
        json!({"tokenfile": file})
    })
    .await;
    story.admit(Admission::Bearer("one".to_owned()));
    assert_eq!(story.pull("team/a").await, 200);
    assert_eq!(story.shown(), [Some("Bearer one".to_owned())]);
    story.admit(Admission::Bearer("two".to_owned()));
    assert_eq!(story.pull("team/b").await, 401);
    story.write("token", "two");
    assert_eq!(story.pull("team/b").await, 200);
}

#[tokio::test]
async fn a_docker_configuration_gives_what_it_holds_for_the_endpoints_host() {
    let story = Story::start(|directory, upstream| {
        let file = directory.join("config.json");
        let host = upstream.url().replace("http://", "");
        let pair = base64(format!("{USER}:opensesame").as_bytes());
        let auths = json!({"auths": {
            host: {"auth": pair},
            "https://index.docker.io/v1/": {"auth": base64(b"hub:secret")},
        }});
        std::fs::write(&file, auths.to_string()).unwrap();
        json!({"dockerconfig": file})
    })
    .await;
    story.admit_password("opensesame");
    assert_eq!(story.pull("team/a").await, 200);
    let last = story.shown().pop().unwrap();
    assert_eq!(last, Some(basic(USER, "opensesame")));
    // Somebody logs out and in again.
    story.write("config.json", "{}");
    assert_eq!(story.pull("team/b").await, 401);
    assert_eq!(story.shown().pop().unwrap(), None);
    let host = story.upstream.url().replace("http://", "https://");
    let auths = json!({"auths": {host: {"username": USER, "password": "opensesame"}}});
    story.write("config.json", &auths.to_string());
    assert_eq!(story.pull("team/b").await, 200);
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_no_404() {
    let story = Story::start(|directory, _| {
        let file = directory.join("config.json");
        std::fs::write(&file, r#"{"credsStore":"not-installed-anywhere"}"#).unwrap();
        json!({"dockerconfig": file})
    })
    .await;
    story.upstream.forget("team/a");
    assert_eq!(story.pull("team/a").await, 502);
    assert_eq!(story.upstream.total(), 0);
}

/// Writes a credential helper that tells the password in the file `secret` beside it, and counts its runs.
fn helper(directory: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let program = directory.join("helper");
    let at = directory.display();
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server\" >> {at}/runs\n\
         echo \"{{\\\"Username\\\":\\\"{USER}\\\",\\\"Secret\\\":\\\"$(cat {at}/secret)\\\"}}\"\n"
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn a_helper_is_asked_once_and_again_when_its_answer_is_refused_or_has_lived_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = FakeUpstream::start().await;
    for name in NAMES {
        upstream.hold(name, &Recipe::image(name).build(), &["v1"]);
    }
    let admit = |password: &str| {
        let admission = Admission::Basic(USER.to_owned(), password.to_owned());
        upstream.plan().admission = admission;
    };
    let say = |password: &str| std::fs::write(directory.path().join("secret"), password).unwrap();
    let runs = || {
        let runs = std::fs::read_to_string(directory.path().join("runs"));
        runs.unwrap_or_default().lines().count()
    };
    let proxy = json!({"remoteurl": upstream.url(),
        "exec": {"command": helper(directory.path()), "lifetime": "1h"}});
    let server = TestServer::builder().config(|settings| settings["proxy"] = proxy);
    let server = server.start().await;
    let pull = |name: &'static str| {
        let path = format!("/v2/{name}/manifests/v1");
        let client = server.client();
        async move { client.get(&path).await.status }
    };
    say("first");
    admit("first");
    assert_eq!(pull("team/a").await, 200);
    assert_eq!(pull("team/b").await, 200);
    assert_eq!(runs(), 1);
    let host = upstream.url().replace("http://", "");
    let log = std::fs::read_to_string(directory.path().join("runs")).unwrap();
    assert_eq!(log, format!("get {host}\n"));
    say("second");
    admit("second");
    assert_eq!(pull("team/c").await, 200, "refused, asked anew, taken");
    assert_eq!(runs(), 2);
    admit("nobody knows");
    for _ in 0..3 {
        assert_eq!(pull("team/d").await, 401);
    }
    assert_eq!(runs(), 3, "not for every refusal");
    admit("second");
    server.clock().advance(std::time::Duration::from_secs(3601));
    assert_eq!(pull("team/d").await, 200);
    assert_eq!(runs(), 4, "its answer has lived its time");
}
