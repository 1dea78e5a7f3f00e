//! The query of a request: parameters decoded once, unknown ones ignored (`ns`, `_state`), and printed
//! back with everything escaped that could be read as something else.

use crate::digest::{Algorithm, Digest, DigestError};
use crate::quote::quote;
use crate::route::{Page, RouteError};

/// The parameters of a query, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query; what cannot be decoded stays as it is.
    pub(crate) fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// Returns the first value of a parameter.
    pub(crate) fn first<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Returns all values of a parameter.
    pub(crate) fn all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0
            .iter()
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns a digest, if there is one.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<Digest>, RouteError> {
        match self.first(name) {
            Some(text) => Ok(Some(Digest::parse(text)?)),
            None => Ok(None),
        }
    }

    /// Returns the digest that has to be there.
    pub(crate) fn required_digest(&self, name: &str) -> Result<Digest, RouteError> {
        Ok(self.digest(name)?.ok_or(DigestError::Missing)?)
    }

    /// Returns the algorithm to hash an upload with, if there is one.
    pub(crate) fn algorithm(&self) -> Result<Option<Algorithm>, RouteError> {
        match self.first("digest-algorithm") {
            Some(text) => match Algorithm::parse(text) {
                Some(algorithm) => Ok(Some(algorithm)),
                None => Err(RouteError::UnsupportedAlgorithm { value: quote(text) }),
            },
            None => Ok(None),
        }
    }

    /// Returns the part of a list that is asked for.
    pub(crate) fn page(&self) -> Result<Page, RouteError> {
        let n = match self.first("n") {
            Some(text) if !text.is_empty() => {
                // `parse` alone would take a sign.
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                let n = digits.then(|| text.parse().ok()).flatten();
                let invalid = || RouteError::PageNumberInvalid { value: quote(text) };
                Some(n.ok_or_else(invalid)?)
            }
            Some(_) | None => None,
        };
        let last = self.first("last").filter(|last| !last.is_empty());
        Ok(Page {
            n,
            last: last.map(str::to_owned),
        })
    }
}

/// Decodes `%xx`. A `+` stays: digests' algorithms and tags of other registries have it, and no
/// parameter of this API has spaces.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match pair {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Prints a query.
#[derive(Default)]
pub(crate) struct Printer(String);

impl Printer {
    /// Adds a parameter, if there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else {
            return;
        };
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:/+".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                self.0.push_str(&format!("%{byte:02X}"));
            }
        }
    }

    /// Adds which part of a list.
    pub(crate) fn page(&mut self, page: &Page) {
        self.optional("n", page.n.map(|n| n.to_string()).as_deref());
        self.optional("last", page.last.as_deref());
    }

    /// Returns the query.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}
