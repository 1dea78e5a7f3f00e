//! Hashing that can be saved and continued, so that an upload goes on after a restart without reading
//! what is there already.

use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::{Algorithm, Digest};

/// The saved form's format. sha2 keeps its state stable within one minor version only, so the number
/// goes up whenever sha2 does; a reader that does not know it re-reads the bytes instead.
const FORMAT: u8 = 1;

/// A hash over the bytes so far.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    hashed: u64,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Returns a hash over nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, hashed: 0 }
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Hashes `bytes` too.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hashed += bytes.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns how many bytes were hashed.
    pub fn hashed(&self) -> u64 {
        self.hashed
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(state) => Digest::from_raw(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => Digest::from_raw(Algorithm::Sha512, &state.finalize()),
        }
    }

    /// Returns a form that [`Hasher::restore`] continues from, also in another process.
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![FORMAT, self.algorithm().code()];
        saved.extend_from_slice(&self.hashed.to_be_bytes());
        match &self.state {
            State::Sha256(state) => saved.extend_from_slice(&state.serialize()),
            State::Sha512(state) => saved.extend_from_slice(&state.serialize()),
        }
        saved
    }

    /// Returns the saved hash; `None` when its format is not known, and the bytes must be read again.
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (head, state) = saved.split_at_checked(10)?;
        if head[0] != FORMAT {
            return None;
        }
        let hashed = u64::from_be_bytes(head[2..10].try_into().ok()?);
        let state = match Algorithm::from_code(head[1])? {
            Algorithm::Sha256 => State::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Algorithm::Sha512 => State::Sha512(Sha512::deserialize(state.try_into().ok()?).ok()?),
        };
        Some(Self { state, hashed })
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Digest, Hasher};

    #[test]
    fn a_saved_hash_continues_at_every_byte() {
        let bytes: Vec<u8> = (0..300_u32).map(|i| i as u8).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in 0..bytes.len() {
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..cut]);
                let mut second = Hasher::restore(&first.save()).expect("its own format");
                assert_eq!(second.hashed(), cut as u64);
                second.update(&bytes[cut..]);
                assert_eq!(second.finish(), Digest::of(algorithm, &bytes));
            }
        }
    }

    #[test]
    fn an_unknown_or_damaged_state_is_not_restored() {
        let saved = Hasher::new(Algorithm::Sha256).save();
        assert!(Hasher::restore(&[]).is_none());
        assert!(Hasher::restore(&saved[..saved.len() - 1]).is_none());
        let mut other = saved.clone();
        other[0] = 99;
        assert!(Hasher::restore(&other).is_none());
    }
}
