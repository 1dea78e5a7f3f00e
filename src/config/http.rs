//! The `http` section: where the server listens and what its answers carry.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use url::Url;

use super::duration::parse_duration;
use super::problems::Problems;
use super::section::{Field, Section};
use super::size::parse_size;
use super::url::parse_http_url;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `host:port` to listen on (`http.addr`); without a host, all interfaces of IPv6 and IPv4. Default: `:5000` with a
    /// file, the loopback interface without one.
    pub addr: String,
    /// The base of absolute URLs in answers (`http.host`; default: from the request).
    pub host: Option<Url>,
    /// The path below which everything is served (`http.prefix`); begins and ends with `/`. Default `/`.
    pub prefix: String,
    /// Whether `Location` is relative (`http.relativeurls`; default false).
    pub relativeurls: bool,
    /// How long running requests may take to finish when the server stops (`http.draintimeout`; default 10 s).
    pub draintimeout: Duration,
    /// Headers added to every answer (`http.headers`), valid as they stand.
    pub headers: Vec<(String, Vec<String>)>,
    /// Bounds on what a client may send.
    pub limits: Limits,
}

/// Bounds on what a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest manifest, in bytes (`http.limits.manifestsize`; default 4 MiB).
    pub manifestsize: u64,
}

impl Http {
    /// Returns the defaults with this address.
    pub(super) fn at(addr: &str) -> Self {
        Self {
            addr: addr.to_owned(),
            host: None,
            prefix: "/".to_owned(),
            relativeurls: false,
            draintimeout: Duration::from_secs(10),
            headers: Vec::new(),
            limits: Limits {
                manifestsize: 4 << 20,
            },
        }
    }
}

/// Headers that describe the message itself; setting them would break every answer.
const MESSAGE_HEADERS: &[HeaderName] = &[
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TRAILER,
    header::UPGRADE,
];

/// Reads the section over `defaults`.
pub(super) fn read(root: &Section<'_>, defaults: Http, problems: &mut Problems) -> Http {
    let http = root.section("http");
    let manifestsize = http
        .section("limits")
        .field("manifestsize", problems)
        .and_then(|field| {
            field.parse(problems, |text| match parse_size(text)? {
                0 => Err("0 would refuse every manifest".to_owned()),
                size => Ok(size),
            })
        });
    Http {
        addr: http
            .parse("addr", problems, |text| {
                listen_address(text).map(|()| text.to_owned())
            })
            .unwrap_or(defaults.addr),
        host: http.parse("host", problems, parse_http_url),
        prefix: http
            .parse("prefix", problems, prefix)
            .unwrap_or(defaults.prefix),
        relativeurls: http.switch("relativeurls", problems),
        draintimeout: http
            .parse("draintimeout", problems, parse_duration)
            .unwrap_or(defaults.draintimeout),
        headers: headers(&http.section("headers"), problems),
        limits: Limits {
            manifestsize: manifestsize.unwrap_or(defaults.limits.manifestsize),
        },
    }
}

/// Checks an address to listen on: `host:port`, `[v6]:port` or `:port`.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn listen_address(text: &str) -> Result<(), String> {
    let wrong =
        |why: &str| format!("{text:?} is not an address like :5000 or 127.0.0.1:5000: {why}");
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(wrong("the port is missing"));
    };
    if port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("the port is no number up to 65535"));
    }
    match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(Some(v6)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
        Some(_) => Err(wrong("what stands in brackets is no IPv6 address")),
        None if host.contains(':') => Err(wrong("an IPv6 address stands in brackets")),
        None if host.is_empty() || is_host(host) => Ok(()),
        None => Err(wrong("the host is no name and no IP address")),
    }
}

fn is_host(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    // What a URL cannot name, no client could be pointed at: 999.1.1.1, for one.
    plain && Url::parse(&format!("http://{text}/")).is_ok()
}

fn prefix(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || !text.ends_with('/') {
        return Err(format!("{text:?} does not begin and end with \"/\""));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let plain = text.bytes().all(allowed) && !text.contains("//");
    if !plain || text.split('/').any(|part| part == "." || part == "..") {
        return Err(format!(
            "{text:?} is not a plain path of letters, digits and \"-._~\""
        ));
    }
    Ok(text.to_owned())
}

fn headers(section: &Section<'_>, problems: &mut Problems) -> Vec<(String, Vec<String>)> {
    let mut headers = Vec::new();
    for (name, values) in section.names() {
        let fields = values.values(problems);
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            values.error(problems, "is not a valid header name");
            continue;
        };
        if MESSAGE_HEADERS.contains(&parsed) {
            values.error(problems, "describes the message itself and cannot be set");
            continue;
        }
        let value = |field: &Field<'_>, problems: &mut Problems| {
            field.parse(problems, |text| match HeaderValue::from_str(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err("the value holds characters that a header cannot carry".to_owned()),
            })
        };
        let values: Vec<String> = fields
            .iter()
            .filter_map(|field| value(field, problems))
            .collect();
        if !values.is_empty() {
            headers.push((name.to_owned(), values));
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::{listen_address, prefix};

    #[test]
    fn addresses_need_a_port_and_brackets_around_ipv6() {
        for good in [
            ":5000",
            "127.0.0.1:0",
            "localhost:5000",
            "[::]:5000",
            "registry.example.org:443",
        ] {
            assert_eq!(listen_address(good), Ok(()), "{good}");
        }
        for bad in [
            "5000",
            ":x",
            "::1:5000",
            "[::1:5000",
            "[x]:1",
            "a b:1",
            "999.1.1.1:1",
            ":70000",
            ":+1",
            "http://x:1",
            "",
        ] {
            assert!(listen_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_begins_and_ends_with_a_slash_and_is_a_plain_path() {
        assert!(prefix("/").is_ok() && prefix("/team/registry/").is_ok());
        for bad in ["v2", "/v2", "v2/", "//", "/a//b/", "/../", "/a b/", "/%2e/"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
