//! The `mirrors` list and Distribution's `proxy` section: which registries are mirrored, and how they are asked.

use std::time::Duration;

use oci::Glob;
use url::Url;

use super::login::{self, Login};
use super::mirror_settings::{self, Freshness, MirrorLimits, Prefetch, Timeouts, Tls};
use super::patterns::{patterns, repository_pattern};
use super::problems::Problems;
use super::proxy;
use super::section::{Field, Section};
use super::url::{parse_http_url, parse_origin, parse_proxy_url};

/// The registries that are mirrored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Every upstream, in the order of the file; names are distinct and at most one is the default.
    pub upstreams: Vec<Mirror>,
    /// Whether `proxy.remoteurl` stands alone: a read-only mirror with plain names, as Distribution's.
    pub proxy_only: bool,
    /// The name of the mirror that `proxy.remoteurl` makes, if it is set.
    pub proxy: Option<String>,
}

/// One upstream registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The host clients know it by; also its path prefix and its `ns=` value.
    pub name: String,
    /// Where it is asked, in this order; a path goes before the repository name. Never empty.
    pub endpoints: Vec<Url>,
    /// Whether it answers names that are neither local nor prefixed (default false).
    pub default: bool,
    /// What it is asked with; none by default.
    pub login: Option<Login>,
    /// How its certificate is checked and which one is shown to it.
    pub tls: Tls,
    /// The proxy in between (`httpproxy`; default: what `HTTPS_PROXY` and the like say).
    pub httpproxy: Option<Url>,
    /// Repositories, as the upstream names them, that may be asked for (`allow`; default all).
    pub allow: Vec<Glob>,
    /// Repositories that may not, also where `allow` names them (`deny`; default none).
    pub deny: Vec<Glob>,
    /// How long an answer about a tag counts as fresh.
    pub freshness: Freshness,
    /// How long it may take.
    pub timeout: Timeouts,
    /// How much may be asked of it at once.
    pub limits: MirrorLimits,
    /// What is fetched before anybody asks.
    pub prefetch: Prefetch,
    /// How long content that nobody asks for is kept (`proxy.ttl`; default: 168 h for the mirror of
    /// `proxy`, and as long as there is room for all others).
    pub ttl: Option<Duration>,
    /// Further origins that may receive the credentials (default none).
    pub realms: Vec<Url>,
    /// Whether a local push may take a name already mirrored from here (default false).
    pub shadow: bool,
}

impl Mirrors {
    /// Returns the upstream that answers names without prefix, if one does.
    #[must_use]
    pub fn default(&self) -> Option<&Mirror> {
        self.upstreams.iter().find(|mirror| mirror.default)
    }

    /// Returns the upstream of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Mirror> {
        self.upstreams.iter().find(|mirror| mirror.name == name)
    }

    /// Returns the mirrors that are there without any configuration.
    pub(super) fn built_in() -> Self {
        const NAMES: &[&str] = &[
            DOCKER_HUB,
            "ghcr.io",
            "quay.io",
            "gcr.io",
            "registry.k8s.io",
            "mcr.microsoft.com",
            "public.ecr.aws",
            "registry.gitlab.com",
        ];
        let mirror = |name: &&str| {
            let endpoint =
                usual_endpoint(name).expect("because every built-in name is a plain host");
            Mirror {
                default: *name == DOCKER_HUB,
                ..Mirror::new((*name).to_owned(), vec![endpoint])
            }
        };
        Self {
            upstreams: NAMES.iter().map(mirror).collect(),
            proxy_only: false,
            proxy: None,
        }
    }
}

impl Mirror {
    /// Returns a mirror with the defaults for everything but name and endpoints.
    #[must_use]
    pub fn new(name: String, endpoints: Vec<Url>) -> Self {
        Self {
            name,
            endpoints,
            default: false,
            login: None,
            tls: Tls::default(),
            httpproxy: None,
            allow: Vec::new(),
            deny: Vec::new(),
            freshness: Freshness::default(),
            timeout: Timeouts::default(),
            limits: MirrorLimits::default(),
            prefetch: Prefetch::default(),
            ttl: None,
            realms: Vec::new(),
            shadow: false,
        }
    }
}

/// The name Docker Hub has, whichever of its hosts is asked.
pub(super) const DOCKER_HUB: &str = "docker.io";

