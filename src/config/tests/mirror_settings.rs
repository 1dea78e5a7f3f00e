//! How one upstream is asked: certificates, proxy, patterns, freshness, times, bounds, and what is fetched ahead.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::time::Duration;

use super::load::{PLAIN, errors, with};
use crate::config::{Freshness, Mirror, MirrorLimits, Prefetch, Timeouts, Tls};

const CERTIFICATE: &str = "words\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
const LOCKED_KEY: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2\n-----END ENCRYPTED PRIVATE KEY-----\n";

fn mirror(keys: &str, variables: &[(&str, &str)]) -> Mirror {
    let text = format!("{PLAIN}mirrors:\n  - name: a.example\n{keys}");
    let mut config = with(&text, variables).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.mirrors.upstreams.remove(0)
}

/// What is wrong with a mirror of these keys, which begin at line 5.
fn wrong(keys: &str) -> Vec<String> {
    errors(
        &format!("{PLAIN}mirrors:\n  - name: a.example\n{keys}"),
        &[],
    )
}

fn texts(patterns: &[oci::Glob]) -> Vec<&str> {
    patterns.iter().map(oci::Glob::as_str).collect()
}

#[test]
fn nothing_set_means_the_defaults() {
    let mirror = mirror("", &[]);
    assert_eq!(mirror.login, None);
    assert_eq!(mirror.tls, Tls::default());
    assert_eq!(mirror.httpproxy, None);
    assert!(mirror.allow.is_empty() && mirror.deny.is_empty());
    let freshness = Freshness {
        default: Duration::from_secs(60),
        tags: Vec::new(),
        background: false,
        negative: Duration::from_secs(30),
    };
    assert_eq!(mirror.freshness, freshness);
    let timeout = Timeouts {
        connect: Duration::from_secs(5),
        read: Duration::from_secs(30),
        total: None,
    };
    assert_eq!(mirror.timeout, timeout);
    let limits = MirrorLimits {
        connections: 32,
        bandwidth: 0,
    };
    assert_eq!(mirror.limits, limits);
    let prefetch = Prefetch {
        layers: false,
        platforms: Vec::new(),
    };
    assert_eq!(mirror.prefetch, prefetch);
    assert_eq!(mirror.ttl, None);
}

