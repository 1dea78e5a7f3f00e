//! Where a blob lies in a store: its digest and the opaque key of its row.
//! Addresses are made of parsed parts only, so no text from outside ever becomes part of a path.

use oci::Digest;

/// The longest key, in characters.
const MAX_KEY_LEN: usize = 64;

/// The part of an address that tells two generations of the same digest apart. Opaque to everyone but the store.
///
/// A key that was claimed for deletion is never used again, so a slow deletion cannot hit bytes that were pushed since.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlobKey(String);

impl BlobKey {
    /// Returns the key that `text` spells, or none when it is not 1 to 64 characters of `a`-`z`, `0`-`9` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = (1..=MAX_KEY_LEN).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        is_key.then(|| Self(text.to_owned()))
    }

    /// Returns the key's text, the form that is stored in the blob's row.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address of a blob's bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlobAddress {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The key of the blob's row; none is the place where CNCF Distribution keeps the digest.
    pub key: Option<BlobKey>,
}

impl BlobAddress {
    /// Returns the blob's name below the store's root, as an operator looks for it. Stores that are no directory use the
    /// same names.
    pub fn path(&self) -> String {
        let hex = self.digest.hex();
        let (algorithm, shard) = (self.digest.algorithm().as_str(), &hex[..2]);
        let name = self
            .key
            .as_ref()
            .map_or_else(|| "data".to_owned(), |key| format!("data.{}", key.as_str()));
        format!("docker/registry/v2/blobs/{algorithm}/{shard}/{hex}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::BlobKey;

    #[test]
    fn a_key_is_lower_case_letters_digits_and_dashes() {
        let longest = "k".repeat(64);
        for text in ["a", "0", "-", "2f-9z", longest.as_str()] {
            let key = BlobKey::parse(text).expect("the key is well formed");
            assert_eq!(key.as_str(), text);
        }
    }

    #[test]
    fn text_that_could_leave_the_directory_or_hide_is_no_key() {
        let too_long = "k".repeat(65);
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a.b",
            "A",
            "a b",
            "é",
            "a\0",
            too_long.as_str(),
        ] {
            assert_eq!(BlobKey::parse(text), None, "{text:?}");
        }
    }
}
