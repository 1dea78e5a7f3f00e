//! `seawall check-config`: says what a configuration means, or everything that is wrong with it.

use std::fmt::Write;

use clap::Args;
use oci::Glob;

use super::configuration::ConfigurationArgumentsWithFile;
use super::{Failure, Output};
use crate::config::{
    Cache, Config, Environment, Freshness, Gc, Loaded, Mirror, Warm, duration_text, load,
};

/// Arguments of `check-config`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArgumentsWithFile,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
}

/// Checks the configuration `serve` would run with; returns what it means.
///
/// # Errors
/// Returns everything that is wrong, with `--strict` also everything that is odd.
pub fn check(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let loaded = load(&arguments.configuration.sources(), environment)?;
    if arguments.strict && !loaded.config.warnings.is_empty() {
        return Err(Failure {
            reasons: loaded.config.warnings,
            remarks: Vec::new(),
        });
    }
    Ok(Output {
        code: 0,
        stdout: explain(&loaded),
        stderr: String::new(),
    })
}

fn explain(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9} {value}");
    };
    row(
        "config",
        &loaded.file.as_ref().map_or_else(
            || "built-in defaults".to_owned(),
            |file| file.display().to_string(),
        ),
    );
    row("address", &config.http.addr);
    if config.http.prefix != "/" {
        row("prefix", &config.http.prefix);
    }
    row("data", &config.storage.rootdirectory.display().to_string());
    if config.storage.statedirectory != config.storage.rootdirectory {
        row(
            "state",
            &config.storage.statedirectory.display().to_string(),
        );
    }
    row(
        "pushes",
        if config.storage.readonly || config.mirrors.proxy_only {
            "refused"
        } else {
            "accepted"
        },
    );
    row(
        "deletes",
        if config.storage.delete_enabled && !config.storage.readonly && !config.mirrors.proxy_only {
            "accepted"
        } else {
            "refused"
        },
    );
    for (index, mirror) in config.mirrors.upstreams.iter().enumerate() {
        row(if index == 0 { "mirrors" } else { "" }, &about(mirror));
    }
    if config.mirrors.upstreams.is_empty() {
        row("mirrors", "none");
    } else {
        row("cache", &bound(&config.cache));
    }
    for (index, warm) in config.warm.iter().enumerate() {
        row(if index == 0 { "warm" } else { "" }, &scheduled(warm));
    }
    row("garbage", &collected(&config.gc));
    row("api", &management(config));
    if let Some(addr) = &config.debug.addr {
        let metrics = config.debug.metrics.as_ref();
        let metrics = metrics.map_or_else(String::new, |path| format!(", metrics at {path}"));
        row("debug", &format!("{addr}{metrics}"));
    }
    for warning in &config.warnings {
        row("warning", warning);
    }
    text.push_str("ok\n");
    text
}

/// Returns what is set about a mirror, in one line.
fn about(mirror: &Mirror) -> String {
    let endpoints: Vec<&str> = mirror
        .endpoints
        .iter()
        .map(|url| url.as_str().trim_end_matches('/'))
        .collect();
    let role = if mirror.default { " (default)" } else { "" };
    let user = mirror.login.as_ref();
    let user = user.map_or_else(String::new, |login| format!(" as {login}"));
    let mut parts = vec![format!(
        "{}{role} from {}{user}",
        mirror.name,
        endpoints.join(", ")
    )];
    if let Some(proxy) = &mirror.httpproxy {
        parts.push(format!("through {}", proxy.as_str().trim_end_matches('/')));
    }
    if mirror.tls.insecure {
        parts.push("believing any certificate".to_owned());
    }
    for (patterns, what) in [(&mirror.allow, "allowed"), (&mirror.deny, "denied")] {
        match patterns.len() {
            0 => {}
            1 => parts.push(format!("1 pattern {what}")),
            number => parts.push(format!("{number} patterns {what}")),
        }
    }
    parts.push(fresh(&mirror.freshness));
    if let Some(ttl) = mirror.ttl {
        parts.push(format!("kept for {}", duration_text(ttl)));
    }
    parts.join("; ")
}