#[test]
fn every_setting_of_a_mirror_is_read() {
    let mirror = mirror(
        "    httpproxy: socks5://127.0.0.1:1080
    allow: [library/**, team/*]
    deny: library/secret*
    freshness: {default: 5m, tags: {latest: 30s, \"v*\": 30d, 1.0: 0s}, background: true, negative: 0s}
    timeout: {connect: 1s, read: 2s, total: 1h}
    limits: {connections: 4, bandwidth: 10MB}
    prefetch: {layers: true, platforms: [linux/amd64, linux/arm/v7]}
",
        &[],
    );
    assert_eq!(
        mirror.httpproxy.as_ref().unwrap().as_str(),
        "socks5://127.0.0.1:1080"
    );
    assert_eq!(texts(&mirror.allow), ["library/**", "team/*"]);
    assert_eq!(texts(&mirror.deny), ["library/secret*"]);
    assert_eq!(mirror.freshness.default, Duration::from_secs(300));
    assert!(mirror.freshness.background);
    assert_eq!(mirror.freshness.negative, Duration::ZERO);
    let tags: Vec<(&str, Duration)> = mirror
        .freshness
        .tags
        .iter()
        .map(|(pattern, time)| (pattern.as_str(), *time))
        .collect();
    assert_eq!(
        tags,
        [
            ("latest", Duration::from_secs(30)),
            ("1.0", Duration::ZERO),
            ("v*", Duration::from_hours(30 * 24)),
        ]
    );
    assert_eq!(mirror.timeout.connect, Duration::from_secs(1));
    assert_eq!(mirror.timeout.read, Duration::from_secs(2));
    assert_eq!(mirror.timeout.total, Some(Duration::from_hours(1)));
    assert_eq!(mirror.limits.connections, 4);
    assert_eq!(mirror.limits.bandwidth, 10_000_000);
    assert!(mirror.prefetch.layers);
    let platforms: Vec<String> = mirror
        .prefetch
        .platforms
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
}

#[test]
fn zero_means_no_limit_on_total_time_and_bandwidth() {
    let mirror = mirror(
        "    timeout: {total: 0s}\n    limits: {bandwidth: 0}\n",
        &[],
    );
    assert_eq!((mirror.timeout.total, mirror.limits.bandwidth), (None, 0));
}

#[test]
fn wrong_settings_are_told_with_line_and_key() {
    let found = wrong(
        "    httpproxy: http://u:hunter2@proxy
    allow: [a, library/nginx:latest]
    deny: [Team/App]
    freshness:
      default: soon
      tags: {\"a/b\": 1m, latest: x}
      background: perhaps
      negative: -1s
    timeout: {connect: 0s, read: 0, total: never}
    limits: {connections: 0, bandwidth: fast}
    prefetch: {layers: 2, platforms: [linux]}
    tls: {insecure: maybe}
",
    );
    assert_eq!(
        found,
        [
            "config.yml:5: mirrors[0].httpproxy: holds a user name or password, which would stand in the open; give that proxy in HTTPS_PROXY",
            "config.yml:6: mirrors[0].allow[1]: \"library/nginx:latest\" names a tag or digest; whole repositories are expected, like library/**",
            "config.yml:7: mirrors[0].deny[0]: \"Team/App\" can fit no repository",
            "config.yml:9: mirrors[0].freshness.default: \"soon\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:10: mirrors[0].freshness.tags.a/b: \"a/b\" can fit no tag",
            "config.yml:10: mirrors[0].freshness.tags.latest: \"x\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:11: mirrors[0].freshness.background: \"perhaps\" is neither true nor false",
            "config.yml:12: mirrors[0].freshness.negative: \"-1s\" is negative",
            "config.yml:13: mirrors[0].timeout.connect: \"0s\" leaves no time at all",
            "config.yml:13: mirrors[0].timeout.read: \"0\" leaves no time at all",
            "config.yml:13: mirrors[0].timeout.total: \"never\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:14: mirrors[0].limits.connections: 0 would let no request through",
            "config.yml:14: mirrors[0].limits.bandwidth: \"fast\" is not a size like 4MiB, 10GB or a number of bytes",
            "config.yml:15: mirrors[0].prefetch.layers: \"2\" is neither true nor false",
            "config.yml:15: mirrors[0].prefetch.platforms[0]: \"linux\" is not a platform like linux/amd64 or linux/arm/v7",
            "config.yml:16: mirrors[0].tls.insecure: \"maybe\" is neither true nor false",
        ]
    );
}

#[test]
fn a_single_name_at_docker_hub_would_fit_nothing_and_is_refused() {
    for pattern in ["nginx", "*", "ngin?"] {
        let text = format!("{PLAIN}mirrors: [{{name: docker.io, deny: [\"{pattern}\"]}}]\n");
        let expected = format!(
            "config.yml:3: mirrors[0].deny[0]: \"{pattern}\" can fit no repository of Docker Hub; \"library/{pattern}\" may be meant"
        );
        assert_eq!(errors(&text, &[]), [expected]);
    }
    for pattern in ["library/nginx", "**", "**nginx"] {
        let text = format!("{PLAIN}mirrors: [{{name: docker.io, deny: [\"{pattern}\"]}}]\n");
        assert!(with(&text, &[]).is_ok(), "{pattern}");
    }
}

#[test]
fn certificates_and_keys_are_looked_at_when_the_server_starts() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("c.pem", CERTIFICATE), file("k.pem", KEY));
    let locked = file("locked.pem", LOCKED_KEY);
    let missing = directory.path().join("missing").display().to_string();
    let keys = format!(
        "    tls: {{ca: {certificate}, certificate: {certificate}, key: {key}, insecure: true}}\n"
    );
    let tls = mirror(&keys, &[]).tls;
    assert_eq!(tls.ca, Some(certificate.clone().into()));
    assert_eq!(
        tls.identity,
        Some((certificate.clone().into(), key.clone().into()))
    );
    assert!(tls.insecure);
    for (set, told) in [
        (
            format!("ca: {key}"),
            format!("ca: {key} holds no certificate in PEM form"),
        ),
        (
            format!("ca: {missing}"),
            format!("ca: cannot read {missing}: No such file or directory (os error 2)"),
        ),
        (
            format!("certificate: {certificate}"),
            "certificate: is set without key; both are needed".to_owned(),
        ),
        (
            format!("key: {key}"),
            "key: is set without certificate; both are needed".to_owned(),
        ),
        (
            format!("certificate: {certificate}, key: {certificate}"),
            format!("key: {certificate} holds no private key in PEM form"),
        ),
        (
            format!("certificate: {key}, key: {key}"),
            format!("certificate: {key} holds no certificate in PEM form"),
        ),
        (
            format!("certificate: {certificate}, key: {locked}"),
            format!("key: {locked} holds a key with a passphrase, which nobody could enter"),
        ),
    ] {
        let expected = format!("config.yml:5: mirrors[0].tls.{told}");
        assert_eq!(wrong(&format!("    tls: {{{set}}}\n")), [expected]);
    }
    let variables = [
        ("REGISTRY_MIRRORS_0_TLS_CA", certificate.as_str()),
        ("REGISTRY_MIRRORS_0_TLS_CERTIFICATE", certificate.as_str()),
        ("REGISTRY_MIRRORS_0_TLS_KEY", key.as_str()),
        ("REGISTRY_MIRRORS_0_TLS_INSECURE", "true"),
    ];
    assert_eq!(mirror("", &variables).tls, tls);
}

#[test]
fn variables_override_the_settings_of_a_mirror() {
    let variables = [
        ("REGISTRY_MIRRORS_0_HTTPPROXY", "http://proxy:3128"),
        ("REGISTRY_MIRRORS_0_ALLOW", "[library/**, other/**]"),
        ("REGISTRY_MIRRORS_0_DENY_0", "**/secret"),
        ("REGISTRY_MIRRORS_0_DENY_1", "**/hidden"),
        ("REGISTRY_MIRRORS_0_FRESHNESS_TAGS_LATEST", "1s"),
        ("REGISTRY_MIRRORS_0_FRESHNESS_TAGS_v*", "2s"),
        ("REGISTRY_MIRRORS_0_FRESHNESS_BACKGROUND", "true"),
        ("REGISTRY_MIRRORS_0_FRESHNESS_NEGATIVE", "3s"),
        ("REGISTRY_MIRRORS_0_TIMEOUT_TOTAL", "4s"),
        ("REGISTRY_MIRRORS_0_LIMITS_CONNECTIONS", "5"),
        ("REGISTRY_MIRRORS_0_LIMITS_BANDWIDTH", "6kB"),
        ("REGISTRY_MIRRORS_0_PREFETCH_LAYERS", "true"),
        ("REGISTRY_MIRRORS_0_PREFETCH_PLATFORMS", "[linux/arm64]"),
    ];
    let mirror = mirror(
        "    allow: [x]\n    freshness: {tags: {latest: 1h}}\n    limits: {connections: 9}\n",
        &variables,
    );
    assert_eq!(mirror.httpproxy.unwrap().as_str(), "http://proxy:3128/");
    assert_eq!(texts(&mirror.allow), ["library/**", "other/**"]);
    assert_eq!(texts(&mirror.deny), ["**/secret", "**/hidden"]);
    let tags: Vec<(&str, u64)> = mirror
        .freshness
        .tags
        .iter()
        .map(|(pattern, time)| (pattern.as_str(), time.as_secs()))
        .collect();
    assert_eq!(tags, [("latest", 1), ("v*", 2)]);
    assert!(mirror.freshness.background && mirror.prefetch.layers);
    assert_eq!(mirror.freshness.negative, Duration::from_secs(3));
    assert_eq!(mirror.timeout.total, Some(Duration::from_secs(4)));
    assert_eq!(
        (mirror.limits.connections, mirror.limits.bandwidth),
        (5, 6_000)
    );
    assert_eq!(mirror.prefetch.platforms[0].to_string(), "linux/arm64");
}
