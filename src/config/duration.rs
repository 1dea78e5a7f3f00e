//! Durations as people write them: Go's form (`1h30m`, `500ms`) plus `d`, or whole nanoseconds.

use std::time::Duration;

const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// Reads a duration; a number without a unit counts nanoseconds, as in Distribution.
///
/// # Errors
/// Returns the reason, naming the text, when it is no duration, negative, or longer than 292 years (Go's limit).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration like 10s, 500ms, 1h30m or 7d");
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative"));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let too_long = || format!("{text:?} is too long a time");
    let within = |nanoseconds: u128| {
        u64::try_from(nanoseconds)
            .ok()
            .filter(|n| i64::try_from(*n).is_ok())
    };
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        let nanoseconds = rest.parse().ok().and_then(within).ok_or_else(too_long)?;
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_ends = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(number_ends);
        let unit_ends = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let part = scaled(number, *scale).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(too_long)?;
        rest = after;
    }
    if text.is_empty() || text == "+" {
        return Err(wrong());
    }
    Ok(Duration::from_nanos(within(total).ok_or_else(too_long)?))
}

/// Reads a duration that is not zero.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("{text:?} leaves no time at all")),
        time => Ok(time),
    }
}

/// Returns a duration as people write it: `1h30m`, `7d`, `0s`. Reads back as the same.
pub fn duration_text(duration: Duration) -> String {
    const WRITTEN: &[&str] = &["d", "h", "m", "s", "ms", "us", "ns"];
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for unit in WRITTEN {
        let scale = UNITS.iter().find(|(name, _)| name == unit);
        let scale = scale.map_or(1, |(_, scale)| *scale);
        if rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// Returns `number` (which may have a fraction) times `scale`, rounded down.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !digits(whole)
        || !digits(fraction)
        || number.len() > 20
    {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let tenths: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let base = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole
        .checked_mul(scale)?
        .checked_add(tenths.checked_mul(scale)? / base)
}

#[cfg(test)]
mod tests {
    use super::{duration_text, parse_duration};

    #[test]
    fn durations_read_as_in_go_and_with_days() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            (".5s", 500),
            ("2d", 172_800_000),
            ("0", 0),
            ("0s", 0),
            ("+1m", 60_000),
            ("5000000", 5),
            ("1500us", 1),
            ("1500µs", 1),
        ] {
            let read = parse_duration(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.as_millis(), milliseconds, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_by_name() {
        for text in [
            "",
            "+",
            "s",
            "10x",
            "-1s",
            "1s2",
            "1..2s",
            ".s",
            "1 s",
            "99999999999h",
            "١s",
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_duration_is_told_as_it_would_be_written() {
        for text in [
            "0s",
            "30s",
            "1m",
            "1h30m",
            "7d",
            "1d2h3m4s500ms",
            "1us1ns",
            "500ms",
        ] {
            let read = parse_duration(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(duration_text(read), text);
        }
    }
}
