//! The URLs a configuration may hold. A URL can carry a password, so no message here quotes one.

use url::Url;

/// Reads an absolute http or https URL without user name, password, query and fragment; a path is fine.
///
/// # Errors
/// Returns the reason.
pub(super) fn parse_http_url(text: &str) -> Result<Url, String> {
    let wrong = "is not a URL like https://registry.example.org";
    let url = Url::parse(text).map_err(|_| wrong.to_owned())?;
    if !matches!(url.scheme(), "http" | "https")
        || !text.contains("://")
        || url.host_str().is_none()
    {
        return Err(wrong.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password; they have keys of their own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or fragment, which has no meaning here".to_owned());
    }
    Ok(url)
}

/// Reads an origin: a URL of scheme, host and port alone.
///
/// # Errors
/// Returns the reason.
pub(super) fn parse_origin(text: &str) -> Result<Url, String> {
    let url = parse_http_url(text)?;
    if url.path() != "/" {
        return Err("holds a path; scheme, host and port are expected".to_owned());
    }
    Ok(url)
}

/// Reads the URL of a proxy: http, https or socks5, host and port alone.
///
/// # Errors
/// Returns the reason.
pub(super) fn parse_proxy_url(text: &str) -> Result<Url, String> {
    let wrong = "is not a URL like http://proxy.example.org:3128 or socks5://127.0.0.1:1080";
    let url = Url::parse(text).map_err(|_| wrong.to_owned())?;
    let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
    if !known || !text.contains("://") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user name or password, which would stand in the open; give that proxy in HTTPS_PROXY"
                .to_owned(),
        );
    }
    let plain = matches!(url.path(), "" | "/") && url.query().is_none();
    if !plain || url.fragment().is_some() {
        return Err("holds a path, query or fragment, which has no meaning here".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{parse_http_url, parse_origin, parse_proxy_url};

    #[test]
    fn a_proxy_is_a_plain_http_or_socks_url() {
        for good in [
            "http://proxy:3128",
            "https://proxy.example/",
            "socks5://127.0.0.1:1080",
            "socks5h://[::1]:1080",
        ] {
            assert!(parse_proxy_url(good).is_ok(), "{good}");
        }
        for bad in [
            "proxy:3128",
            "socks4://x:1",
            "ftp://x",
            "http://u:hunter2@x",
            "socks5://hunter2@x:1",
            "http://x/hunter2",
            "http://x?hunter2",
            "socks5://",
            "",
        ] {
            let error = parse_proxy_url(bad).expect_err(bad);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_http_urls_without_secrets_and_queries_pass() {
        assert!(parse_http_url("https://registry-1.docker.io").is_ok());
        assert!(parse_http_url("http://[::1]:5000/docker.io").is_ok());
        for bad in [
            "registry-1.docker.io",
            "ftp://x",
            "localhost:5000",
            "https://",
            "https:x",
            "/x",
            "https://u:hunter2@x",
            "https://x?hunter2",
            "https://x#y",
        ] {
            let error = parse_http_url(bad).expect_err(bad);
            assert!(!error.contains("hunter2"));
        }
        assert!(parse_origin("https://auth.example.org/").is_ok());
        assert!(parse_origin("https://auth.example.org/token").is_err());
    }
}
