//! Reads `WWW-Authenticate` (RFC 9110 section 11.6.1).
//!
//! One header may hold several challenges and a challenge several parameters, both separated by
//! commas, and quoted strings hold commas too. What cannot be read is left out, never guessed.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// A way to authorise that the upstream offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Username and password (RFC 7617).
    Basic,
    /// A token of a token server (the distribution token specification).
    Bearer {
        /// URL of the token server, as written.
        realm: String,
        /// Name by which the token server knows the registry.
        service: Option<String>,
        /// What the token has to allow, a list separated by spaces.
        scope: Option<String>,
    },
}

/// Returns the Basic and Bearer challenges of every `WWW-Authenticate` header, in order. A Bearer
/// challenge without a realm is left out.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        if let Ok(text) = value.to_str() {
            for offer in offers(text) {
                found.extend(offer.into_challenge());
            }
        }
    }
    found
}

/// One scheme with its parameters, before it is known which scheme it is.
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    fn parameter(&self, name: &str) -> Option<String> {
        let mut known = self.parameters.iter();
        let (_, value) = known.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.clone())
    }

    fn into_challenge(self) -> Option<Challenge> {
        if self.scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !self.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Challenge::Bearer {
            realm: self.parameter("realm")?,
            service: self.parameter("service").filter(|text| !text.is_empty()),
            scope: self.parameter("scope").filter(|text| !text.is_empty()),
        })
    }
}

/// Splits one header into its offers; stops at the first thing that is no challenge.
fn offers(text: &str) -> Vec<Offer> {
    let mut reader = Reader { rest: text };
    let mut found: Vec<Offer> = Vec::new();
    loop {
        reader.skip(|c| c == ',' || is_space(c));
        let Some(word) = reader.token() else {
            return found;
        };
        // A word before `=` is a parameter of the challenge under way, any other starts the next.
        let after_word = reader.rest;
        reader.skip(is_space);
        if reader.take('=') {
            let Some(value) = reader.value() else {
                return found;
            };
            if let Some(offer) = found.last_mut() {
                offer.parameters.push((word.to_owned(), value));
            }
            continue;
        }
        reader.rest = after_word;
        found.push(Offer {
            scheme: word.to_owned(),
            parameters: Vec::new(),
        });
        reader.skip(is_space);
        reader.skip_token68();
    }
}

/// A cursor over the header's text.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(unwanted);
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Reads a token or a quoted string with its escapes undone.
    fn value(&mut self) -> Option<String> {
        self.skip(is_space);
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                _ => value.push(c),
            }
        }
        None
    }

    /// Steps over the bare base64 that some schemes carry instead of parameters.
    fn skip_token68(&mut self) {
        let is_character = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let body = self.rest.trim_start_matches(is_character);
        let rest = body.trim_start_matches('=').trim_start_matches(is_space);
        if body.len() < self.rest.len() && (rest.is_empty() || rest.starts_with(',')) {
            self.rest = rest;
        }
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// RFC 9110 section 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Challenge, WWW_AUTHENTICATE, challenges};

    fn read(values: &[&'static str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        challenges(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn docker_hubs_challenge_is_read() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:library/nginx:pull"),
        );
        assert_eq!(read(&[header]), [expected]);
    }

    #[test]
    fn commas_and_escapes_inside_quotes_belong_to_the_value() {
        let header = r#"bearer Realm = "https://a/t\"x\\",scope="repository:a:pull,push" , error="invalid_token""#;
        let expected = bearer(r#"https://a/t"x\"#, None, Some("repository:a:pull,push"));
        assert_eq!(read(&[header]), [expected]);
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let header = r#"Negotiate, Digest realm="d, Basic realm=\"x\"", qop=auth, Bearer realm="https://a/t", Basic realm="r""#;
        let expected = [bearer("https://a/t", None, None), Challenge::Basic];
        assert_eq!(read(&[header]), expected);
    }

    #[test]
    fn several_headers_are_read_in_order() {
        let found = read(&["Basic", "BEARER realm=https"]);
        assert_eq!(found, [Challenge::Basic, bearer("https", None, None)]);
    }

    #[test]
    fn a_token68_is_stepped_over() {
        let found = read(&[r#"Negotiate oYG3MIG0oAMKAQE=, Basic realm="r""#]);
        assert_eq!(found, [Challenge::Basic]);
    }

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let found = read(&[r#"Bearer realm="https://a/", realm="https://b/""#]);
        assert_eq!(found, [bearer("https://a/", None, None)]);
    }

    #[test]
    fn what_is_no_challenge_is_left_out() {
        assert_eq!(read(&["Bearer service=\"x\""]), []);
        assert_eq!(read(&["Bearer realm=\"never closed"]), []);
        assert_eq!(read(&["realm=\"https://a/\""]), []);
        assert_eq!(read(&["", ",,,", "(", "Bearer \"x\""]), []);
    }
}
