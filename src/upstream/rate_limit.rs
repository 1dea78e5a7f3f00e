//! What an upstream tells about its rate limit (`ratelimit-limit: 100;w=21600` and the like), and for how long it
//! wants to be left alone (`Retry-After`). Pure: headers and times are arguments.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::clock::micros;

/// How long a 429 without `Retry-After` is believed.
const USUAL_WAIT: Duration = Duration::from_secs(1);
/// The longest that a 429 is believed without asking again.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The most seconds a `Retry-After` may name.
const MOST_SECONDS: u64 = 1 << 31;
/// What an HTTP date looks like.
const HTTP_DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
/// The window of a limit that names none: Docker Hub's.
const USUAL_WINDOW: Duration = Duration::from_secs(6 * 3600);
/// Requests that background work leaves to clients at least.
const RESERVE: i64 = 10;

/// What one answer told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Requests allowed in a window.
    pub(super) limit: Option<i64>,
    /// Requests left of them.
    pub(super) remaining: Option<i64>,
    window: Option<Duration>,
    /// By what the upstream recognises us (`docker-ratelimit-source`).
    pub(super) source: Option<String>,
}

/// Reads the headers of an answer.
pub(super) fn read(headers: &HeaderMap) -> Told {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let limit = text("ratelimit-limit").and_then(count);
    let remaining = text("ratelimit-remaining").and_then(count);
    let window = remaining.or(limit).and_then(|(_, window)| window);
    let plain = |source: &&str| source.len() <= 128 && source.bytes().all(|b| b.is_ascii_graphic());
    Told {
        limit: limit.map(|(count, _)| count),
        remaining: remaining.map(|(count, _)| count),
        window,
        source: text("docker-ratelimit-source")
            .filter(plain)
            .map(str::to_owned),
    }
}

/// Reads `76;w=21600`, of a list its first.
fn count(text: &str) -> Option<(i64, Option<Duration>)> {
    let first = text.split(',').next()?;
    let mut parts = first.split(';').map(str::trim);
    let count = parts.next()?.parse().ok().filter(|count| *count >= 0)?;
    let window = parts.find_map(|part| part.strip_prefix("w="));
    let seconds = window.and_then(|seconds| seconds.parse().ok());
    Some((count, seconds.map(Duration::from_secs)))
}

/// What is known of an upstream's rate limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quota {
    pub(super) limit: Option<i64>,
    remaining: Option<(i64, i64)>,
}

impl Quota {
    /// Takes note of what an answer at `now` (microseconds) told.
    pub(super) fn note(&mut self, told: &Told, now: i64) {
        self.limit = told.limit.or(self.limit);
        if let Some(remaining) = told.remaining {
            let window = told.window.unwrap_or(USUAL_WINDOW);
            self.remaining = Some((remaining, now.saturating_add(micros(window))));
        }
    }

    /// Returns what is left at `now`; `None` where it was never told, or a whole window ago.
    pub(super) fn remaining(&self, now: i64) -> Option<i64> {
        let (remaining, until) = self.remaining?;
        (now < until).then_some(remaining)
    }

    /// Returns whether what is left is for clients alone.
    pub(super) fn is_low(&self, now: i64) -> bool {
        let reserve = self.limit.map_or(RESERVE, |limit| RESERVE.max(limit / 10));
        let remaining = self.remaining(now);
        remaining.is_some_and(|remaining| remaining < reserve)
    }
}

/// How long an upstream wants to be left alone, in microseconds of a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    /// When it is asked again at the latest.
    ask_again: i64,
    /// When it said that it will answer.
    over: i64,
}

impl Limited {
    /// Reads a 429's `Retry-After`, which came at `now` by the monotonic and at `wall` by the wall clock.
    pub(super) fn read(retry_after: Option<&str>, now: i64, wall: i64) -> Self {
        let wait = retry_after.and_then(|text| wait(text, wall));
        let wait = wait.unwrap_or(USUAL_WAIT).max(USUAL_WAIT);
        Self {
            ask_again: now.saturating_add(micros(wait.min(LONGEST_WAIT))),
            over: now.saturating_add(micros(wait)),
        }
    }

    /// Returns the seconds to wait if the limit lasts at `now`.
    pub(super) fn left(self, now: i64) -> Option<u64> {
        let left = u64::try_from(self.over.saturating_sub(now)).unwrap_or(0);
        (now < self.ask_again).then(|| left.div_ceil(1_000_000).max(1))
    }
}

/// Returns an answer's `Retry-After` if it is valid, so that it may be shown to clients.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    After::read(text).map(|_| text.to_owned())
}

/// What `Retry-After` says (RFC 9110 section 10.2.3).
enum After {
    Seconds(u64),
    Date(Timestamp),
}

