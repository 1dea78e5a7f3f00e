//! Whole configurations: from file and variables to typed values and messages.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, Environment, Error, Formatter, Level, Sources, load};

const PLAIN: &str = "version: 0.1\nstorage: filesystem\n";

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let strip = |line: String| line.replace(&format!("{}/", directory.path().display()), "");
    let loaded = load(&sources, &Environment::of(variables));
    loaded
        .map(|loaded| Config {
            warnings: loaded.config.warnings.iter().cloned().map(strip).collect(),
            ..loaded.config
        })
        .map_err(|error| Error {
            errors: error.errors.into_iter().map(strip).collect(),
            warnings: error.warnings.into_iter().map(strip).collect(),
        })
}

fn without_file(variables: &[(&str, &str)]) -> Result<Config, Error> {
    let mut all = vec![("HOME", "/home/u")];
    all.extend(variables);
    load(&Sources::default(), &Environment::of(&all)).map(|loaded| loaded.config)
}

fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    with(text, variables)
        .expect_err("the configuration is wrong")
        .errors
}

fn names(config: &Config) -> Vec<&str> {
    config
        .mirrors
        .upstreams
        .iter()
        .map(|mirror| mirror.name.as_str())
        .collect()
}

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
    let credentials = ghcr.credentials.as_ref().unwrap();
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
fn variables_override_keys_whatever_their_case() {
    let variables = [
        ("REGISTRY_HTTP_ADDR", "[::]:5001"),
        ("REGISTRY_log_Level", "warn"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv"),
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
        ("REGISTRY_LOG_FIELDS_MY_SHARD", "7"),
        ("REGISTRY_CATALOG_MAXENTRIES", "7"),
        ("REGISTRY_HTTP_LIMITS", "{manifestsize: 1MiB}"),
    ];
    let config = with(PLAIN, &variables).unwrap();
    assert_eq!(
        (config.http.addr.as_str(), config.log.level),
        ("[::]:5001", Level::Warn)
    );
    assert_eq!(config.storage.rootdirectory, Path::new("/srv"));
    assert!(config.storage.delete_enabled && config.storage.readonly);
    assert_eq!(
        (
            config.log.fields["my_shard"].as_str(),
            config.catalog.maxentries
        ),
        ("7", 7)
    );
    assert_eq!(config.http.limits.manifestsize, 1 << 20);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_whole_map_by_variable_replaces_the_map() {
    let text =
        "version: 0.1\nstorage: {filesystem: {}, maintenance: {readonly: {enabled: false}}}\n";
    let config = with(
        text,
        &[(
            "REGISTRY_STORAGE_MAINTENANCE",
            "{readonly: {enabled: true}}",
        )],
    )
    .unwrap();
    assert!(config.storage.readonly);
    let config = with(
        text,
        &[(
            "REGISTRY_STORAGE_MAINTENANCE",
            "{\"readonly\": {\"enabled\": true}}",
        )],
    )
    .unwrap();
    assert!(config.storage.readonly);
}

#[test]
fn the_storage_variable_replaces_the_driver_and_its_parameters() {
    let text = "version: 0.1\nstorage:\n  s3: {bucket: b}\n  delete: {enabled: true}\n";
    assert!(errors(text, &[])[0].starts_with("config.yml:3: storage.s3 "));
    let variables = [
        ("REGISTRY_STORAGE", "filesystem"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv"),
    ];
    let config = with(text, &variables).unwrap();
    assert_eq!(config.storage.rootdirectory, Path::new("/srv"));
    assert!(config.storage.delete_enabled);
    let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /old}}\n";
    let config = with(text, &[("REGISTRY_STORAGE", "filesystem")]).unwrap();
    assert_eq!(config.storage.rootdirectory, Path::new("/var/lib/registry"));
}

#[test]
fn what_is_refused_is_refused_by_variable_too_and_named() {
    for (name, value, key) in [
        ("REGISTRY_AUTH", "htpasswd", "auth.htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/p", "auth.htpasswd"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c", "http.tls"),
        ("REGISTRY_HTTP_NET", "unix", "http.net"),
        ("REGISTRY_STORAGE_S3_BUCKET", "b", "storage.s3"),
        (
            "REGISTRY_MIDDLEWARE",
            "{storage: [{name: redirect}]}",
            "middleware",
        ),
        ("REGISTRY_POLICY_REPOSITORY_CLASSES", "[image]", "policy"),
        (
            "REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW",
            "[a]",
            "validation.manifests",
        ),
    ] {
        let text = "version: 0.1\nhttp: {tls: {}}\nauth: {}\nstorage: {maintenance: {}}\n";
        let found = errors(text, &[(name, value)]);
        let expected = format!("{name}: {key} is not supported yet");
        assert!(
            found.iter().any(|line| line.starts_with(&expected)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn unknown_variables_warn_and_misspelt_protection_is_refused() {
    let config = with(
        PLAIN,
        &[("REGISTRY_HTP_ADDR", "x"), ("REGISTRY_FROBNICATE", "x")],
    )
    .unwrap();
    assert_eq!(
        config.warnings,
        [
            "REGISTRY_FROBNICATE: names no key and is ignored",
            "REGISTRY_HTP_ADDR: names no key and is ignored; did you mean REGISTRY_HTTP?"
        ]
    );
    for name in [
        "REGISTRY_AUTH_HTPASWD_PATH",
        "REGISTRY_AUHT_HTPASSWD_PATH",
        "REGISTRY_AUTHH",
        "REGISTRY_HTTP_TLS_CERTIFICAT",
        "REGISTRY_HTTP_TSL_KEY",
        "REGISTRY_HTP_TLS_KEY",
        "REGISTRY_HTTPTLS_KEY",
    ] {
        let found = errors(PLAIN, &[(name, "hunter2")]);
        assert!(
            found[0].starts_with(&format!("{name}: ")) && !found[0].contains("hunter2"),
            "{found:?}"
        );
    }
}

#[test]
fn wrong_values_of_variables_name_the_variable() {
    let variables = [
        ("REGISTRY_CATALOG_MAXENTRIES", "many"),
        ("REGISTRY_HTTP_HEADERS", "{a: ["),
    ];
    let found = errors(PLAIN, &variables);
    assert_eq!(
        found[0],
        "REGISTRY_CATALOG_MAXENTRIES: catalog.maxentries: \"many\" is not a whole number"
    );
    assert!(
        found[1].starts_with("REGISTRY_HTTP_HEADERS: not valid YAML: "),
        "{found:?}"
    );
    let found = errors(PLAIN, &[("REGISTRY_HTTP", "{adr: x}")]);
    assert_eq!(
        found,
        ["REGISTRY_HTTP: unknown key \"adr\" in http: did you mean \"addr\"?"]
    );
}

#[test]
fn service_variables_of_kubernetes_are_not_configuration() {
    let variables = [
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
        ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_PROXY_PORT_5000_TCP_ADDR", "10.0.0.1"),
        ("REGISTRY_AUTH_SERVICE_PORT", "5001"),
        ("REGISTRY_LOG_FIELDS_SERVICE_HOST", "10.0.0.1"),
    ];
    let config = without_file(&variables).unwrap();
    assert_eq!(config.mirrors.upstreams.len(), 8);
    assert!(config.warnings.is_empty() && config.log.fields.is_empty());
}

#[test]
fn headers_by_variable_replace_the_same_header_in_another_case() {
    let text = format!("{PLAIN}http: {{headers: {{X-Foo: [a]}}}}\n");
    let variables = [
        ("REGISTRY_HTTP_HEADERS_X-FOO", "[b, c]"),
        ("REGISTRY_HTTP_HEADERS_Access-Control-Allow-Origin", "['*']"),
    ];
    let config = with(&text, &variables).unwrap();
    let headers: Vec<(&str, Vec<&str>)> = config
        .http
        .headers
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        headers,
        [
            ("X-Foo", vec!["b", "c"]),
            ("access-control-allow-origin", vec!["*"])
        ]
    );
}

#[test]
fn elements_of_lists_are_set_appended_and_never_leave_gaps() {
    let text = format!("{PLAIN}mirrors: [{{name: a.example}}]\n");
    let variables = [
        ("REGISTRY_MIRRORS_0_USERNAME", "u"),
        ("REGISTRY_MIRRORS_1_NAME", "b.example"),
        ("REGISTRY_MIRRORS_1_ENDPOINTS_0", "https://one.example"),
        ("REGISTRY_MIRRORS_1_ENDPOINTS_1", "https://two.example"),
        ("REGISTRY_MIRRORS_2", "{name: c.example}"),
    ];
    let config = with(&text, &variables).unwrap();
    assert_eq!(names(&config), ["a.example", "b.example", "c.example"]);
    assert_eq!(
        config.mirrors.upstreams[0]
            .credentials
            .as_ref()
            .unwrap()
            .username,
        "u"
    );
    assert_eq!(config.mirrors.upstreams[1].endpoints.len(), 2);
    let found = errors(&text, &[("REGISTRY_MIRRORS_5_NAME", "x.example")]);
    assert_eq!(
        found,
        [
            "REGISTRY_MIRRORS_5_NAME: index 5 leaves a gap: the list has 1 elements, so the next index is 1"
        ]
    );
    let found = errors(&text, &[("REGISTRY_MIRRORS_FIRST_NAME", "x.example")]);
    assert_eq!(
        found,
        [
            "REGISTRY_MIRRORS_FIRST_NAME: \"FIRST\" stands where the index of a list element is expected"
        ]
    );
}

#[test]
fn names_from_go_fields_reach_their_keys() {
    let variables = [
        (
            "REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES",
            "true",
        ),
        ("REGISTRY_HEALTH_FILECHECKERS_0_FILE", "/f"),
        ("REGISTRY_LOG_HOOKS_0_MAILOPTIONS_FROM", "a"),
        ("REGISTRY_REDIS_OPTIONS_DB", "1"),
    ];
    let config = with(PLAIN, &variables).unwrap();
    assert_eq!(
        config.warnings,
        [
            "REGISTRY_HEALTH_FILECHECKERS_0_FILE: health.file[0].file has no effect yet",
            "REGISTRY_LOG_HOOKS_0_MAILOPTIONS_FROM: log.hooks[0].options.from has no effect yet",
            "REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES: notifications.events.includereferences has no effect yet",
            "REGISTRY_REDIS_OPTIONS_DB: redis.db has no effect",
        ]
    );
}

#[test]
fn any_variable_about_upstreams_replaces_the_built_in_mirrors() {
    let config = without_file(&[("REGISTRY_MIRRORS_0_NAME", "quay.io")]).unwrap();
    assert_eq!(names(&config), ["quay.io"]);
    let config =
        without_file(&[("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io")]).unwrap();
    assert_eq!(names(&config), ["docker.io"]);
    assert!(config.mirrors.proxy_only && config.mirrors.default().is_some());
    let config = without_file(&[("REGISTRY_PROXY_REMOTEURL", "")]).unwrap();
    assert!(config.mirrors.upstreams.is_empty() && !config.mirrors.proxy_only);
}

#[test]
fn a_remoteurl_is_named_by_its_host() {
    for (url, name) in [
        ("https://registry-1.docker.io", "docker.io"),
        ("https://index.docker.io", "docker.io"),
        ("https://docker.io", "docker.io"),
        ("http://upstream.example:5000", "upstream.example:5000"),
        ("https://notdocker.io", "notdocker.io"),
    ] {
        let config = with(
            &format!("{PLAIN}proxy: {{remoteurl: {url}, username: u, password: p}}\n"),
            &[],
        )
        .unwrap();
        assert_eq!(names(&config), [name]);
        assert!(config.mirrors.proxy_only && config.mirrors.upstreams[0].credentials.is_some());
    }
}

#[test]
fn a_remoteurl_beside_mirrors_is_their_default() {
    let config = with(
        &format!("{PLAIN}proxy: {{remoteurl: https://a.example}}\nmirrors: [{{name: quay.io}}]\n"),
        &[],
    )
    .unwrap();
    assert_eq!(names(&config), ["quay.io", "a.example"]);
    assert_eq!(config.mirrors.default().unwrap().name, "a.example");
    assert!(!config.mirrors.proxy_only);
}

#[test]
fn contradicting_mirrors_are_refused() {
    let text = format!(
        "{PLAIN}proxy: {{remoteurl: https://docker.io}}\nmirrors:\n  - {{name: docker.io, default: true}}\n  - {{name: Docker.io}}\n  - {{name: b.example, default: true}}\n  - {{endpoints: [https://x]}}\n  - {{name: \"a/b\"}}\n  - {{name: c.example, endpoints: [ftp://x, \"https://u:hunter2@x\", \"https://x?q\"]}}\n"
    );
    assert_eq!(
        errors(&text, &[]),
        [
            "config.yml:3: proxy: remoteurl is a second mirror named \"docker.io\"",
            "config.yml:3: proxy: remoteurl is a second default; the mirror \"docker.io\" is one already",
            "config.yml:6: mirrors[1]: a second mirror is named \"Docker.io\"",
            "config.yml:7: mirrors[2]: a second default; \"docker.io\" is one already",
            "config.yml:8: mirrors[3]: name is missing: it is the host clients know the registry by",
            "config.yml:9: mirrors[4].name: \"a/b\" is not a host like docker.io or registry.example.org:5000",
            "config.yml:10: mirrors[5].endpoints[0]: is not a URL like https://registry.example.org",
            "config.yml:10: mirrors[5].endpoints[1]: holds a user name or password; they have keys of their own",
            "config.yml:10: mirrors[5].endpoints[2]: holds a query or fragment, which has no meaning here",
        ]
    );
}

#[test]
fn a_password_may_come_from_a_file_but_not_twice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let path = file.display();
    let text = format!(
        "{PLAIN}proxy: {{remoteurl: https://a.example, username: u, passwordfile: {path}}}\n"
    );
    let config = with(&text, &[]).unwrap();
    assert_eq!(
        config.mirrors.upstreams[0]
            .credentials
            .as_ref()
            .unwrap()
            .password
            .reveal(),
        "hunter2"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let found = errors(&text, &[("REGISTRY_PROXY_PASSWORD", "@hunter3")]);
    assert_eq!(
        found,
        ["config.yml:3: proxy.passwordfile: password is set too; only one of the two can be meant"]
    );
    let text =
        format!("{PLAIN}mirrors: [{{name: a.example, username: u, passwordfile: {path}.not}}]\n");
    assert!(
        errors(&text, &[])[0].starts_with("config.yml:3: mirrors[0].passwordfile: cannot read ")
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
