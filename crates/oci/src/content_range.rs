//! The `Content-Range` of an upload's chunk: `<start>-<end>`, inclusive (distribution-spec, "Pushing a
//! blob in chunks"), or with the unit and length that RFC 9110 has and some clients send.

use crate::quote::quote;

/// Where a chunk belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Its first byte.
    pub start: u64,
    /// Its last byte.
    pub end_inclusive: u64,
}

/// The header is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("content range \"{value}\" is invalid")]
pub struct ContentRangeError {
    /// The text, cut and escaped.
    pub value: String,
}

impl ContentRange {
    /// Parses the header.
    ///
    /// # Errors
    /// When it is no range, or one that ends before it starts.
    pub fn parse(text: &str) -> Result<Self, ContentRangeError> {
        let range = text.trim();
        let range = range.strip_prefix("bytes ").unwrap_or(range);
        let range = range.split_once('/').map_or(range, |(range, _)| range);
        range
            .split_once('-')
            .and_then(|(start, end)| Some((number(start)?, number(end)?)))
            .filter(|(start, end)| start <= end && *end < u64::MAX)
            .map(|(start, end_inclusive)| Self {
                start,
                end_inclusive,
            })
            .ok_or_else(|| ContentRangeError { value: quote(text) })
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::ContentRange;

    #[test]
    fn both_forms_are_read_and_others_refused() {
        for text in ["5-9", "bytes 5-9/10", "bytes 5-9/*"] {
            let range = ContentRange::parse(text).expect(text);
            assert_eq!((range.start, range.end_inclusive), (5, 9));
        }
        for text in [
            "",
            "-",
            "9-5",
            "5-",
            "-5",
            "a-b",
            "+1-2",
            "0-18446744073709551615",
            "1 - 2",
        ] {
            assert!(ContentRange::parse(text).is_err(), "{text}");
        }
    }
}
