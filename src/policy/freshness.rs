//! Whether a mirrored tag may be served without asking its upstream again. Pure: it must never fetch.

use std::time::Duration;

use oci::{Glob, Tag};

/// The verdict on a mirrored tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The upstream confirmed it recently enough.
    Fresh,
    /// The upstream has to be asked.
    Due,
}

/// Returns how long an answer about `tag` counts as fresh: by the first of `rules` whose pattern fits, `otherwise` without
/// one. The longest pattern stands first in `rules`, so that it wins.
pub fn lifetime(tag: &Tag, rules: &[(Glob, Duration)], otherwise: Duration) -> Duration {
    rules
        .iter()
        .find(|(pattern, _)| pattern.matches(tag.as_str()))
        .map_or(otherwise, |(_, lifetime)| *lifetime)
}

/// Tells whether a tag that its upstream confirmed at `checked_at` is still fresh at `now` (both in
/// microseconds since the Unix epoch). A `checked_at` in the future is never trusted.
pub fn freshness(now: i64, checked_at: i64, lifetime: Duration) -> Freshness {
    match age(now, checked_at) {
        Some(age) if age < lifetime => Freshness::Fresh,
        Some(_) | None => Freshness::Due,
    }
}

/// Returns how long ago `checked_at` was; `None` when it lies in the future.
pub fn age(now: i64, checked_at: i64) -> Option<Duration> {
    u64::try_from(now.checked_sub(checked_at)?)
        .ok()
        .map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oci::{Glob, Tag};

    use super::{Freshness, freshness, lifetime};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_tag_is_fresh_until_its_lifetime_has_passed() {
        assert_eq!(freshness(59_999_999, 0, MINUTE), Freshness::Fresh);
        assert_eq!(freshness(60_000_000, 0, MINUTE), Freshness::Due);
    }

    #[test]
    fn the_first_pattern_that_fits_says_how_long_a_tag_is_fresh() {
        let rule = |pattern, seconds| {
            let pattern = Glob::parse(pattern).expect("a pattern");
            (pattern, Duration::from_secs(seconds))
        };
        let rules = [rule("v1.2.*", 300), rule("latest", 30), rule("v*", 3000)];
        let of = |tag| {
            let tag = Tag::parse(tag).expect("a tag");
            lifetime(&tag, &rules, MINUTE).as_secs()
        };
        assert_eq!(of("v1.2.3"), 300);
        assert_eq!(of("v1.3.0"), 3000);
        assert_eq!(of("latest"), 30);
        assert_eq!(of("latest-alpine"), 60);
    }

    #[test]
    fn a_lifetime_of_zero_asks_every_time() {
        assert_eq!(freshness(5, 5, Duration::ZERO), Freshness::Due);
    }

    #[test]
    fn a_confirmation_from_the_future_is_not_trusted() {
        assert_eq!(freshness(0, 1, MINUTE), Freshness::Due);
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        assert_eq!(freshness(i64::MAX, i64::MIN, MINUTE), Freshness::Due);
    }
}
