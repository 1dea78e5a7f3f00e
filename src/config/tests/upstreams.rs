//! Which registries are mirrored.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use super::load::{PLAIN, errors, names, with, without_file};
use std::time::Duration;

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
        assert!(config.mirrors.proxy_only && config.mirrors.upstreams[0].login.is_some());
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
fn proxy_keeps_what_nobody_asks_for_as_long_as_distribution_does() {
    for (ttl, kept) in [
        ("", Some(Duration::from_hours(168))),
        (", ttl: 1h", Some(Duration::from_hours(1))),
        (", ttl: 0", None),
        (", ttl: 0s", None),
    ] {
        let text = format!(
            "{PLAIN}proxy: {{remoteurl: https://a.example{ttl}}}\nmirrors: [{{name: b.example}}]\n"
        );
        let config = with(&text, &[]).unwrap();
        assert_eq!(config.mirrors.default().unwrap().ttl, kept, "{ttl:?}");
        assert_eq!(config.mirrors.by_name("b.example").unwrap().ttl, None);
    }
    let variables = [("REGISTRY_PROXY_TTL", "2d")];
    let text = format!("{PLAIN}proxy: {{remoteurl: https://a.example, ttl: 1h}}\n");
    let config = with(&text, &variables).unwrap();
    assert_eq!(
        config.mirrors.upstreams[0].ttl,
        Some(Duration::from_hours(48))
    );
    let text = format!("{PLAIN}proxy:\n  remoteurl: https://a.example\n  ttl: -1s\n");
    assert_eq!(
        errors(&text, &[]),
        ["config.yml:5: proxy.ttl: \"-1s\" is negative"]
    );
}

#[test]
fn the_time_distribution_gives_a_write_has_no_effect_and_is_told_so() {
    let text = format!("{PLAIN}proxy: {{remoteurl: https://a.example, cachewritetimeout: 5m}}\n");
    let config = with(&text, &[]).unwrap();
    assert_eq!(
        config.warnings,
        ["config.yml:3: proxy.cachewritetimeout has no effect"]
    );
}
