//! Bytes that do not compress, the same in every run.

use bytes::Bytes;

/// Returns `size` bytes; another `seed` gives others.
pub(crate) fn incompressible(seed: u64, size: usize) -> Bytes {
    let mut state = seed;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32).to_le_bytes()
    })
    .take(size / 8)
    .flatten()
    .collect();
    bytes.into()
}
