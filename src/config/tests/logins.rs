//! What an upstream is asked with: each kind is read, only one may be named, and no secret is ever told.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::load::{PLAIN, errors, with};
use crate::config::{Login, Mirror};

/// A directory with one file of each kind, all holding `hunter2`.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("password", "hunter2\n");
        files.write("token", "hunter2\r\n");
        files.write(
            "config.json",
            r#"{"auths": {"a.example": {"auth": "hunter2"}}}"#,
        );
        files
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.told(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn told(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn mirror(keys: &str, variables: &[(&str, &str)]) -> Mirror {
    let text = format!("{PLAIN}mirrors: [{{name: a.example, {keys}}}]\n");
    let mut config = with(&text, variables).unwrap_or_else(|error| panic!("{error}"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.mirrors.upstreams.remove(0)
}

fn proxy(keys: &str, variables: &[(&str, &str)]) -> Mirror {
    let text = format!("{PLAIN}proxy: {{remoteurl: https://a.example, {keys}}}\n");
    let mut config = with(&text, variables).unwrap_or_else(|error| panic!("{error}"));
    assert!(!format!("{config:?}").contains("hunter2"));
    config.mirrors.upstreams.remove(0)
}

/// The one thing that is wrong with a mirror of these keys, without its place.
fn wrong(keys: &str) -> String {
    let text = format!("{PLAIN}mirrors: [{{name: a.example, {keys}}}]\n");
    only(errors(&text, &[]))
}

fn only(found: Vec<String>) -> String {
    let [error] = found.as_slice() else {
        panic!("not one error: {found:?}")
    };
    assert!(!error.contains("hunter2"), "{error}");
    let error = error.strip_prefix("config.yml:3: ");
    error.expect("the line is told").to_owned()
}

#[test]
fn each_kind_of_credentials_is_read_and_told_without_its_secret() {
    let files = Files::new();
    assert_eq!(mirror("", &[]).login, None);
    let helper = |program: &str, lifetime| {
        Some(Login::Helper {
            program: program.to_owned(),
            lifetime,
        })
    };
    for (keys, login, told) in [
        (
            format!("username: u, passwordfile: {}", files.told("password")),
            Some(Login::PasswordFile {
                username: "u".to_owned(),
                file: files.path("password"),
            }),
            "u".to_owned(),
        ),
        (
            format!("dockerconfig: {}", files.told("config.json")),
            Some(Login::DockerConfig {
                file: files.path("config.json"),
            }),
            format!("whoever {} names", files.told("config.json")),
        ),
        (
            format!("tokenfile: {}", files.told("token")),
            Some(Login::TokenFile {
                file: files.path("token"),
            }),
            format!("the bearer of {}", files.told("token")),
        ),
        (
            "helper: ecr-login, lifetime: 6h".to_owned(),
            helper("docker-credential-ecr-login", Some(Duration::from_hours(6))),
            "whoever docker-credential-ecr-login names".to_owned(),
        ),
        (
            "helper: docker-credential-gcr, lifetime: 0s".to_owned(),
            helper("docker-credential-gcr", Some(Duration::ZERO)),
            "whoever docker-credential-gcr names".to_owned(),
        ),
        (
            "helper: /opt/bin/helper".to_owned(),
            helper("/opt/bin/helper", None),
            "whoever /opt/bin/helper names".to_owned(),
        ),
    ] {
        let read = mirror(&keys, &[]).login;
        assert_eq!(read, login, "{keys}");
        assert_eq!(read.unwrap().to_string(), told);
    }
    let password = mirror("username: u, password: hunter2", &[]).login;
    assert!(
        matches!(&password, Some(Login::Password(is)) if is.password.reveal() == "hunter2"),
        "{password:?}"
    );
}

#[test]
fn distributions_exec_is_a_helper_run_as_it_is_written() {
    for (command, lifetime, read) in [
        ("docker-credential-gcr", "", None),
        (
            "/usr/bin/gcr-helper",
            ", lifetime: 1h",
            Some(Duration::from_hours(1)),
        ),
        ("my-helper", ", lifetime: 0s", Some(Duration::ZERO)),
    ] {
        let login = proxy(&format!("exec: {{command: {command}{lifetime}}}"), &[]).login;
        let expected = Login::Helper {
            program: command.to_owned(),
            lifetime: read,
        };
        assert_eq!(login, Some(expected));
    }
}

#[test]
fn two_kinds_of_credentials_are_refused_and_both_named() {
    let files = Files::new();
    let (config, token) = (files.told("config.json"), files.told("token"));
    for (keys, second, first) in [
        (
            format!("username: u, password: hunter2, dockerconfig: {config}"),
            "dockerconfig",
            "username",
        ),
        (
            format!("helper: ecr-login, dockerconfig: {config}"),
            "helper",
            "dockerconfig",
        ),
        (
            format!("tokenfile: {token}, helper: ecr-login"),
            "tokenfile",
            "helper",
        ),
        (
            format!("username: u, tokenfile: {token}"),
            "tokenfile",
            "username",
        ),
    ] {
        assert_eq!(
            wrong(&keys),
            format!(
                "mirrors[0].{second}: mirrors[0].{first} is set too; only one kind of credentials can be meant"
            )
        );
    }
    let text = format!(
        "{PLAIN}proxy: {{remoteurl: https://a.example, username: u, exec: {{command: x}}}}\n"
    );
    assert_eq!(
        only(errors(&text, &[])),
        "proxy.exec.command: proxy.username is set too; only one kind of credentials can be meant"
    );
}

#[test]
fn a_password_may_come_from_a_file_but_not_twice() {
    let files = Files::new();
    let file = files.told("password");
    let text = format!(
        "{PLAIN}proxy: {{remoteurl: https://a.example, username: u, passwordfile: {file}}}\n"
    );
    assert!(with(&text, &[]).is_ok());
    assert_eq!(
        only(errors(&text, &[("REGISTRY_PROXY_PASSWORD", "@hunter2")])),
        "proxy.passwordfile: password is set too; only one of the two can be meant"
    );
    assert_eq!(
        wrong("password: hunter2"),
        "mirrors[0]: password is set without username"
    );
    assert_eq!(
        wrong(&format!("passwordfile: {file}")),
        "mirrors[0]: passwordfile is set without username"
    );
}

#[test]
fn files_of_credentials_are_looked_at_when_the_server_starts() {
    let files = Files::new();
    let broken = files.write("broken.json", "{\n\"auths\": hunter2}");
    let list = files.write("list.json", "[\"hunter2\"]");
    let empty = files.write("empty", "\n");
    let words = files.write("words", "hunter2 hunter3");
    for (keys, told) in [
        (
            format!("dockerconfig: {broken}"),
            format!("mirrors[0].dockerconfig: {broken} is not JSON: see its line 2"),
        ),
        (
            format!("dockerconfig: {list}"),
            format!("mirrors[0].dockerconfig: {list} is not a JSON object"),
        ),
        (
            format!("tokenfile: {empty}"),
            format!("mirrors[0].tokenfile: {empty} holds no token"),
        ),
        (
            format!("tokenfile: {words}"),
            format!("mirrors[0].tokenfile: {words} holds characters that no bearer token can have"),
        ),
    ] {
        assert_eq!(wrong(&keys), told);
    }
    let missing = files.told("missing");
    for key in ["username: u, passwordfile", "dockerconfig", "tokenfile"] {
        let told = wrong(&format!("{key}: {missing}"));
        let key = key.rsplit(' ').next().unwrap();
        let expected = format!("mirrors[0].{key}: cannot read {missing}: No such file");
        assert!(told.starts_with(&expected), "{told}");
    }
}

#[test]
fn wrong_helpers_and_lifetimes_are_told() {
    for (keys, told) in [
        (
            "lifetime: 6h",
            "mirrors[0].lifetime: is set without helper, whose answer it is about",
        ),
        (
            "helper: ecr-login, lifetime: soon",
            "mirrors[0].lifetime: \"soon\" is not a duration like 10s, 500ms, 1h30m or 7d",
        ),
        (
            "helper: ecr-login get",
            "mirrors[0].helper: \"ecr-login get\" is not a program like docker-credential-ecr-login, without arguments",
        ),
        (
            "helper: docker-credential-",
            "mirrors[0].helper: \"docker-credential-\" is not a program like docker-credential-ecr-login, without arguments",
        ),
    ] {
        assert_eq!(wrong(keys), told);
    }
    let text = format!("{PLAIN}proxy: {{remoteurl: https://a.example, exec: {{lifetime: 1h}}}}\n");
    assert_eq!(
        only(errors(&text, &[])),
        "proxy.exec.lifetime: is set without command, whose answer it is about"
    );
}

#[test]
fn variables_override_credentials() {
    let files = Files::new();
    let token = files.told("token");
    let login = mirror("", &[("REGISTRY_MIRRORS_0_TOKENFILE", &token)]).login;
    assert!(matches!(login, Some(Login::TokenFile { .. })), "{login:?}");
    let password = files.told("password");
    let variables = [("REGISTRY_MIRRORS_0_PASSWORDFILE", password.as_str())];
    let login = mirror("username: u", &variables).login;
    assert!(
        matches!(login, Some(Login::PasswordFile { .. })),
        "{login:?}"
    );
    let variables = [("REGISTRY_PROXY_PASSWORDFILE", password.as_str())];
    let login = proxy("username: u", &variables).login;
    assert!(
        matches!(login, Some(Login::PasswordFile { .. })),
        "{login:?}"
    );
    let config = files.told("config.json");
    let login = mirror("", &[("REGISTRY_MIRRORS_0_DOCKERCONFIG", &config)]).login;
    assert!(
        matches!(login, Some(Login::DockerConfig { .. })),
        "{login:?}"
    );
    let variables = [
        ("REGISTRY_MIRRORS_0_HELPER", "other"),
        ("REGISTRY_MIRRORS_0_LIFETIME", "1m"),
    ];
    let expected = Login::Helper {
        program: "docker-credential-other".to_owned(),
        lifetime: Some(Duration::from_secs(60)),
    };
    assert_eq!(
        mirror("helper: ecr-login, lifetime: 6h", &variables).login,
        Some(expected)
    );
    let variables = [
        ("REGISTRY_PROXY_EXEC_COMMAND", "other"),
        ("REGISTRY_PROXY_EXEC_LIFETIME", "1m"),
    ];
    let expected = Login::Helper {
        program: "other".to_owned(),
        lifetime: Some(Duration::from_secs(60)),
    };
    assert_eq!(
        proxy("exec: {command: x}", &variables).login,
        Some(expected)
    );
}

#[test]
fn what_cannot_be_sent_is_refused_and_no_password_is_told() {
    for (keys, told) in [
        (
            "username: \"a:b\", password: hunter2",
            "mirrors[0].username: holds a colon, which ends a user name where it is sent",
        ),
        (
            "username: \"a\\tb\", password: hunter2",
            "mirrors[0].username: holds a control character, which cannot be sent",
        ),
        (
            "username: u, password: \"hunter2\\n\"",
            "mirrors[0].password: holds a control character, which cannot be sent",
        ),
    ] {
        assert_eq!(wrong(keys), told);
    }
    let text = format!("{PLAIN}proxy: {{remoteurl: https://a.example, username: \"a:b\"}}\n");
    let told = "proxy.username: holds a colon, which ends a user name where it is sent";
    assert_eq!(only(errors(&text, &[])), told);
}

#[test]
fn credentials_without_an_upstream_have_no_effect_and_are_told_so() {
    let text = format!("{PLAIN}proxy: {{username: u, password: hunter2}}\n");
    let config = with(&text, &[]).unwrap();
    assert_eq!(
        config.warnings,
        [
            "config.yml:3: proxy.username has no effect without proxy.remoteurl",
            "config.yml:3: proxy.password has no effect without proxy.remoteurl",
        ]
    );
    let text = format!("{PLAIN}proxy: {{exec: {{command: x}}}}\n");
    assert_eq!(
        with(&text, &[]).unwrap().warnings,
        ["config.yml:3: proxy.exec.command has no effect without proxy.remoteurl"]
    );
}

#[test]
fn files_of_credentials_have_a_limit_and_are_files_or_pipes() {
    let files = Files::new();
    let most = files.write("most", &"x".repeat(64 << 10));
    let more = files.write("more", &"x".repeat((64 << 10) + 1));
    let padded = format!("{{}}{}", " ".repeat((1 << 20) - 2));
    let big = files.write("big.json", &padded);
    let bigger = files.write("bigger.json", &format!("{padded} "));
    for keys in [
        format!("username: u, passwordfile: {most}"),
        format!("tokenfile: {most}"),
        format!("dockerconfig: {big}"),
    ] {
        assert!(mirror(&keys, &[]).login.is_some(), "{keys}");
    }
    let directory = files.0.path().display().to_string();
    for (keys, key, told) in [
        (
            "username: u, ",
            "passwordfile",
            format!("{more} holds more than 64 KiB"),
        ),
        ("", "tokenfile", format!("{more} holds more than 64 KiB")),
        (
            "",
            "dockerconfig",
            format!("{bigger} holds more than 1024 KiB"),
        ),
        (
            "username: u, ",
            "passwordfile",
            "/dev/zero is neither a file nor a pipe".to_owned(),
        ),
        (
            "",
            "tokenfile",
            "/dev/zero is neither a file nor a pipe".to_owned(),
        ),
        (
            "",
            "dockerconfig",
            format!("{directory} is neither a file nor a pipe"),
        ),
    ] {
        let path = told.split(' ').next().unwrap();
        let found = wrong(&format!("{keys}{key}: {path}"));
        assert_eq!(found, format!("mirrors[0].{key}: {told}"));
    }
}