/// Reads `mirrors` and `proxy`; `built_in` says whether the built-in mirrors stand where neither is set.
pub(super) fn read(root: &Section<'_>, built_in: bool, problems: &mut Problems) -> Mirrors {
    if built_in && !root.section("mirrors").is_there() && !root.section("proxy").is_there() {
        return Mirrors::built_in();
    }
    let mut upstreams: Vec<Mirror> = Vec::new();
    for section in root.items("mirrors") {
        let Some(mirror) = mirror(&section, problems) else {
            continue;
        };
        if upstreams
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&mirror.name))
        {
            section.error(
                problems,
                &format!("a second mirror is named {:?}", mirror.name),
            );
        }
        if mirror.default
            && let Some(other) = upstreams.iter().find(|other| other.default)
        {
            section.error(
                problems,
                &format!("a second default; {:?} is one already", other.name),
            );
        }
        upstreams.push(mirror);
    }
    let proxy_only = upstreams.is_empty();
    let Some(proxy) = proxy::read(&root.section("proxy"), problems) else {
        return Mirrors {
            upstreams,
            proxy_only: false,
            proxy: None,
        };
    };
    let section = root.section("proxy");
    if upstreams
        .iter()
        .any(|other| other.name.eq_ignore_ascii_case(&proxy.name))
    {
        section.error(
            problems,
            &format!("remoteurl is a second mirror named {:?}", proxy.name),
        );
    }
    if let Some(other) = upstreams.iter().find(|other| other.default) {
        section.error(
            problems,
            &format!(
                "remoteurl is a second default; the mirror {:?} is one already",
                other.name
            ),
        );
    }
    let name = proxy.name.clone();
    upstreams.push(proxy);
    Mirrors {
        upstreams,
        proxy_only,
        proxy: Some(name),
    }
}

fn mirror(section: &Section<'_>, problems: &mut Problems) -> Option<Mirror> {
    let endpoints = section.section("endpoints").values(problems);
    let set = !endpoints.is_empty();
    let mut endpoints = urls(&endpoints, parse_http_url, problems);
    let Some(name) = section.field("name", problems) else {
        section.error(
            problems,
            "name is missing: it is the host clients know the registry by",
        );
        return None;
    };
    let name = name.parse(problems, mirror_name)?;
    if !set {
        endpoints.extend(usual_endpoint(&name));
    }
    let patterns_of = |key: &str, problems: &mut Problems| {
        let list = section.section(key);
        patterns(&list, |text| pattern_at(&name, text), problems)
    };
    Some(Mirror {
        default: section.switch("default", problems),
        login: login::of_mirror(section, problems),
        tls: mirror_settings::tls(section, problems),
        httpproxy: section.parse("httpproxy", problems, parse_proxy_url),
        allow: patterns_of("allow", problems),
        deny: patterns_of("deny", problems),
        freshness: mirror_settings::freshness(section, problems),
        timeout: mirror_settings::timeouts(section, problems),
        limits: mirror_settings::limits(section, problems),
        prefetch: mirror_settings::prefetch(section, problems),
        realms: realms(section, problems),
        shadow: section.switch("shadow", problems),
        ..Mirror::new(name, endpoints)
    })
}

/// Reads the list `realms` of a section.
pub(super) fn realms(section: &Section<'_>, problems: &mut Problems) -> Vec<Url> {
    urls(
        &section.section("realms").values(problems),
        parse_origin,
        problems,
    )
}

/// Reads a pattern over the repositories of a mirror. Names of Docker Hub have two components or more.
fn pattern_at(mirror: &str, text: &str) -> Result<Glob, String> {
    let glob = repository_pattern(text)?;
    if mirror == DOCKER_HUB && !text.contains('/') && !text.contains("**") {
        let meant = format!("library/{text}");
        return Err(format!(
            "{text:?} can fit no repository of Docker Hub; {meant:?} may be meant"
        ));
    }
    Ok(glob)
}

fn urls(
    fields: &[Field<'_>],
    parse: fn(&str) -> Result<Url, String>,
    problems: &mut Problems,
) -> Vec<Url> {
    fields
        .iter()
        .filter_map(|field| field.parse(problems, parse))
        .collect()
}

/// Returns where a registry is found when no endpoint is set.
fn usual_endpoint(name: &str) -> Option<Url> {
    let host = if name == DOCKER_HUB {
        "registry-1.docker.io"
    } else {
        name
    };
    Url::parse(&format!("https://{host}")).ok()
}

/// Checks that a name can stand as first component of a repository name: a host, with or without a port.
fn mirror_name(text: &str) -> Result<String, String> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if text.len() <= 255 && host.split('.').all(is_label) && port.is_none_or(is_port) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is not a host like docker.io or registry.example.org:5000"
    ))
}

#[cfg(test)]
mod tests {
    use super::mirror_name;

    #[test]
    fn a_mirror_name_is_a_host_with_or_without_port() {
        for good in [
            "docker.io",
            "registry.example.org:5000",
            "localhost",
            "10.0.0.1:5000",
            "Registry.Example",
        ] {
            assert!(mirror_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://docker.io",
            "docker.io/library",
            "a..b",
            "-a.b",
            "a_b.c",
            "a:b",
            "a:70000",
            "[::1]:5000",
            "a b",
        ] {
            assert!(mirror_name(bad).is_err(), "{bad}");
        }
    }
}
