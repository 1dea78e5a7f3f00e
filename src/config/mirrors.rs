//! The `mirrors` list and Distribution's `proxy` section: which registries are mirrored, and how they are asked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use oci::Glob;
use url::Url;

use super::duration::parse_duration;
use super::platform::Platform;
use super::problems::Problems;
use super::secret::Secret;
use super::section::{Field, Section};
use super::url::{parse_http_url, parse_origin};

/// The registries that are mirrored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Every upstream, in the order of the file; names are distinct and at most one is the default.
    pub upstreams: Vec<Mirror>,
    /// Whether `proxy.remoteurl` stands alone: a read-only mirror with plain names, as Distribution's.
    pub proxy_only: bool,
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
    /// How long content that nobody asks for is kept (`proxy.ttl`; default: as long as there is room).
    pub ttl: Option<Duration>,
    /// Further origins that may receive the credentials (default none).
    pub realms: Vec<Url>,
    /// Whether a local push may take a name already mirrored from here (default false).
    pub shadow: bool,
}

/// A user name with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; never empty.
    pub username: String,
    /// The password; may be empty.
    pub password: Secret,
}

/// Where a mirror's credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// `username` with `password`.
    Password(Credentials),
    /// `username` with `passwordfile`, read again when the file changes.
    PasswordFile {
        /// The user name; never empty.
        username: String,
        /// The file; a line end after the password is not part of it.
        file: PathBuf,
    },
    /// `dockerconfig`: a docker `config.json`, with its `auths`, `credHelpers` and `credsStore`; read again when it changes.
    DockerConfig {
        /// The file.
        file: PathBuf,
    },
    /// `helper`: a program `docker-credential-<name>` that prints the credentials.
    Helper {
        /// The name, without the prefix.
        name: String,
        /// How long its answer is used (`lifetime`; default: until the upstream refuses it; 0: ask it for every token).
        lifetime: Option<Duration>,
    },
    /// `tokenfile`: a bearer token, read again when the file changes.
    TokenFile {
        /// The file; a line end after the token is not part of it.
        file: PathBuf,
    },
}

impl fmt::Display for Login {
    /// Says who asks, without a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(credentials) => f.write_str(&credentials.username),
            Self::PasswordFile { username, .. } => f.write_str(username),
            Self::DockerConfig { file } => write!(f, "whoever {} names", file.display()),
            Self::Helper { name, .. } => write!(f, "whoever docker-credential-{name} names"),
            Self::TokenFile { file } => write!(f, "the bearer of {}", file.display()),
        }
    }
}

/// TLS towards an upstream (`tls`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file of PEM certificates that are trusted beside the system's (`tls.ca`).
    pub ca: Option<PathBuf>,
    /// The client certificate and its key, PEM files (`tls.certificate`, `tls.key`).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate is believed (`tls.insecure`; default false).
    pub insecure: bool,
}

/// How long answers about tags count as fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// For every tag (`freshness.default`; default one minute).
    pub default: Duration,
    /// By tag pattern, the longest pattern first (`freshness.tags`; default none).
    pub tags: Vec<(Glob, Duration)>,
    /// Whether a tag that is due is served at once and checked afterwards (`freshness.background`; default false).
    pub background: bool,
    /// How long a 404 of the upstream is believed (`freshness.negative`; default 30 s).
    pub negative: Duration,
}

/// How much is asked of an upstream at once (`limits`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Requests, bodies included (`limits.connections`; default 32).
    pub connections: usize,
    /// Bytes per second of all bodies together (`limits.bandwidth`; default 0: no limit).
    pub bandwidth: u64,
}

/// What is fetched before anybody asks (`prefetch`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefetch {
    /// Whether config and layers follow a manifest GET at once (`prefetch.layers`; default false).
    pub layers: bool,
    /// Platforms whose manifests and layers follow an index (`prefetch.platforms`, as `linux/amd64`; default none).
    pub platforms: Vec<Platform>,
}

/// How long an upstream may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection (`timeout.connect`; default 5 s).
    pub connect: Duration,
    /// Between two reads (`timeout.read`; default 30 s).
    pub read: Duration,
    /// For a whole answer, body included (`timeout.total`; default 0: no limit).
    pub total: Option<Duration>,
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
            freshness: Freshness {
                default: Duration::from_secs(60),
                tags: Vec::new(),
                background: false,
                negative: Duration::from_secs(30),
            },
            timeout: Timeouts {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(30),
                total: None,
            },
            limits: MirrorLimits {
                connections: 32,
                bandwidth: 0,
            },
            prefetch: Prefetch::default(),
            ttl: None,
            realms: Vec::new(),
            shadow: false,
        }
    }
}

/// The name Docker Hub has, whichever of its hosts is asked.
const DOCKER_HUB: &str = "docker.io";

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
    let Some(proxy) = proxy(&root.section("proxy"), problems) else {
        return Mirrors {
            upstreams,
            proxy_only: false,
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
    upstreams.push(proxy);
    Mirrors {
        upstreams,
        proxy_only,
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
    let defaults = Mirror::new(name, endpoints);
    let timeouts = section.section("timeout");
    Some(Mirror {
        default: section.switch("default", problems),
        login: credentials(section, problems).map(Login::Password),
        freshness: Freshness {
            default: section
                .section("freshness")
                .parse("default", problems, parse_duration)
                .unwrap_or(defaults.freshness.default),
            ..defaults.freshness
        },
        timeout: Timeouts {
            connect: timeouts
                .parse("connect", problems, some_time)
                .unwrap_or(defaults.timeout.connect),
            read: timeouts
                .parse("read", problems, some_time)
                .unwrap_or(defaults.timeout.read),
            ..defaults.timeout
        },
        realms: urls(
            &section.section("realms").values(problems),
            parse_origin,
            problems,
        ),
        shadow: section.switch("shadow", problems),
        ..defaults
    })
}

fn proxy(section: &Section<'_>, problems: &mut Problems) -> Option<Mirror> {
    let credentials = credentials(section, problems);
    let realms = urls(
        &section.section("realms").values(problems),
        parse_origin,
        problems,
    );
    let url = section.parse("remoteurl", problems, parse_http_url)?;
    let host = url.host_str().unwrap_or_default();
    let name = match url.port() {
        None if host == DOCKER_HUB || host.ends_with(".docker.io") => DOCKER_HUB.to_owned(),
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    Some(Mirror {
        default: true,
        login: credentials.map(Login::Password),
        realms,
        ..Mirror::new(name, vec![url])
    })
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

fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("{text:?} leaves no time at all")),
        time => Ok(time),
    }
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

fn credentials(section: &Section<'_>, problems: &mut Problems) -> Option<Credentials> {
    let username = section.field("username", problems);
    let password = secret(section, "password", problems);
    match (username, password) {
        (Some(username), password) => Some(Credentials {
            username: username.text.to_owned(),
            password: password.unwrap_or_default(),
        }),
        (None, Some(_)) => {
            section.error(problems, "password is set without username");
            None
        }
        (None, None) => None,
    }
}

/// Reads a secret from its key or from the file its twin names; a line end after it is not part of it.
fn secret(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<Secret> {
    let value = section.field(key, problems);
    let file = section.field(&format!("{key}file"), problems);
    match (value, file) {
        (Some(_), Some(file)) => {
            file.error(
                problems,
                &format!("{key} is set too; only one of the two can be meant"),
            );
            None
        }
        (Some(value), None) => Some(Secret::new(value.text)),
        (None, Some(file)) => file.parse(problems, |path| match std::fs::read_to_string(path) {
            Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        }),
        (None, None) => None,
    }
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
