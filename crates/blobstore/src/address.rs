//! Where a blob lies, as its row says: under its digest, and under a key where that name was claimed for
//! deletion before. A claimed key is never used again.

use oci::Digest;

/// The longest key, in bytes.
const LONGEST: usize = 64;

/// An opaque name that tells two stored copies of one digest apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobKey(String);

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blob key is invalid")]
pub struct InvalidKey;

impl BlobKey {
    /// Parses a key: 1 to 64 of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> std::result::Result<Self, InvalidKey> {
        let fits = (1..=LONGEST).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }

    /// Returns the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a blob lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobAddress {
    /// What it is.
    pub digest: Digest,
    /// Which copy; none is the one at Distribution's path.
    pub key: Option<BlobKey>,
}