fn fresh(freshness: &Freshness) -> String {
    let mut text = format!("tags fresh for {}", duration_text(freshness.default));
    for (pattern, time) in &freshness.tags {
        // Writing to a string does not fail.
        let _ = write!(text, ", {pattern} {}", duration_text(*time));
    }
    if freshness.background {
        text.push_str(", checked after they are served");
    }
    text
}

fn bound(cache: &Cache) -> String {
    let most = cache.maxsize.map_or_else(
        || "as large as the disk allows".to_owned(),
        |maxsize| {
            let (high, low) = (cache.highwatermark, cache.lowwatermark);
            format!("at most {maxsize}, evicted from {high}% of that down to {low}%")
        },
    );
    let mut text = format!("{most}; {} stays free", cache.minfree);
    if let Some(maxage) = cache.maxage {
        let _ = write!(text, "; unused content kept for {}", duration_text(maxage));
    }
    if !cache.pin.is_empty() {
        let pins: Vec<&str> = cache.pin.iter().map(Glob::as_str).collect();
        let _ = write!(text, "; never {}", pins.join(", "));
    }
    text
}

fn scheduled(warm: &Warm) -> String {
    let images: Vec<String> = warm.images.iter().map(ToString::to_string).collect();
    let platforms: Vec<String> = warm.platforms.iter().map(ToString::to_string).collect();
    let platforms = if platforms.is_empty() {
        "every platform".to_owned()
    } else {
        platforms.join(", ")
    };
    format!(
        "at {} (UTC): {} for {platforms}",
        warm.schedule,
        images.join(", ")
    )
}

fn collected(gc: &Gc) -> String {
    let untagged = if gc.deleteuntagged {
        "untagged manifests too"
    } else {
        "untagged manifests stay"
    };
    let (grace, every) = (duration_text(gc.grace), duration_text(gc.interval));
    if gc.enabled {
        format!("collected {grace} after nothing names it, every {every}; {untagged}")
    } else {
        "collected when asked".to_owned()
    }
}

fn management(config: &Config) -> String {
    let tcp = match (config.api.enabled, &config.api.addr) {
        (false, _) => return "the socket alone".to_owned(),
        (true, Some(addr)) => addr,
        (true, None) => &config.http.addr,
    };
    format!("the socket, and {tcp}")
}

#[cfg(test)]
mod tests {
    use super::{Arguments, check};
    use crate::config::Environment;

    const ODD: &[(&str, &str)] = &[
        ("HOME", "/home/u"),
        ("REGISTRY_HTTP_SECRET", "hunter2"),
        ("REGISTRY_HTTP_PREFIX", "/team/"),
        (
            "REGISTRY_MIRRORS",
            "[{name: quay.io, username: u, password: hunter3, default: true}, {name: ghcr.io, endpoints: [https://a.example, https://b.example/ghcr.io]}]",
        ),
    ];

    #[test]
    fn it_says_what_it_understood_without_secrets() {
        let output = check(&Arguments::default(), &Environment::of(ODD)).expect("odd, but right");
        let expected = "\
config    built-in defaults
address   127.0.0.1:5000
prefix    /team/
data      /home/u/.local/share/seawall
pushes    accepted
deletes   accepted
mirrors   quay.io (default) from https://quay.io as u; tags fresh for 1m
          ghcr.io from https://a.example, https://b.example/ghcr.io; tags fresh for 1m
cache     as large as the disk allows; 10% of the disk stays free
garbage   collected 1d after nothing names it, every 1h; untagged manifests stay
api       the socket, and 127.0.0.1:5000
warning   REGISTRY_HTTP_SECRET: http.secret has no effect
ok
";
        assert_eq!(output.stdout, expected);
    }

