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

#[cfg(test)]
mod tests {
    use super::{parse_http_url, parse_origin};

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
