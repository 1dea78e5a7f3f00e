//! YAML text to nodes that know their lines.
//! Errors name the line and never quote the text around it, which may be a secret.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Spanned};

use super::tree::{Entry, Node, Origin, Value};

/// Why a text is not one YAML document.
pub(super) struct SyntaxError {
    /// The line, counted from one.
    pub(super) line: u64,
    /// The reason, without anything of the text but a key.
    pub(super) reason: String,
}

/// Reads one YAML document; `origin` gives the origin of a line.
///
/// # Errors
/// Returns the first syntax error; a key that stands twice in one mapping is one.
pub(super) fn parse(text: &str, origin: &dyn Fn(u64) -> Origin) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(text, raw, origin)),
        Err(error) => Err(syntax_error(&error)),
    }
}

fn syntax_error(error: &Error) -> SyntaxError {
    let line = error.location().map_or(1, |location| location.line());
    let reason = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} stands here a second time")
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key stands here a second time".to_owned()
        }
        Error::MultipleDocuments { .. } => {
            "a second document begins here; one is expected".to_owned()
        }
        other => {
            let message = other.to_string();
            // The library appends its own "at line …"; the line is told once, in our form.
            let end = message.find(" at line ").unwrap_or(message.len());
            format!("not valid YAML: {}", &message[..end])
        }
    };
    SyntaxError { line, reason }
}

/// A node as the library hands it over. Numbers and booleans lose their spelling there; it is cut out of the text again.
enum Raw {
    Null,
    Inferred,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(text: &str, raw: Spanned<Raw>, origin: &dyn Fn(u64) -> Origin) -> Node {
    let at = origin(raw.referenced.line());
    let span = raw.defined.span();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Inferred => {
            let spelling = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(start, length)| {
                    let start = usize::try_from(start).ok()?;
                    text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
                });
            Value::Scalar(spelling.unwrap_or_default().trim().to_owned())
        }
        Raw::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| node(text, item, origin))
                .collect(),
        ),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    origin: origin(key.referenced.line()),
                    key: key.value,
                    node: node(text, value, origin),
                })
                .collect(),
        ),
    };
    Node { value, origin: at }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::config::tree::{Node, Origin, Value};

    fn read(text: &str) -> Result<Node, String> {
        let origin = |line: u64| Origin::Variable(format!("line {line}").into());
        parse(text, &origin).map_err(|error| format!("{}: {}", error.line, error.reason))
    }

    fn scalar(node: &Node, key: &str) -> String {
        match node.get(key).map(|node| &node.value) {
            Some(Value::Scalar(text)) => text.clone(),
            _ => panic!("{key} is no scalar"),
        }
    }

    #[test]
    fn scalars_keep_their_spelling() {
        let text = "a: 0.10\nb: 007\nc: \"x y\"\nd: Yes # why\ne: &n 1e5\nf: *n\ng: 123456789012345678901234567890\nh: [ü, 1.50]\n";
        let node = read(text).unwrap_or_else(|error| panic!("{error}"));
        let spelt: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"]
            .map(|key| scalar(&node, key))
            .to_vec();
        assert_eq!(
            spelt,
            [
                "0.10",
                "007",
                "x y",
                "Yes",
                "1e5",
                "1e5",
                "123456789012345678901234567890"
            ]
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_with_its_line() {
        let error = read("a: 1\nb: secret\na: 2\n")
            .err()
            .expect("the key is double");
        assert_eq!(error, "3: the key \"a\" stands here a second time");
    }

    #[test]
    fn a_syntax_error_does_not_quote_the_text() {
        let error = read("password: \"hunter2\nother: hunter3\n")
            .err()
            .expect("the quote is open");
        assert!(!error.contains("hunter"), "{error}");
    }
}
