//! Where the server is managed and watched.

use super::load::{PLAIN, errors, with};
use crate::config::{Api, Debug};

fn read(keys: &str, variables: &[(&str, &str)]) -> (Api, Debug) {
    let config = with(&format!("{PLAIN}{keys}"), variables);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    (config.api, config.debug)
}

#[test]
fn the_api_is_on_and_nothing_else_listens() {
    let (api, debug) = read("", &[]);
    let expected = Api {
        enabled: true,
        addr: None,
    };
    assert_eq!(api, expected);
    assert_eq!(debug, Debug::default());
    assert_eq!((debug.addr, debug.metrics), (None, None));
    let (api, _) = read("api: {enabled: , addr: \"\"}\n", &[]);
    assert_eq!(api, expected);
}

#[test]
fn addresses_and_the_path_of_metrics_are_read() {
    let (api, debug) = read(
        "api: {enabled: false, addr: \"127.0.0.1:5005\"}\nhttp: {debug: {addr: localhost:5001, prometheus: {enabled: true}}}\n",
        &[],
    );
    assert!(!api.enabled);
    assert_eq!(api.addr.as_deref(), Some("127.0.0.1:5005"));
    assert_eq!(debug.addr.as_deref(), Some("localhost:5001"));
    assert_eq!(debug.metrics.as_deref(), Some("/metrics"));
    let (_, debug) = read(
        "http: {debug: {addr: \":5001\", prometheus: {enabled: true, path: /prom/all}}}\n",
        &[],
    );
    assert_eq!(debug.metrics.as_deref(), Some("/prom/all"));
    let (_, debug) = read(
        "http: {debug: {addr: \":5001\", prometheus: {path: /prom/all}}}\n",
        &[],
    );
    assert_eq!(debug.metrics, None, "a path alone switches nothing on");
}

#[test]
fn wrong_addresses_and_paths_are_told_with_line_and_key() {
    let text = format!(
        "{PLAIN}api:\n  enabled: perhaps\n  addr: 5005\nhttp:\n  debug:\n    addr: localhost\n    prometheus: {{enabled: 1, path: metrics}}\n"
    );
    assert_eq!(
        errors(&text, &[]),
        [
            "config.yml:4: api.enabled: \"perhaps\" is neither true nor false",
            "config.yml:5: api.addr: \"5005\" is not an address like :5000 or 127.0.0.1:5000: the port is missing",
            "config.yml:8: http.debug.addr: \"localhost\" is not an address like :5000 or 127.0.0.1:5000: the port is missing",
            "config.yml:9: http.debug.prometheus.enabled: \"1\" is neither true nor false",
            "config.yml:9: http.debug.prometheus.path: \"metrics\" is not a plain path like /metrics",
        ]
    );
    for path in ["/a//b", "/../x", "/a?b", "/a b"] {
        let text = format!(
            "{PLAIN}http: {{debug: {{prometheus: {{enabled: true, path: \"{path}\"}}}}}}\n"
        );
        assert_eq!(errors(&text, &[]).len(), 1, "{path}");
    }
}

#[test]
fn variables_override_the_listeners() {
    let variables = [
        ("REGISTRY_API_ENABLED", "true"),
        ("REGISTRY_API_ADDR", "[::1]:5005"),
        ("REGISTRY_HTTP_DEBUG_ADDR", ":5002"),
        ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
        ("REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH", "/m"),
    ];
    let (api, debug) = read(
        "api: {enabled: false}\nhttp: {debug: {addr: \":5001\"}}\n",
        &variables,
    );
    assert!(api.enabled);
    assert_eq!(api.addr.as_deref(), Some("[::1]:5005"));
    assert_eq!(
        (debug.addr.as_deref(), debug.metrics.as_deref()),
        (Some(":5002"), Some("/m"))
    );
}

#[test]
fn no_two_listeners_take_the_same_address() {
    let taken = |http: &str, api: &str, debug: &str| {
        let text = format!(
            "{PLAIN}http:\n  addr: \"{http}\"\n  debug: {{addr: \"{debug}\"}}\napi:\n  addr: \"{api}\"\n"
        );
        with(&text, &[]).map_or_else(|error| error.errors, |_| Vec::new())
    };
    assert_eq!(
        taken("127.0.0.1:5000", "127.0.0.1:5000", ""),
        ["config.yml:7: api.addr: \"127.0.0.1:5000\" is taken by http.addr"]
    );
    assert_eq!(
        taken("localhost:5000", "", "LOCALHOST:05000"),
        ["config.yml:5: http.debug.addr: \"LOCALHOST:05000\" is taken by http.addr"]
    );
    assert_eq!(
        taken(":5000", "127.0.0.1:5001", ":5001"),
        ["config.yml:5: http.debug.addr: \":5001\" is taken by api.addr"]
    );
    assert_eq!(taken("[::]:5000", "[::1]:5000", "").len(), 1);
    for everywhere in [":5000", "0.0.0.0:5000"] {
        assert_eq!(taken(everywhere, "127.0.0.1:5000", "").len(), 1);
        assert_eq!(taken("127.0.0.1:5000", "", everywhere).len(), 1);
    }
    assert_eq!(taken("[::1]:5000", "[0:0::1]:5000", "").len(), 1);
    for (http, api, debug) in [
        (":5000", ":5001", ":5002"),
        ("127.0.0.1:5000", "127.0.0.2:5000", "[::1]:5000"),
        ("127.0.0.1:0", "127.0.0.1:0", ":0"),
        ("0.0.0.0:5000", "[::1]:5000", ""),
    ] {
        assert_eq!(taken(http, api, debug), Vec::<String>::new());
    }
    let off =
        format!("{PLAIN}http: {{addr: \":5000\"}}\napi: {{enabled: false, addr: \":5000\"}}\n");
    assert!(with(&off, &[]).is_ok(), "nothing listens there");
}
