//! The program itself: its screen, its exit codes, its locks, what it survives and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::binary::{Outcome, Served, run, seawall};
use crate::support::images::{Algorithm, Recipe, digest_of, noise};
use crate::support::raw::RawConnection;

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes a configuration; `ROOT` stands for a directory of the test's own.
fn config(home: &Path, text: &str) -> PathBuf {
    let file = home.join("config.yml");
    let root = home.join("root");
    fs::write(&file, text.replace("ROOT", &root.to_string_lossy())).unwrap();
    file
}

const PLAIN: &str = "version: 0.1
http:
  addr: 127.0.0.1:0
storage:
  filesystem:
    rootdirectory: ROOT
";

async fn check(text: &str) -> (Outcome, PathBuf) {
    let home = home();
    let file = config(home.path(), text);
    (
        run(seawall(home.path()).arg("check-config").arg(&file)).await,
        file,
    )
}

/// Both ways to meet a configuration refuse it, on stderr, naming each of `words`.
async fn expect_refused(text: &str, words: &[&str]) {
    let home = home();
    let file = config(home.path(), text);
    for command in ["check-config", "serve"] {
        let outcome = run(seawall(home.path()).arg(command).arg(&file)).await;
        assert_eq!(outcome.code, Some(1), "{command}: {outcome:#?}");
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "{command}: no {word:?} in {outcome:#?}"
            );
        }
        assert!(!outcome.stderr.contains("panicked"), "{outcome:#?}");
    }
}

#[tokio::test]
async fn without_any_configuration_it_starts_and_says_how_to_use_it() {
    let home = home();
    let mut command = seawall(home.path());
    let mut served = Served::start(command.args(["serve", "--listen", "127.0.0.1:0"])).await;
    served.client().get("/v2/").await.expect_status(200);
    let image = Recipe::image("mine").build();
    served.client().push("team/app", &image, &["v1"]).await;
    served.client().expect_pull("team/app", &image).await;
    served.terminate();
    assert_eq!(served.exit_code().await, Some(0));
    let screen = served.screen();
    for word in [
        "docker.io",
        "ghcr.io",
        "quay.io",
        "gcr.io",
        "registry.k8s.io",
        "mcr.microsoft.com",
        "public.ecr.aws",
        "registry.gitlab.com",
        "containerd",
        "podman",
        "docker",
    ] {
        assert!(screen.contains(word), "no {word} on:\n{screen}");
    }
    assert!(
        screen.contains(&*home.path().to_string_lossy()),
        "no data directory on:\n{screen}"
    );
}

#[tokio::test]
async fn data_and_listen_override_the_defaults() {
    let home = home();
    let data = home.path().join("elsewhere");
    let mut command = seawall(home.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data);
    let served = Served::start(&mut command).await;
    served.client().push_blob("team/app", &noise("x", 10)).await;
    assert!(data.join("docker/registry/v2/blobs").is_dir());
}

#[tokio::test]
async fn distributions_ways_to_name_the_configuration_work() {
    let home = home();
    let file = config(home.path(), PLAIN);
    for bare in [false, true] {
        let mut command = seawall(home.path());
        if !bare {
            command.arg("serve");
        }
        let served = Served::start(command.arg(&file)).await;
        served.client().get("/v2/").await.expect_status(200);
        served.kill().await;
    }
    let mut command = seawall(home.path());
    command
        .arg("serve")
        .env("REGISTRY_CONFIGURATION_PATH", &file);
    let served = Served::start(&mut command).await;
    served.client().get("/v2/").await.expect_status(200);
}

#[tokio::test]
async fn a_file_without_mirrors_is_a_plain_registry() {
    let home = home();
    let file = config(home.path(), PLAIN);
    let mut served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let reply = served
        .client()
        .get("/v2/library/nginx/manifests/latest")
        .await;
    reply.expect_status(404);
    served.terminate();
    assert_eq!(served.exit_code().await, Some(0));
    assert!(!served.screen().contains("ghcr.io"), "{}", served.screen());
}

