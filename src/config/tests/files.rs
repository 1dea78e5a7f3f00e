//! What a file means, and what is said about a wrong one.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::{PLAIN, errors, with, without_file};
use crate::config::{Environment, Formatter, Level, Login, Sources, load};

#[test]
fn nothing_configured_is_a_local_registry_and_eight_mirrors() {
    let config = without_file(&[]).unwrap();
    assert_eq!(config.http.addr, "127.0.0.1:5000");
    assert!(config.storage.delete_enabled);
    assert_eq!(
        config.storage.rootdirectory,
        Path::new("/home/u/.local/share/seawall")
    );
    assert_eq!(config.storage.statedirectory, config.storage.rootdirectory);
    assert_eq!(config.mirrors.upstreams.len(), 8);
    let hub = config.mirrors.default().unwrap();
    assert_eq!(
        (hub.name.as_str(), hub.endpoints[0].as_str()),
        ("docker.io", "https://registry-1.docker.io/")
    );
    assert_eq!(
        config.mirrors.by_name("quay.io").unwrap().endpoints[0].as_str(),
        "https://quay.io/"
    );
    assert!(!config.mirrors.proxy_only);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_xdg_data_directory_is_used_when_it_is_absolute() {
    let config = without_file(&[("XDG_DATA_HOME", "/data")]).unwrap();
    assert_eq!(config.storage.rootdirectory, Path::new("/data/seawall"));
    let config = without_file(&[("XDG_DATA_HOME", "data")]).unwrap();
    assert_eq!(
        config.storage.rootdirectory,
        Path::new("/home/u/.local/share/seawall")
    );
    let error = load(&Sources::default(), &Environment::default()).unwrap_err();
    assert!(error.errors[0].contains("--data DIR"), "{error}");
}

#[test]
fn a_file_means_only_what_it_says() {
    let config = with(PLAIN, &[]).unwrap();
    assert_eq!(config.http.addr, ":5000");
    assert_eq!(config.storage.rootdirectory, Path::new("/var/lib/registry"));
    assert!(!config.storage.delete_enabled);
    assert!(config.mirrors.upstreams.is_empty() && !config.mirrors.proxy_only);
    assert_eq!(config.http.draintimeout, Duration::from_secs(10));
    assert_eq!(config.catalog.maxentries, 1000);
    assert_eq!(config.http.limits.manifestsize, 4 << 20);
    assert_eq!(config.gc.lease, Duration::from_secs(3600));
}

#[test]
fn every_supported_key_is_read() {
    let text = "\
version: 0.1
log: {level: DEBUG, formatter: json, fields: {service: registry, shard: 007}, accesslog: {disabled: yes}, reportcaller: true}
http:
  addr: 0.0.0.0:5001
  host: https://registry.example.org
  prefix: /team/
  relativeurls: true
  draintimeout: 1m30s
  headers: {X-Content-Type-Options: [nosniff]}
  limits: {manifestsize: 8MiB}
storage:
  filesystem: {rootdirectory: /srv/registry}
  delete: {enabled: \"true\"}
  maintenance: {readonly: {enabled: true}}
catalog: {maxentries: 50}
validation: {disabled: true}
gc: {lease: 2d}
mirrors:
  - name: ghcr.io
    username: u
    password: 0123
    freshness: {default: 5m}
    timeout: {connect: 1s, read: 2s}
    realms: [https://auth.example.org]
    shadow: true
    default: true
  - {name: quay.io, endpoints: [https://a.example/quay.io, https://b.example]}
";
    let config = with(text, &[]).unwrap();
    assert_eq!(
        (config.log.level, config.log.formatter),
        (Level::Debug, Formatter::Json)
    );
    assert_eq!(config.log.fields["shard"], "007");
    assert!(config.log.accesslog_disabled && config.log.reportcaller);
    assert_eq!(
        (config.http.addr.as_str(), config.http.prefix.as_str()),
        ("0.0.0.0:5001", "/team/")
    );
    assert_eq!(
        config.http.host.as_ref().unwrap().as_str(),
        "https://registry.example.org/"
    );
    assert!(config.http.relativeurls);
    assert_eq!(config.http.draintimeout, Duration::from_secs(90));
    assert_eq!(
        config.http.headers,
        [(
            "X-Content-Type-Options".to_owned(),
            vec!["nosniff".to_owned()]
        )]
    );
    assert_eq!(config.http.limits.manifestsize, 8 << 20);
    assert_eq!(config.storage.rootdirectory, Path::new("/srv/registry"));
    assert!(config.storage.delete_enabled && config.storage.readonly && config.validation.disabled);
    assert_eq!(
        (config.catalog.maxentries, config.gc.lease),
        (50, Duration::from_secs(2 * 86_400))
    );
    let ghcr = config.mirrors.default().unwrap();
    let Some(Login::Password(credentials)) = &ghcr.login else {
        panic!("no password: {:?}", ghcr.login)
    };
    assert_eq!(
        (credentials.username.as_str(), credentials.password.reveal()),
        ("u", "0123")
    );
    assert_eq!(ghcr.freshness.default, Duration::from_secs(300));
    assert_eq!(
        (ghcr.timeout.connect, ghcr.timeout.read),
        (Duration::from_secs(1), Duration::from_secs(2))
    );
    assert_eq!(ghcr.endpoints[0].as_str(), "https://ghcr.io/");
    assert!(ghcr.shadow && ghcr.realms.len() == 1);
    assert_eq!(
        config.mirrors.by_name("quay.io").unwrap().endpoints.len(),
        2
    );
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn wrong_values_name_file_line_key_and_value() {
    let text = "version: 0.1\nstorage: {filesystem: {}}\nhttp:\n  addr: 5000\n  prefix: v2\n  draintimeout: soon\n  headers: {\"a b\": [x], Content-Length: [1]}\nlog:\n  level: loud\ncatalog: {maxentries: many}\n";
    assert_eq!(
        errors(text, &[]),
        [
            "config.yml:4: http.addr: \"5000\" is not an address like :5000 or 127.0.0.1:5000: the port is missing",
            "config.yml:5: http.prefix: \"v2\" does not begin and end with \"/\"",
            "config.yml:6: http.draintimeout: \"soon\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:7: http.headers.a b: is not a valid header name",
            "config.yml:7: http.headers.Content-Length: describes the message itself and cannot be set",
            "config.yml:9: log.level: \"loud\" is none of error, warn, info and debug",
            "config.yml:10: catalog.maxentries: \"many\" is not a whole number",
        ]
    );
}

#[test]
fn version_and_storage_are_required_in_a_file() {
    let found = errors("http: {}\n", &[]);
    assert_eq!(
        found,
        [
            "config.yml: version is missing: add \"version: 0.1\"",
            "config.yml: storage names no driver: add \"storage: filesystem\""
        ]
    );
    assert_eq!(errors("", &[]).len(), 2);
    assert_eq!(
        errors("version: 0.2\nstorage: filesystem\n", &[]),
        ["config.yml:1: version: \"0.2\" is not supported; 0.1 is"]
    );
    assert!(with("version: \"0.1\"\n", &[("REGISTRY_STORAGE", "filesystem")]).is_ok());
}

#[test]
fn an_unreadable_file_and_broken_yaml_are_told_in_one_line() {
    let sources = Sources {
        file: Some("/nonexistent/c.yml".into()),
        ..Sources::default()
    };
    let error = load(&sources, &Environment::default()).unwrap_err();
    assert!(
        error.errors[0].starts_with("cannot read the configuration /nonexistent/c.yml: "),
        "{error}"
    );
    let found = errors("version: 0.1\nproxy: {password: \"hunter2\n", &[]);
    assert!(
        found.len() == 1 && found[0].starts_with("config.yml:") && !found[0].contains("hunter2"),
        "{found:?}"
    );
}

#[test]
fn the_environment_names_the_file_and_allows_unknown_keys() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yml");
    std::fs::write(&file, format!("{PLAIN}typo: 1\n")).unwrap();
    let path = file.to_str().unwrap();
    let path_variable = ("REGISTRY_CONFIGURATION_PATH", path);
    assert!(load(&Sources::default(), &Environment::of(&[path_variable])).is_err());
    let variables = [path_variable, ("SEAWALL_ALLOW_UNKNOWN_KEYS", "true")];
    let loaded = load(&Sources::default(), &Environment::of(&variables)).unwrap();
    assert_eq!(loaded.file, Some(file.clone()));
    assert_eq!(
        loaded.config.warnings,
        [format!("{path}:3: unknown key \"typo\"")]
    );
    let variables = [path_variable, ("SEAWALL_ALLOW_UNKNOWN_KEYS", "maybe")];
    let error = load(&Sources::default(), &Environment::of(&variables)).unwrap_err();
    assert!(
        error.errors[0].starts_with("SEAWALL_ALLOW_UNKNOWN_KEYS: "),
        "{error}"
    );
}

#[test]
fn options_override_address_and_directories() {
    let sources = Sources {
        data: Some("/d".into()),
        listen: Some(":9".into()),
        ..Sources::default()
    };
    let config = load(&sources, &Environment::default()).unwrap().config;
    assert_eq!(config.http.addr, ":9");
    assert_eq!(
        (config.storage.rootdirectory, config.storage.statedirectory),
        (PathBuf::from("/d"), PathBuf::from("/d"))
    );
    let root = [("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/r")];
    let config = load(&sources, &Environment::of(&root)).unwrap().config;
    assert_eq!(
        (config.storage.rootdirectory, config.storage.statedirectory),
        (PathBuf::from("/r"), PathBuf::from("/d"))
    );
    let sources = Sources {
        listen: Some("9".into()),
        ..sources
    };
    assert!(
        load(&sources, &Environment::default()).unwrap_err().errors[0].starts_with("--listen: ")
    );
}

#[test]
fn distributions_own_example_starts_with_warnings() {
    let text = "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n  headers:\n    X-Content-Type-Options: [nosniff]\nhealth:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n";
    let config = with(text, &[]).unwrap();
    assert_eq!(
        config.warnings,
        [
            "config.yml:7: storage.cache.blobdescriptor has no effect",
            "config.yml:16: health.storagedriver.enabled has no effect yet",
            "config.yml:17: health.storagedriver.interval has no effect yet",
            "config.yml:18: health.storagedriver.threshold has no effect yet",
        ]
    );
}
