//! What the benchmarks share: which of them runs, servers as processes of their own, and bytes to move.

pub(crate) mod payload;
pub(crate) mod process;

/// Returns whether the benchmark `name` is to run: `cargo bench` hands every benchmark the words it was given, and no
/// word means all.
pub(crate) fn is_chosen(name: &str) -> bool {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}
