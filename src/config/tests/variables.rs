//! What variables change, and which of them are refused.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::Path;
use std::time::Duration;

use super::load::{PLAIN, errors, names, with, without_file};
use crate::config::catalogue::{Standing, table};
use crate::config::{Environment, Level, Login, Sources, Space, load};

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
            .login
            .as_ref()
            .unwrap()
            .to_string(),
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

/// A value that fits each supported key, and the variable that sets it.
const EVERY_SUPPORTED_VARIABLE: &[(&str, &str)] = &[
    ("REGISTRY_VERSION", "0.1"),
    ("REGISTRY_LOGLEVEL", "debug"),
    ("REGISTRY_LOG_LEVEL", "warn"),
    ("REGISTRY_LOG_FORMATTER", "json"),
    ("REGISTRY_LOG_FIELDS_SERVICE", "x"),
    ("REGISTRY_LOG_ACCESSLOG_DISABLED", "true"),
    ("REGISTRY_LOG_REPORTCALLER", "true"),
    ("REGISTRY_HTTP_ADDR", "127.0.0.1:5003"),
    ("REGISTRY_HTTP_HOST", "https://registry.example"),
    ("REGISTRY_HTTP_PREFIX", "/team/"),
    ("REGISTRY_HTTP_RELATIVEURLS", "true"),
    ("REGISTRY_HTTP_DRAINTIMEOUT", "3s"),
    ("REGISTRY_HTTP_HEADERS_X-TEAM", "[a]"),
    ("REGISTRY_HTTP_LIMITS_MANIFESTSIZE", "8MiB"),
    ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv/r"),
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
    ("REGISTRY_CATALOG_MAXENTRIES", "7"),
    ("REGISTRY_VALIDATION_DISABLED", "true"),
    ("REGISTRY_BACKUP_SCHEDULE", "30 2 * * *"),
    ("REGISTRY_BACKUP_KEEP", "14"),
    ("REGISTRY_BACKUP_DESTINATION", "/mnt/backup"),
    ("REGISTRY_GC_ENABLED", "false"),
    ("REGISTRY_GC_GRACE", "72h"),
    ("REGISTRY_GC_LEASE", "2h"),
    ("REGISTRY_GC_DELETEUNTAGGED", "true"),
    ("REGISTRY_GC_INTERVAL", "15m"),
    ("REGISTRY_GC_RATE", "200"),
    ("REGISTRY_GC_LOWSPACEGRACE", "1m"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "72h"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL", "6h"),
    ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN", "true"),
    ("REGISTRY_UPLOADS_MAXPERSUBJECT", "9"),
    ("REGISTRY_UPLOADS_MAXAGE", "24h"),
    ("REGISTRY_SCRUB_SCHEDULE", "0 4 * * 6"),
    ("REGISTRY_SCRUB_RATE", "20MB"),
    ("REGISTRY_PROXY_REMOTEURL", "https://up.example"),
    ("REGISTRY_PROXY_USERNAME", "u"),
    ("REGISTRY_PROXY_PASSWORD", "p"),
    ("REGISTRY_PROXY_REALMS_0", "https://auth.example"),
    ("REGISTRY_PROXY_TTL", "2d"),
    ("REGISTRY_MIRRORS_0_NAME", "a.example"),
    ("REGISTRY_MIRRORS_0_ENDPOINTS_0", "https://b.example"),
    ("REGISTRY_MIRRORS_0_DEFAULT", "false"),
    ("REGISTRY_MIRRORS_0_USERNAME", "v"),
    ("REGISTRY_MIRRORS_0_PASSWORD", "q"),
    ("REGISTRY_MIRRORS_0_FRESHNESS_DEFAULT", "5m"),
    ("REGISTRY_MIRRORS_0_TIMEOUT_CONNECT", "1s"),
    ("REGISTRY_MIRRORS_0_TIMEOUT_READ", "2s"),
    ("REGISTRY_MIRRORS_0_REALMS_0", "https://realm.example"),
    ("REGISTRY_MIRRORS_0_SHADOW", "true"),
    ("REGISTRY_MIRRORS_0_TLS_INSECURE", "true"),
    ("REGISTRY_MIRRORS_0_HTTPPROXY", "http://proxy:3128"),
    ("REGISTRY_MIRRORS_0_ALLOW_0", "**/app"),
    ("REGISTRY_MIRRORS_0_DENY", "**/secret"),
    ("REGISTRY_MIRRORS_0_FRESHNESS_TAGS_LATEST", "3s"),
    ("REGISTRY_MIRRORS_0_FRESHNESS_BACKGROUND", "true"),
    ("REGISTRY_MIRRORS_0_FRESHNESS_NEGATIVE", "4s"),
    ("REGISTRY_MIRRORS_0_TIMEOUT_TOTAL", "5s"),
    ("REGISTRY_MIRRORS_0_LIMITS_CONNECTIONS", "6"),
    ("REGISTRY_MIRRORS_0_LIMITS_BANDWIDTH", "7MB"),
    ("REGISTRY_MIRRORS_0_PREFETCH_LAYERS", "true"),
    ("REGISTRY_MIRRORS_0_PREFETCH_PLATFORMS_0", "linux/amd64"),
    ("REGISTRY_MIRRORS_1_NAME", "c.example"),
    ("REGISTRY_MIRRORS_1_HELPER", "ecr-login"),
    ("REGISTRY_MIRRORS_1_LIFETIME", "6h"),
    ("REGISTRY_CACHE_MAXSIZE", "80%"),
    ("REGISTRY_CACHE_MINFREE", "5GB"),
    ("REGISTRY_CACHE_HIGHWATERMARK", "90%"),
    ("REGISTRY_CACHE_LOWWATERMARK", "80%"),
    ("REGISTRY_CACHE_MAXAGE", "30d"),
    ("REGISTRY_CACHE_PIN", "**:keep"),
    ("REGISTRY_WARM_0_SCHEDULE", "*/5 * * * *"),
    ("REGISTRY_WARM_0_IMAGES_0", "a.example/app:v*"),
    ("REGISTRY_WARM_0_PLATFORMS_0", "linux/amd64"),
    ("REGISTRY_API_ENABLED", "false"),
    ("REGISTRY_API_ADDR", "127.0.0.1:5005"),
    ("REGISTRY_HTTP_DEBUG_ADDR", ":5001"),
    ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
    ("REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH", "/m"),
    ("REGISTRY_VALIDATION_ENABLED", "false"),
];

/// Supported keys that exclude one set above or name a file; `tests::logins` and `tests::mirror_settings` set them.
const SET_ELSEWHERE: &[&str] = &[
    "proxy.passwordfile",
    "proxy.exec.command",
    "proxy.exec.lifetime",
    "mirrors[].passwordfile",
    "mirrors[].dockerconfig",
    "mirrors[].tokenfile",
    "mirrors[].tls.ca",
    "mirrors[].tls.certificate",
    "mirrors[].tls.key",
];

#[test]
fn the_list_of_variables_names_every_supported_key() {
    let (_, supported) = table()
        .iter()
        .find(|(standing, _)| *standing == Standing::Supported)
        .unwrap();
    let set = |key: &str| {
        let name = format!("REGISTRY_{}", key.replace('.', "_").to_ascii_uppercase());
        EVERY_SUPPORTED_VARIABLE.iter().any(|(variable, _)| {
            let variable = variable.replace("_0_", "[]_").replace("_1_", "[]_");
            let variable = match variable.strip_suffix("_0") {
                Some(list) => format!("{list}[]"),
                None => variable,
            };
            match name.strip_suffix('*') {
                Some(section) => variable.starts_with(section),
                None => name == variable || name.strip_suffix("[]") == Some(&variable),
            }
        })
    };
    let missing: Vec<&&str> = supported
        .iter()
        .filter(|key| !set(key) && !SET_ELSEWHERE.contains(key))
        .filter(|key| **key != "http.headers.*[]")
        .collect();
    assert!(missing.is_empty(), "no variable sets {missing:?}");
}

#[test]
fn every_supported_key_can_be_set_by_its_variable() {
    let variables: Vec<(&str, &str)> = [("HOME", "/home/u")]
        .into_iter()
        .chain(EVERY_SUPPORTED_VARIABLE.iter().copied())
        .collect();
    let loaded = load(&Sources::default(), &Environment::of(&variables)).unwrap();
    let config = loaded.config;
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.http.addr, "127.0.0.1:5003");
    assert_eq!(config.http.prefix, "/team/");
    assert_eq!(config.http.draintimeout, Duration::from_secs(3));
    assert_eq!(config.http.limits.manifestsize, 8 << 20);
    assert_eq!(config.storage.rootdirectory, Path::new("/srv/r"));
    assert!(config.storage.readonly && config.storage.delete_enabled);
    assert_eq!(config.catalog.maxentries, 7);
    assert!(config.validation.disabled && config.log.accesslog_disabled);
    assert_eq!(config.gc.lease, Duration::from_secs(7200));
    assert_eq!(config.uploads.maxpersubject, Some(9));
    let purging = config.uploads.purging.unwrap();
    assert_eq!(purging.age, Duration::from_secs(24 * 3600));
    assert_eq!(purging.interval, Duration::from_secs(6 * 3600));
    assert!(purging.dryrun);
    let mirror = config.mirrors.by_name("a.example").unwrap();
    assert_eq!(mirror.freshness.default, Duration::from_secs(300));
    assert_eq!(mirror.timeout.connect, Duration::from_secs(1));
    assert_eq!(mirror.timeout.read, Duration::from_secs(2));
    assert_eq!(mirror.endpoints[0].as_str(), "https://b.example/");
    assert!(mirror.shadow && mirror.login.is_some());
    let default = config.mirrors.default().unwrap();
    assert_eq!(default.name, "up.example");
    assert_eq!(default.ttl, Some(Duration::from_hours(48)));
    assert_eq!(mirror.deny[0].as_str(), "**/secret");
    assert_eq!(mirror.limits.connections, 6);
    let second = config.mirrors.by_name("c.example").unwrap();
    assert!(matches!(second.login, Some(Login::Helper { .. })));
    assert_eq!(config.cache.maxsize, Some(Space::Percent(80)));
    assert_eq!(config.warm[0].images[0].to_string(), "a.example/app:v*");
    assert_eq!(config.api.addr.as_deref(), Some("127.0.0.1:5005"));
    assert_eq!(config.debug.metrics.as_deref(), Some("/m"));
}