impl After {
    /// Reads seconds, at most [`MOST_SECONDS`], or an HTTP date in the one form that may be sent today.
    fn read(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let seconds = text.parse().ok().filter(|&seconds| seconds <= MOST_SECONDS);
            return seconds.map(Self::Seconds);
        }
        if text.len() != HTTP_DATE.len() || !text.ends_with(" GMT") {
            return None;
        }
        let date = rfc2822::DateTimeParser::new().parse_timestamp(text);
        date.ok().map(Self::Date)
    }
}

/// Returns how long after `wall` it is that `Retry-After` names, if it is valid.
fn wait(text: &str, wall: i64) -> Option<Duration> {
    let most = Duration::from_secs(MOST_SECONDS);
    Some(match After::read(text.trim())? {
        After::Seconds(seconds) => Duration::from_secs(seconds),
        After::Date(date) => {
            let left = date.as_microsecond().saturating_sub(wall);
            Duration::from_micros(u64::try_from(left).unwrap_or(0)).min(most)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Limited, Quota, Told, micros, read};

    const SECOND: i64 = 1_000_000;
    /// 2015-10-21T07:28:00Z
    const THAT_DAY: i64 = 1_445_412_480 * SECOND;

    fn told(headers: &[(&'static str, &'static str)]) -> Told {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        read(&map)
    }

    #[test]
    fn docker_hubs_headers_are_read() {
        let told = told(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
            ("docker-ratelimit-source", "192.0.2.7"),
        ]);
        assert_eq!((told.limit, told.remaining), (Some(100), Some(76)));
        assert_eq!(told.window, Some(Duration::from_secs(21600)));
        assert_eq!(told.source.as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn what_is_no_count_is_left_out() {
        for value in ["", "many", "-1", ";w=3", "1e9"] {
            let told = told(&[("ratelimit-remaining", value)]);
            assert_eq!(told.remaining, None, "{value}");
        }
        let bare = told(&[
            ("ratelimit-remaining", "5, 5;w=1"),
            ("ratelimit-limit", "9 ; w=x"),
        ]);
        assert_eq!((bare.remaining, bare.limit), (Some(5), Some(9)));
        assert_eq!(told(&[("docker-ratelimit-source", "a b")]).source, None);
    }

    #[test]
    fn background_work_leaves_ten_requests_or_a_tenth_and_a_window_ends() {
        let mut quota = Quota::default();
        assert!(!quota.is_low(0), "nothing is known");
        let mut note = |limit, remaining, now| {
            let window = Some(Duration::from_secs(60));
            quota.note(
                &Told {
                    limit,
                    remaining,
                    window,
                    source: None,
                },
                now,
            );
            quota.is_low(now)
        };
        assert!(note(None, Some(9), 0));
        assert!(!note(None, Some(10), 0));
        assert!(note(Some(200), Some(19), 0));
        assert!(!note(Some(200), Some(20), 0));
        assert!(note(None, Some(0), 0), "the limit is remembered");
        assert_eq!(quota.remaining(60 * SECOND - 1), Some(0));
        assert_eq!(quota.remaining(60 * SECOND), None);
        assert!(!quota.is_low(60 * SECOND));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_what_is_left_is_told_rounded_up() {
        let seconds = Limited::read(Some("42"), 0, THAT_DAY);
        assert_eq!(seconds.left(0), Some(42));
        assert_eq!(seconds.left(1), Some(42));
        assert_eq!(seconds.left(41 * SECOND + 1), Some(1));
        assert_eq!(seconds.left(42 * SECOND), None);
        let date = Some("Wed, 21 Oct 2015 07:28:30 GMT");
        assert_eq!(Limited::read(date, 5, THAT_DAY).left(5), Some(30));
        let past = Limited::read(date, 5, THAT_DAY + 60 * SECOND);
        assert_eq!((past.left(5), past.left(5 + SECOND)), (Some(1), None));
    }

    #[test]
    fn without_a_usable_retry_after_a_second_passes_and_never_more_than_five_minutes() {
        for text in [None, Some("soon"), Some("-1"), Some("0"), Some("")] {
            let limited = Limited::read(text, 0, THAT_DAY);
            assert_eq!(
                (limited.left(0), limited.left(SECOND)),
                (Some(1), None),
                "{text:?}"
            );
        }
        let long = Limited::read(Some("21600"), 0, THAT_DAY);
        assert_eq!(long.left(0), Some(21600), "clients are told the truth");
        let asked_again = micros(Duration::from_secs(300));
        assert!(long.left(asked_again - 1).is_some());
        assert_eq!(long.left(asked_again), None);
        let huge = Limited::read(Some("18446744073709551615"), 0, THAT_DAY);
        assert_eq!(huge.left(asked_again), None);
    }
}
