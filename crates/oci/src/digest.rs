//! Digests of content (image-spec, "Digests"): sha256 and sha512 as equals, parsed at the door.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

use crate::quote::quote;

/// The longest digest, in bytes.
const LONGEST: usize = 64;

/// A hash algorithm that content may be addressed with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Returns the algorithm that the specification calls `text`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Returns the name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the byte that stands for the algorithm in stored rows.
    pub fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// Returns the algorithm of a stored byte.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `<algorithm>:<lower-case hex of its length>`.
    #[error("digest \"{value}\" is malformed")]
    Malformed {
        /// The text, cut and escaped.
        value: String,
    },
    /// An algorithm this registry does not store.
    #[error("digest algorithm \"{algorithm}\" is not supported (sha256 and sha512 are)")]
    UnsupportedAlgorithm {
        /// The algorithm, cut and escaped.
        algorithm: String,
    },
    /// Needed and not there.
    #[error("the digest parameter is missing")]
    Missing,
}

/// The digest of some content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The digest, then zeros.
    bytes: [u8; LONGEST],
}

impl Digest {
    /// Parses `<algorithm>:<hex>`.
    ///
    /// # Errors
    /// [`DigestError::UnsupportedAlgorithm`] for a well-formed algorithm other than sha256 and sha512,
    /// [`DigestError::Malformed`] for anything else.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed { value: quote(text) };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        let Some(algorithm) = Algorithm::parse(name) else {
            return Err(if is_algorithm(name) && !hex.is_empty() {
                DigestError::UnsupportedAlgorithm {
                    algorithm: quote(name),
                }
            } else {
                malformed()
            });
        };
        if hex.len() != algorithm.digest_len() * 2 {
            return Err(malformed());
        }
        let mut bytes = [0; LONGEST];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (high, low) = (nibble(pair[0]), nibble(pair[1]));
            *byte = high
                .zip(low)
                .map(|(h, l)| h << 4 | l)
                .ok_or_else(malformed)?;
        }
        Ok(Self { algorithm, bytes })
    }

    /// Returns the digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::from_raw(algorithm, &Sha256::digest(content)),
            Algorithm::Sha512 => Self::from_raw(algorithm, &Sha512::digest(content)),
        }
    }

    /// Returns the digest with these raw bytes, which must be as many as the algorithm has.
    pub(crate) fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[..algorithm.digest_len()].copy_from_slice(raw);
        Self { algorithm, bytes }
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_len()]
    }

    /// Returns the encoded part.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(self.algorithm.digest_len() * 2);
        for byte in self.as_bytes() {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }

    /// Returns the stored form: one byte for the algorithm, then the raw bytes.
    pub fn to_row(&self) -> Vec<u8> {
        let mut row = vec![self.algorithm.code()];
        row.extend_from_slice(self.as_bytes());
        row
    }

    /// Returns the digest of a stored form.
    ///
    /// # Errors
    /// [`DigestError::Malformed`] when it is none.
    pub fn from_row(row: &[u8]) -> Result<Self, DigestError> {
        let stored = row
            .split_first()
            .and_then(|(code, raw)| Some((Algorithm::from_code(*code)?, raw)))
            .filter(|(algorithm, raw)| raw.len() == algorithm.digest_len());
        match stored {
            Some((algorithm, raw)) => Ok(Self::from_raw(algorithm, raw)),
            None => Err(DigestError::Malformed {
                value: format!("{} stored bytes", row.len()),
            }),
        }
    }
}

/// Tells whether `name` could be an algorithm (image-spec grammar), supported or not.
fn is_algorithm(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|component| {
        !component.is_empty()
            && component
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digest, DigestError};

    #[test]
    fn digests_of_both_algorithms_print_as_they_were_parsed() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"seawall");
            assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
            assert_eq!(Digest::from_row(&digest.to_row()), Ok(digest));
            assert_eq!(digest.to_row().len(), algorithm.digest_len() + 1);
        }
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), empty);
    }

    #[test]
    fn malformed_digests_are_refused() {
        let good = Digest::of(Algorithm::Sha256, b"").to_string();
        let upper = good.to_uppercase();
        let long = format!("{good}0");
        let short = &good[..good.len() - 1];
        let upper_hex = good.replace('e', "E");
        let slash = good.replacen("e3", "..", 1);
        for bad in [
            "",
            ":",
            "sha256",
            "sha256:",
            &upper,
            &long,
            short,
            &upper_hex,
            &slash,
            "sha256:é",
        ] {
            let refused = Digest::parse(bad);
            assert!(
                matches!(refused, Err(DigestError::Malformed { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn another_algorithm_is_unsupported_rather_than_malformed() {
        let refused = Digest::parse(&format!("sha384:{}", "a".repeat(96)));
        let text = refused.expect_err("unsupported").to_string();
        assert!(text.contains("\"sha384\" is not supported"), "{text}");
        assert!(matches!(
            Digest::parse("SHA384:aa"),
            Err(DigestError::Malformed { .. })
        ));
    }

    #[test]
    fn a_huge_value_is_cut_in_the_message() {
        let refused = Digest::parse(&"x".repeat(100_000)).expect_err("malformed");
        assert!(refused.to_string().len() < 200);
    }
}
