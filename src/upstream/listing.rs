//! Reads lists: tags and referrers, and the `Link` to their next page (RFC 8288).

use http::HeaderMap;
use http::header::{CONTENT_TYPE, LINK};
use oci::{Descriptor, Tag};
use serde::Deserialize;
use url::Url;

use super::error::Error;

/// Returns whether an answer is a web page, as portals and misled proxies send.
pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    let essence = essence.trim();
    essence.eq_ignore_ascii_case("text/html")
        || essence.eq_ignore_ascii_case("application/xhtml+xml")
}

/// Returns the tags of a `tags/list` body. What is no tag cannot be asked for and is left out.
///
/// # Errors
/// A protocol error when it is not such a body.
pub(super) fn read_tags(body: &[u8]) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct TagList {
        // Distribution writes null for none.
        tags: Option<Vec<String>>,
    }
    let unreadable = |_| Error::protocol("the list of tags is not its JSON");
    let list: TagList = serde_json::from_slice(body).map_err(unreadable)?;
    let mut tags = list.tags.unwrap_or_default();
    tags.retain(|tag| Tag::parse(tag).is_ok());
    Ok(tags)
}

/// Returns the descriptors of a referrers body.
///
/// # Errors
/// A protocol error when it is not an index of well-formed descriptors.
pub(super) fn read_referrers(body: &[u8]) -> Result<Vec<Descriptor>, Error> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Option<Vec<Descriptor>>,
    }
    let unreadable = |_| Error::protocol("the list of referrers is not an index");
    let index: Index = serde_json::from_slice(body).map_err(unreadable)?;
    Ok(index.manifests.unwrap_or_default())
}

/// Returns the URL of the next page, relative ones taken from `asked`.
pub(super) fn next_page(headers: &HeaderMap, asked: &Url) -> Option<Url> {
    for value in headers.get_all(LINK) {
        let mut rest = value.to_str().unwrap_or_default();
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, r)| r.split_once('>'))
        {
            let (parameters, others) = split_unquoted(after, ',');
            if is_next(parameters) {
                return asked.join(target).ok();
            }
            rest = others;
        }
    }
    None
}

/// Returns the `last` of a page's URL.
pub(super) fn last_of(page: &Url) -> Option<String> {
    let mut pairs = page.query_pairs();
    let (_, last) = pairs.find(|(key, _)| key == "last")?;
    (!last.is_empty()).then(|| last.into_owned())
}

/// `rel` holds a list of relation types.
fn is_next(mut parameters: &str) -> bool {
    while !parameters.is_empty() {
        let (parameter, others) = split_unquoted(parameters, ';');
        parameters = others;
        if let Some((key, value)) = parameter.split_once('=')
            && key.trim().eq_ignore_ascii_case("rel")
        {
            let relations = value.trim().trim_matches('"');
            let mut relations = relations.split_ascii_whitespace();
            return relations.any(|relation| relation.eq_ignore_ascii_case("next"));
        }
    }
    false
}

/// Splits at the first `separator` outside quotes.
fn split_unquoted(text: &str, separator: char) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    use super::{
        CONTENT_TYPE, Error, LINK, is_html, last_of, next_page, read_referrers, read_tags,
    };

    fn next(link: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_static(link));
        let asked = Url::parse("https://a.example/v2/x/tags/list?n=2");
        let page = next_page(&headers, &asked.expect("a URL because it is written so"))?;
        Some(page.into())
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let expected = Some("https://a.example/v2/x/tags/list?last=b&n=2".to_owned());
        assert_eq!(next("</v2/x/tags/list?last=b&n=2>; rel=\"next\""), expected);
        assert_eq!(next("<?last=b&n=2>;rel=next"), expected);
        let many = "<https://b/,>; rel=prev; title=\"a, <b>; rel=next\", <?last=b&n=2>; x=1; REL=\"last next\"";
        assert_eq!(next(many), expected);
    }

    #[test]
    fn other_links_are_no_next_page() {
        for link in [
            "</x>; rel=\"prev\"",
            "</x>",
            "rel=next",
            "</x; rel=next",
            "",
            "<http://[>; rel=next",
        ] {
            assert_eq!(next(link), None, "{link}");
        }
    }

    #[test]
    fn last_is_decoded() {
        let last = |text| last_of(&Url::parse(text).expect("a URL because it is written so"));
        assert_eq!(last("https://a/?n=1&last=v1%2B2"), Some("v1+2".to_owned()));
        assert_eq!(last("https://a/?n=1&last="), None);
        assert_eq!(last("https://a/"), None);
    }

    #[test]
    fn tags_are_read_and_impossible_ones_left_out() {
        let read = |body: &str| read_tags(body.as_bytes());
        let expected = Ok(vec!["1.0".to_owned(), "latest".to_owned()]);
        assert_eq!(
            read(r#"{"name":"a","tags":["1.0","../x","latest"]}"#),
            expected
        );
        assert_eq!(read(r#"{"name":"a","tags":null}"#), Ok(Vec::new()));
        for body in ["", "<html>", "[]", r#"{"tags":"a"}"#] {
            assert!(matches!(read(body), Err(Error::Protocol { .. })), "{body}");
        }
    }

    #[test]
    fn referrers_that_are_no_index_are_a_protocol_error() {
        assert_eq!(
            read_referrers(br#"{"manifests":[]}"#).map(|found| found.len()),
            Ok(0)
        );
        let malformed = br#"{"manifests":[{"digest":"sha256:x"}]}"#;
        assert!(matches!(
            read_referrers(malformed),
            Err(Error::Protocol { .. })
        ));
    }

    #[test]
    fn web_pages_are_recognised() {
        let html = |value| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            is_html(&headers)
        };
        assert!(html("text/html"));
        assert!(html("Text/HTML; charset=utf-8"));
        assert!(!html("application/json"));
        assert!(!is_html(&HeaderMap::new()));
    }
}