    #[test]
    fn it_says_what_is_set_about_upstreams_cache_and_schedules() {
        let variables = [
            ("HOME", "/home/u"),
            (
                "REGISTRY_MIRRORS",
                "[{name: docker.io, helper: ecr-login, httpproxy: 'http://proxy:3128', tls: {insecure: true}, allow: ['library/**'], \
                 deny: ['library/a', 'library/b'], freshness: {default: 5m, tags: {latest: 30s, 'v1.*.*': 30d}, background: true}}]",
            ),
            ("REGISTRY_PROXY_REMOTEURL", "https://up.example"),
            ("REGISTRY_CACHE_MAXSIZE", "80%"),
            ("REGISTRY_CACHE_MINFREE", "5GB"),
            ("REGISTRY_CACHE_MAXAGE", "30d"),
            ("REGISTRY_CACHE_PIN", "['docker.io/**']"),
            ("REGISTRY_WARM_0_SCHEDULE", "0 3 * * *"),
            ("REGISTRY_WARM_0_IMAGES", "[docker.io/library/nginx:1.*]"),
            ("REGISTRY_WARM_0_PLATFORMS", "[linux/amd64]"),
            ("REGISTRY_WARM_1_SCHEDULE", "*/5 * * * *"),
            ("REGISTRY_WARM_1_IMAGES", "[docker.io/library/alpine]"),
            ("REGISTRY_GC_ENABLED", "false"),
            ("REGISTRY_API_ENABLED", "false"),
            ("REGISTRY_HTTP_DEBUG_ADDR", ":5001"),
            ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
        ];
        let output = check(&Arguments::default(), &Environment::of(&variables));
        let output = output.unwrap_or_else(|failure| panic!("{:?}", failure.reasons));
        let expected = "\
mirrors   docker.io from https://registry-1.docker.io as whoever docker-credential-ecr-login names; through http://proxy:3128; \
believing any certificate; 1 pattern allowed; 2 patterns denied; tags fresh for 5m, latest 30s, v1.*.* 30d, checked after they are served
          up.example (default) from https://up.example; tags fresh for 1m; kept for 7d
cache     at most 80% of the disk, evicted from 95% of that down to 85%; 5GB stays free; unused content kept for 30d; never docker.io/**
warm      at 0 3 * * * (UTC): docker.io/library/nginx:1.* for linux/amd64
          at */5 * * * * (UTC): docker.io/library/alpine:latest for every platform
garbage   collected when asked
api       the socket alone
debug     :5001, metrics at /metrics
ok
";
        let start = output.stdout.find("mirrors ").expect("mirrors are told");
        assert_eq!(&output.stdout[start..], expected);
    }

    #[test]
    fn a_mirror_of_one_registry_alone_takes_neither_pushes_nor_deletes() {
        let variables = [
            ("HOME", "/home/u"),
            ("REGISTRY_PROXY_REMOTEURL", "https://up.example"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ];
        let output = check(&Arguments::default(), &Environment::of(&variables));
        let output = output.unwrap_or_else(|failure| panic!("{:?}", failure.reasons));
        for line in ["pushes    refused\n", "deletes   refused\n"] {
            assert!(output.stdout.contains(line), "{}", output.stdout);
        }
    }

    #[test]
    fn strict_fails_on_warnings() {
        let arguments = Arguments {
            strict: true,
            ..Arguments::default()
        };
        let failure = check(&arguments, &Environment::of(ODD)).expect_err("there is a warning");
        assert_eq!(
            failure.reasons,
            ["REGISTRY_HTTP_SECRET: http.secret has no effect"]
        );
        assert!(check(&arguments, &Environment::of(&[("HOME", "/home/u")])).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told_with_the_warnings_beside_it() {
        let variables = [
            ("HOME", "/h"),
            ("REGISTRY_LOG_LEVEL", "x"),
            ("REGISTRY_GC_LEASE", "y"),
            ("REGISTRY_HTTP_SECRET", "z"),
        ];
        let failure = check(&Arguments::default(), &Environment::of(&variables))
            .expect_err("two values are wrong");
        assert_eq!(failure.reasons.len(), 2);
        assert_eq!(
            failure.remarks,
            ["warning: REGISTRY_HTTP_SECRET: http.secret has no effect"]
        );
    }
}
