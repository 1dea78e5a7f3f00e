//! Reads docker's `config.json`: whose credentials it holds for a registry, or which helper does.
//!
//! Only entries for the endpoint's own host count. What stands here is never logged.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::origin::Origin;
use crate::config::Secret;

/// By what docker knows Docker Hub, in files and towards helpers.
const HUB: &str = "https://index.docker.io/v1/";
/// Hosts of Docker Hub.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// The user name that marks a helper's secret as an identity token.
const IDENTITY_USER: &str = "<token>";

/// A registry, as docker's files and helpers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: Option<u16>,
    usual_port: u16,
}

impl Server {
    /// Returns the registry at this origin.
    pub(super) fn of(origin: &Origin) -> Self {
        Self {
            host: origin.host().to_owned(),
            port: origin.unusual_port(),
            usual_port: if origin.is_https() { 443 } else { 80 },
        }
    }

    fn is_hub(&self) -> bool {
        self.port.is_none() && HUB_HOSTS.contains(&self.host.as_str())
    }

    /// Returns the server URL that a credential helper is asked for.
    pub(super) fn name(&self) -> String {
        match self.port {
            None if self.is_hub() => HUB.to_owned(),
            None => self.host.clone(),
            Some(port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns whether a file's key means this registry: host and port, with or without scheme and path.
    fn is_meant_by(&self, key: &str) -> bool {
        let rest = key
            .strip_prefix("https://")
            .or_else(|| key.strip_prefix("http://"))
            .unwrap_or(key);
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.to_ascii_lowercase();
        if self.is_hub() {
            return HUB_HOSTS.contains(&host.as_str());
        }
        let usual = format!("{}:{}", self.host, self.usual_port);
        host == self.name() || (self.port.is_none() && host == usual)
    }
}

/// What a file or helper says of a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A user name and a password.
    Password(String, Secret),
    /// An identity token, which the token server takes instead of a password.
    Identity(Secret),
    /// A bearer token for the registry itself.
    Bearer(Secret),
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Password(..) => "Password(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

impl Found {
    /// Returns what a helper's answer means.
    pub(super) fn of_helper(username: String, secret: Secret) -> Self {
        if username == IDENTITY_USER {
            return Self::Identity(secret);
        }
        Self::Password(username, secret)
    }
}

/// What a file says: ask this helper first, and take this where there is none or it knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) helper: Option<String>,
    pub(super) found: Found,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// Returns what the file `json` says of `server`; `None` when it is no such file.
pub(super) fn find(json: &[u8], server: &Server) -> Option<Entry> {
    let file: File = serde_json::from_slice(json).ok()?;
    let helper = of_server(&file.cred_helpers, server).cloned();
    let helper = helper.or(file.creds_store).filter(|name| !name.is_empty());
    let found = match of_server(&file.auths, server) {
        Some(auth) => read(auth)?,
        None => Found::Nothing,
    };
    Some(Entry { helper, found })
}

/// Prefers the key docker would write.
fn of_server<'a, T>(entries: &'a BTreeMap<String, T>, server: &Server) -> Option<&'a T> {
    entries.get(&server.name()).or_else(|| {
        let mut entries = entries.iter();
        entries
            .find(|(key, _)| server.is_meant_by(key))
            .map(|(_, value)| value)
    })
}

fn read(auth: &Auth) -> Option<Found> {
    if !auth.registrytoken.is_empty() {
        return Some(Found::Bearer(Secret::new(&*auth.registrytoken)));
    }
    if !auth.identitytoken.is_empty() {
        return Some(Found::Identity(Secret::new(&*auth.identitytoken)));
    }
    if !auth.auth.is_empty() {
        let decoded = STANDARD.decode(auth.auth.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (username, password) = decoded.split_once(':')?;
        // Docker pads with zeros.
        let password = Secret::new(password.trim_end_matches('\0'));
        return Some(Found::Password(username.to_owned(), password));
    }
    if !auth.username.is_empty() {
        let password = Secret::new(&*auth.password);
        return Some(Found::Password(auth.username.clone(), password));
    }
    Some(Found::Nothing)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Entry, Found, Origin, Secret, Server, find};

    fn server(url: &str) -> Server {
        let url = Url::parse(url).expect("a URL because the test says so");
        Server::of(&Origin::of(&url).expect("an origin because the test says so"))
    }

    fn found(json: &str, url: &str) -> Found {
        let entry = find(json.as_bytes(), &server(url));
        entry.expect("a file because the test says so").found
    }

    fn password(username: &str, password: &str) -> Found {
        Found::Password(username.to_owned(), Secret::new(password))
    }

    #[test]
    fn every_form_of_credentials_is_read() {
        // aladdin:open:sesame, padded as docker pads it
        let auth = r#"{"auths":{"r.example":{"auth":"YWxhZGRpbjpvcGVuOnNlc2FtZQAA"}}}"#;
        let at = "https://r.example";
        assert_eq!(found(auth, at), password("aladdin", "open:sesame"));
        let plain = r#"{"auths":{"r.example":{"username":"a","password":"b"}},"HttpHeaders":{}}"#;
        assert_eq!(found(plain, at), password("a", "b"));
        let identity =
            r#"{"auths":{"r.example":{"auth":"YTpi","identitytoken":"t","email":null}}}"#;
        assert_eq!(found(identity, at), Found::Identity(Secret::new("t")));
        let registry = r#"{"auths":{"r.example":{"registrytoken":"t"}}}"#;
        assert_eq!(found(registry, at), Found::Bearer(Secret::new("t")));
        assert_eq!(found(r#"{"auths":{"r.example":{}}}"#, at), Found::Nothing);
        assert_eq!(found("{}", at), Found::Nothing);
    }

    #[test]
    fn keys_are_hosts_with_or_without_scheme_and_path() {
        for key in [
            "r.example:5000",
            "https://r.example:5000",
            "http://R.example:5000/v2/",
            "r.example:5000/v1/",
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"username":"a","password":"b"}}}}}}"#);
            let own = found(&json, "https://r.example:5000/project");
            assert_eq!(own, password("a", "b"), "{key}");
            for other in ["https://r.example", "https://x.r.example:5000"] {
                assert_eq!(found(&json, other), Found::Nothing, "{key} {other}");
            }
        }
        let usual = r#"{"auths":{"r.example:443":{"username":"a","password":"b"}}}"#;
        assert_eq!(found(usual, "https://r.example"), password("a", "b"));
        assert_eq!(found(usual, "http://r.example"), Found::Nothing);
    }

    #[test]
    fn docker_hub_is_known_by_its_old_address() {
        let json = r#"{"auths":{"docker.io":{"username":"x","password":"x"},
            "https://index.docker.io/v1/":{"username":"a","password":"b"}}}"#;
        for url in ["https://registry-1.docker.io", "https://docker.io"] {
            assert_eq!(found(json, url), password("a", "b"), "{url}");
            assert_eq!(server(url).name(), "https://index.docker.io/v1/");
        }
        assert_eq!(
            found(json, "https://registry-1.docker.io:444"),
            Found::Nothing
        );
        let short = r#"{"auths":{"docker.io":{"username":"x","password":"y"}}}"#;
        let at = "https://registry-1.docker.io";
        assert_eq!(found(short, at), password("x", "y"));
    }

    #[test]
    fn a_helper_of_the_host_goes_before_the_store_and_both_before_the_file() {
        let json = br#"{"credsStore":"desktop","credHelpers":{"r.example":"ecr-login"},
            "auths":{"s.example":{"username":"a","password":"b"}}}"#;
        let of = |url| find(json, &server(url));
        let own = Entry {
            helper: Some("ecr-login".to_owned()),
            found: Found::Nothing,
        };
        assert_eq!(of("https://r.example"), Some(own));
        let store = Entry {
            helper: Some("desktop".to_owned()),
            found: password("a", "b"),
        };
        assert_eq!(of("https://s.example"), Some(store));
    }

    #[test]
    fn what_cannot_be_read_is_no_file_and_nothing_is_shown() {
        let at = server("https://r.example");
        for json in [
            "",
            "[]",
            r#"{"auths":{"r.example":{"auth":"%"}}}"#,
            r#"{"auths":{"r.example":{"auth":"YQ=="}}}"#,
        ] {
            assert_eq!(find(json.as_bytes(), &at), None, "{json}");
        }
        let shown = format!("{:?}", password("aladdin", "hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("aladdin"));
    }
}