#[tokio::test]
async fn variables_override_the_file() {
    let home = home();
    let file = config(home.path(), &PLAIN.replace("127.0.0.1:0", "127.0.0.1:1"));
    let mut command = seawall(home.path());
    command
        .arg("serve")
        .arg(&file)
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env("REGISTRY_STORAGE_DELETE_ENABLED", "true")
        .env("REGISTRY_PORT", "tcp://10.0.0.1:5000")
        .env("REGISTRY_SERVICE_HOST", "10.0.0.1");
    let served = Served::start(&mut command).await;
    let digest = served.client().push_blob("team/app", &noise("x", 10)).await;
    let path = format!("/v2/team/app/blobs/{digest}");
    served.client().delete(&path).await.expect_status(202);
}

#[tokio::test]
async fn a_variable_with_a_wrong_value_is_named() {
    let home = home();
    let file = config(home.path(), PLAIN);
    for (name, value) in [
        ("REGISTRY_STORAGE_DELETE_ENABLED", "perhaps"),
        ("REGISTRY_HTTP_DRAINTIMEOUT", "soon"),
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/cert.pem"),
        ("REGISTRY_STORAGE", "s3"),
    ] {
        let mut command = seawall(home.path());
        let outcome = run(command.arg("serve").arg(&file).env(name, value)).await;
        assert_eq!(outcome.code, Some(1), "{name}: {outcome:#?}");
        assert!(outcome.stderr.contains(name), "{name}: {outcome:#?}");
    }
}

#[tokio::test]
async fn a_good_file_is_called_good() {
    let (outcome, _) = check(PLAIN).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
}

/// A file of all keys; `FILES` stands for a directory of the files it names.
const EVERY_KEY: &str = "version: 0.1
log: {level: info, formatter: json, fields: {service: registry}, accesslog: {disabled: true}, reportcaller: true}
http:
  addr: 127.0.0.1:0
  host: https://registry.example
  prefix: /registry/
  relativeurls: true
  draintimeout: 20s
  headers: {X-Content-Type-Options: [nosniff]}
  limits: {manifestsize: 8MiB}
  debug: {addr: '127.0.0.1:0', prometheus: {enabled: true, path: /metrics}}
storage:
  filesystem: {rootdirectory: ROOT}
  delete: {enabled: true}
  maintenance: {readonly: {enabled: false}, uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}}
