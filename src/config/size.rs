//! Sizes as people write them: plain bytes, decimal units (`10GB`) or binary ones (`4MiB`), and where a disk is meant,
//! percent of it (`80%`).

use super::cache::Space;

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a size; returns bytes.
///
/// # Errors
/// Returns the reason, naming the text, when it is no size or more than 2^64 bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size like 4MiB, 10GB or a number of bytes");
    let ends = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(ends);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, scale) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(*scale)
        .ok_or_else(|| format!("{text:?} is too large"))
}

/// Reads a part of a disk: a size, or percent of the disk.
///
/// # Errors
/// Returns the reason, naming the text.
pub(super) fn parse_space(text: &str) -> Result<Space, String> {
    if text.ends_with('%') {
        return parse_percent(text).map(Space::Percent);
    }
    parse_size(text).map(Space::Bytes).map_err(|_| {
        format!("{text:?} is neither a size like 10GB nor percent of the disk like 80%")
    })
}

/// Reads whole percent, with or without the sign.
///
/// # Errors
/// Returns the reason, naming the text, when it is no whole number up to 100.
pub(super) fn parse_percent(text: &str) -> Result<u8, String> {
    let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let percent = digits
        .parse()
        .ok()
        .filter(|percent| number && *percent <= 100);
    percent.ok_or_else(|| format!("{text:?} is not whole percent from 0% to 100%"))
}

/// Returns a size as people write it: in the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    const WRITTEN: &[(&str, u64)] = &[
        ("TB", 1_000_000_000_000),
        ("TiB", 1 << 40),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
    ];
    let whole = WRITTEN
        .iter()
        .find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    whole.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, scale)| format!("{}{unit}", bytes / scale),
    )
}

#[cfg(test)]
mod tests {
    use super::{parse_percent, parse_size, parse_space, size_text};
    use crate::config::Space;

    #[test]
    fn a_part_of_a_disk_is_a_size_or_percent() {
        for (text, space) in [
            ("80%", Space::Percent(80)),
            ("100 %", Space::Percent(100)),
            ("0%", Space::Percent(0)),
            ("10GB", Space::Bytes(10_000_000_000)),
            ("0", Space::Bytes(0)),
        ] {
            assert_eq!(parse_space(text), Ok(space), "{text}");
        }
        for text in ["101%", "-1%", "1.5%", "%", "+5%", "half", "", "300%"] {
            let error = parse_space(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!(
            (parse_percent("95"), parse_percent("95%")),
            (Ok(95), Ok(95))
        );
    }

    #[test]
    fn percent_of_a_disk_is_its_part_and_bytes_are_bytes() {
        assert_eq!(Space::Percent(80).on(1_000), 800);
        assert_eq!(
            Space::Percent(100).on(u64::MAX / 100 * 100),
            u64::MAX / 100 * 100
        );
        assert_eq!(Space::Bytes(7).on(1), 7);
    }

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_divides_them() {
        for (bytes, text) in [
            (10_000_000_000, "10GB"),
            (4 << 20, "4MiB"),
            (0, "0 bytes"),
            (1_500, "1500 bytes"),
            (2_500_000_000_000, "2500GB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn sizes_read_in_bytes_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4194304", 4 << 20),
            ("4MiB", 4 << 20),
            ("4 mib", 4 << 20),
            ("10GB", 10_000_000_000),
            ("7b", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_by_name() {
        for text in [
            "",
            "MiB",
            "-1",
            "4MMB",
            "1.5GB",
            "99999999999999999999",
            "99999999TiB",
        ] {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