proxy: {remoteurl: https://one.example, username: u, passwordfile: FILES/password, ttl: 24h, realms: [https://auth.example]}
catalog: {maxentries: 500}
validation: {disabled: false}
backup: {schedule: '30 2 * * *', keep: 14, destination: /mnt/backup}
gc: {enabled: true, grace: 72h, lease: 2h, deleteuntagged: true, interval: 15m, rate: 200, lowspacegrace: 1m}
uploads: {maxpersubject: 100, maxage: 72h}
mirrors:
  - name: two.example
    endpoints: [https://two.example, https://other.example:5000/two.example]
    username: u
    password: hunter2
    tls: {ca: FILES/ca.pem, certificate: FILES/ca.pem, key: FILES/key.pem, insecure: false}
    httpproxy: http://proxy.example:3128
    allow: ['team/**']
    deny: ['team/secret*', 'team/hidden']
    freshness: {default: 5m, tags: {latest: 30s, 'v*': 30d}, background: true, negative: 10s}
    timeout: {connect: 1s, read: 10s, total: 1h}
    limits: {connections: 8, bandwidth: 100MB}
    prefetch: {layers: true, platforms: [linux/amd64, linux/arm/v7]}
    realms: [https://auth.two.example]
    shadow: true
  - {name: three.example, dockerconfig: FILES/config.json}
  - {name: four.example, helper: ecr-login, lifetime: 6h}
  - {name: five.example, tokenfile: FILES/token}
cache: {maxsize: 80%, minfree: 5GB, highwatermark: 90%, lowwatermark: 80%, maxage: 90d, pin: ['two.example/team/base:*']}
warm:
  - {schedule: '0 3 * * *', images: ['two.example/team/app:v*'], platforms: [linux/amd64]}
api: {enabled: true, addr: ''}
";

#[tokio::test]
async fn every_key_of_this_release_is_taken_without_a_warning() {
    let home = home();
    let files = home.path().join("files");
    fs::create_dir(&files).unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
    for (name, text) in [
        ("password", "hunter2\n"),
        ("token", "hunter2\n"),
        (
            "config.json",
            "{\"auths\": {\"three.example\": {\"auth\": \"hunter2\"}}}",
        ),
        ("ca.pem", certificate),
        ("key.pem", key),
    ] {
        fs::write(files.join(name), text).unwrap();
    }
    let text = EVERY_KEY.replace("FILES", &files.to_string_lossy());
    let file = config(home.path(), &text);
    let outcome = run(seawall(home.path()).arg("check-config").arg(&file)).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!printed.to_lowercase().contains("warn"), "{printed}");
    assert!(!printed.contains("no effect"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    for word in [
        "garbage   collected 3d after nothing names it, every 15m; untagged manifests too",
        "two.example from https://two.example, https://other.example:5000/two.example as u",
        "1 pattern allowed; 2 patterns denied",
        "tags fresh for 5m, latest 30s, v* 30d",
        "three.example from https://three.example as whoever",
        "docker-credential-ecr-login",
        "at most 80% of the disk",
        "at 0 3 * * * (UTC): two.example/team/app:v* for linux/amd64",
    ] {
        assert!(printed.contains(word), "no {word:?} in:\n{printed}");
    }
}

#[tokio::test]
async fn files_that_keys_name_are_read_before_the_server_starts() {
    for keys in [
        "tokenfile: /nonexistent/file",
        "dockerconfig: /nonexistent/file",
        "username: u, passwordfile: /nonexistent/file",
        "tls: {ca: /nonexistent/file}",
    ] {
        let text = format!("{PLAIN}mirrors: [{{name: a.example, {keys}}}]\n");
        let key = keys.split(": /").next().unwrap();
        let key = key.rsplit([' ', '{']).next().unwrap();
        expect_refused(&text, &["7", key, "cannot read /nonexistent/file"]).await;
    }
}

#[tokio::test]
async fn two_kinds_of_credentials_are_refused_and_neither_is_printed() {
    let home = home();
    let text = format!(
        "{PLAIN}mirrors: [{{name: a.example, username: u, password: hunter2, helper: ecr-login}}]\n"
    );
    let file = config(home.path(), &text);
    for command in ["check-config", "serve"] {
        let outcome = run(seawall(home.path()).arg(command).arg(&file)).await;
        assert_eq!(outcome.code, Some(1), "{command}: {outcome:#?}");
        for word in ["username", "helper"] {
            assert!(outcome.stderr.contains(word), "{command}: {outcome:#?}");
        }
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn unknown_keys_are_named_with_line_and_nearest_known_key() {
    let text = PLAIN.replace("    rootdirectory", "    rootdirectroy");
    expect_refused(
        &text,
        &["config.yml", "6", "rootdirectroy", "rootdirectory"],
    )
    .await;
    let text = format!("{PLAIN}mirors: []\nhtpp: {{}}\n");
    expect_refused(&text, &["mirors", "mirrors", "htpp", "http", "7", "8"]).await;
    let home = home();
    let file = config(home.path(), &format!("{PLAIN}futurekey: 1\n"));
    let mut command = seawall(home.path());
    let command = command
        .arg("check-config")
        .arg("--allow-unknown-keys")
        .arg(&file);
    let outcome = run(command).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(printed.contains("futurekey"), "{printed}");
}

#[tokio::test]
async fn wrong_values_are_named_with_line_and_key() {
    for (line, words) in [
        ("log: {level: loud}", &["7", "level", "loud"][..]),
        ("catalog: {maxentries: many}", &["7", "maxentries"]),
        (
            "mirrors: [{name: a.example, endpoints: [ftp://x]}]",
            &["7", "endpoints"],
        ),
        (
            "mirrors: [{endpoints: [https://a.example]}]",
            &["7", "name"],
        ),
        ("proxy: {remoteurl: nonsense}", &["7", "remoteurl"]),
        ("version: 0.1", &["version"]),
    ] {
        expect_refused(&format!("{PLAIN}{line}\n"), words).await;
    }
    let two_defaults = "mirrors:
  - {name: a.example, endpoints: [https://a.example], default: true}
  - {name: b.example, endpoints: [https://b.example], default: true}
";
    expect_refused(&format!("{PLAIN}{two_defaults}"), &["default"]).await;
    expect_refused(
        &PLAIN.replace("version: 0.1", "version: 0.9"),
        &["version", "0.9"],
    )
    .await;
    expect_refused(&PLAIN.replace("version: 0.1\n", ""), &["version"]).await;
    expect_refused("version: [\n", &["config.yml"]).await;
}

#[tokio::test]
async fn keys_that_protect_or_place_bytes_are_refused_until_they_work() {
    for section in [
        "auth: {htpasswd: {realm: r, path: /p}}",
        "middleware: {registry: [{name: x}]}",
        "policy: {repository: {classes: [image]}}",
        "validation: {manifests: {urls: {allow: [x]}}}",
    ] {
        let key = section.split(':').next().unwrap();
        expect_refused(&format!("{PLAIN}{section}\n"), &[key]).await;
    }
    let tls = PLAIN.replace("http:\n", "http:\n  tls: {certificate: /c, key: /k}\n");
    expect_refused(&tls, &["http.tls"]).await;
    let unix = PLAIN.replace("http:\n", "http:\n  net: unix\n");
    expect_refused(&unix, &["http.net"]).await;
    let s3 = "version: 0.1\nstorage:\n  s3: {region: r, bucket: b}\n";
    expect_refused(s3, &["s3"]).await;
}

#[tokio::test]
async fn known_keys_without_effect_yet_are_warned_about() {
    let (outcome, _) = check(&format!(
        "{PLAIN}redis: {{addr: localhost}}\nhealth: {{storagedriver: {{enabled: true}}}}\n\
         notifications: {{endpoints: [{{name: x, url: 'http://x.example'}}]}}\ngc: {{lease: 2h}}\n"
    ))
    .await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    for key in ["redis", "health", "notifications"] {
        assert!(printed.contains(key), "no {key}: {printed}");
    }
    assert!(!printed.contains("lease"), "{printed}");
}

#[tokio::test]
async fn files_that_cannot_be_read_and_commands_nobody_knows_end_as_they_should() {
    let home = home();
    let outcome = run(seawall(home.path()).args(["serve", "/nonexistent/config.yml"])).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("/nonexistent/config.yml"));
    let outcome = run(seawall(home.path()).args(["serve", "--no-such-flag"])).await;
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    let outcome = run(seawall(home.path()).arg("--version")).await;
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{outcome:#?}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_in_a_line() {
    let home = home();
    let file = config(home.path(), PLAIN);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = seawall(home.path());
    let outcome = run(command.arg("serve").arg(&file).args(["--listen", &address])).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains(&address), "{outcome:#?}");
}

#[tokio::test]
async fn a_second_process_on_one_state_directory_is_refused() {
    let home = home();
    let file = config(home.path(), PLAIN);
    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let second = run(seawall(home.path()).arg("serve").arg(&file)).await;
    assert_eq!(second.code, Some(1), "{second:#?}");
    assert_eq!(second.stderr.trim().lines().count(), 1, "{second:#?}");
    let root = home.path().join("root");
    assert!(
        second.stderr.contains(&*root.to_string_lossy()),
        "{second:#?}"
    );
    served
        .client()
        .push_blob("team/app", &noise("still works", 10))
        .await;
    served.kill().await;
    Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
}

#[tokio::test]
async fn a_binary_older_than_the_database_is_refused_and_says_so() {
    let home = home();
    let file = config(home.path(), PLAIN);
    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    served.kill().await;
    let database = home.path().join("root/seawall.db");
    let newer = rusqlite::Connection::open(&database).unwrap();
    newer
        .execute(
            "UPDATE schema_version SET schema = 99, min_compatible = 98",
            [],
        )
        .unwrap();
    drop(newer);
    let refused = run(seawall(home.path()).arg("serve").arg(&file)).await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert_eq!(refused.stderr.trim().lines().count(), 1, "{refused:#?}");
    assert!(refused.stderr.contains("98 or newer"), "{refused:#?}");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_uploads_go_on() {
    let home = home();
    let file = config(home.path(), PLAIN);
    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let image = Recipe::image("acknowledged").build();
    served.client().push("team/app", &image, &["v1"]).await;
    let bytes = noise("resumed", 400_000);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let location = served.client().start_upload("team/app").await;
    let first = served
        .client()
        .chunk(&location, 0, &bytes.slice(..150_000))
        .await;
    let location = first.expect_status(202).location();
    let path = format!("/v2/{}", location.split_once("/v2/").unwrap().1);
    served.kill().await;

    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    served.client().expect_pull("team/app", &image).await;
    let tag = served.client().get("/v2/team/app/manifests/v1").await;
    assert_eq!(tag.expect_status(200).body, image.top().bytes);
    let status = served.client().get(&path).await.expect_status(204);
    assert_eq!(status.need("range"), "0-149999");
    let finish = served
        .client()
        .finish_upload(&path, &digest, &bytes.slice(150_000..));
    finish.await.expect_status(201);
    let got = served
        .client()
        .get(&format!("/v2/team/app/blobs/{digest}"))
        .await;
    assert_eq!(got.expect_status(200).body, bytes);
}

#[tokio::test]
async fn sigterm_lets_a_slow_upload_finish_and_exits_cleanly() {
    let home = home();
    let text = PLAIN.replace("http:\n", "http:\n  draintimeout: 60s\n");
    let file = config(home.path(), &text);
    let mut served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let bytes = noise("slow", 100_000);
    let digest = digest_of(Algorithm::Sha256, &bytes);
    let mut idle = RawConnection::open(served.address).await;
    idle.send("GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n")
        .await;
    assert_eq!(idle.response().await.unwrap().status, 200);
    let mut slow = RawConnection::open(served.address).await;
    let head = format!(
        "POST /v2/team/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: registry\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    slow.send(head).await;
    assert_eq!(slow.response().await.unwrap().status, 100);
    slow.send(&bytes[..50_000]).await;
    served.terminate();
    assert!(
        idle.is_closed_by_server().await,
        "an idle connection does not delay the exit"
    );
    slow.send(&bytes[50_000..]).await;
    assert_eq!(slow.response().await.unwrap().status, 201);
    drop(slow);
    assert_eq!(served.exit_code().await, Some(0));

    let served = Served::start(seawall(home.path()).arg("serve").arg(&file)).await;
    let got = served
        .client()
        .get(&format!("/v2/team/app/blobs/{digest}"))
        .await;
    assert_eq!(got.expect_status(200).body, bytes);
}

#[tokio::test]
async fn client_config_prints_a_file_for_each_client() {
    let home = home();
    for client in ["docker", "containerd", "podman", "buildkit", "k3s"] {
        let mut command = seawall(home.path());
        let command = command.args(["client-config", client, "--server"]);
        let outcome = run(command.arg("http://registry.example:5000")).await;
        assert_eq!(outcome.code, Some(0), "{client}: {outcome:#?}");
        assert!(
            outcome.stdout.contains("registry.example:5000"),
            "{client}: {outcome:#?}"
        );
        if client == "docker" {
            let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
            assert_eq!(json["registry-mirrors"][0], "http://registry.example:5000");
            assert!(outcome.stderr.contains("daemon.json"), "{outcome:#?}");
        }
    }
    let outcome = run(seawall(home.path()).args(["client-config", "netscape"])).await;
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
}
