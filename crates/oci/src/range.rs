//! The `Range` of a download (RFC 9110 section 14): one range of bytes, or the whole.

/// An inclusive range that lies within the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedRange {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end_inclusive: u64,
}

/// What a `Range` header asks of content of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// Everything: no header, one that is to be ignored, or several ranges.
    Whole,
    /// A part (206).
    Partial(ResolvedRange),
    /// Nothing that exists (416).
    Unsatisfiable,
}

/// Returns what `header` asks of content of `size` bytes. A range that ends before it starts, and a
/// suffix of nothing, are unsatisfiable; what is no range of bytes is ignored.
pub fn resolve_range(header: Option<&str>, size: u64) -> RangeOutcome {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return RangeOutcome::Whole;
    };
    let Some((start, end)) = spec.split_once('-') else {
        return RangeOutcome::Whole;
    };
    match (start, end) {
        ("", suffix) => match number(suffix) {
            Some(0) => RangeOutcome::Unsatisfiable,
            Some(_) if size == 0 => RangeOutcome::Unsatisfiable,
            Some(length) => part(size.saturating_sub(length), size - 1),
            None => RangeOutcome::Whole,
        },
        (start, "") => match number(start) {
            Some(start) if start >= size => RangeOutcome::Unsatisfiable,
            Some(start) => part(start, size - 1),
            None => RangeOutcome::Whole,
        },
        (start, end) => match number(start).zip(number(end)) {
            Some((start, end)) if start > end || start >= size => RangeOutcome::Unsatisfiable,
            Some((start, end)) => part(start, end.min(size - 1)),
            None => RangeOutcome::Whole,
        },
    }
}

fn part(start: u64, end_inclusive: u64) -> RangeOutcome {
    RangeOutcome::Partial(ResolvedRange {
        start,
        end_inclusive,
    })
}

/// Digits only; more than fit are as good as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{RangeOutcome, part, resolve_range};

    #[test]
    fn ranges_are_resolved_against_the_size() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=0-99", 10, part(0, 9)),
            ("bytes=3-", 10, part(3, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-99", 10, part(0, 9)),
            ("bytes=2-99999999999999999999999", 10, part(2, 9)),
            ("bytes=10-", 10, RangeOutcome::Unsatisfiable),
            ("bytes=500-0", 1000, RangeOutcome::Unsatisfiable),
            ("bytes=-0", 10, RangeOutcome::Unsatisfiable),
            ("bytes=0-", 0, RangeOutcome::Unsatisfiable),
            ("bytes=-1", 0, RangeOutcome::Unsatisfiable),
            ("bytes=0-1,3-4", 10, RangeOutcome::Whole),
            ("bytes=a-b", 10, RangeOutcome::Whole),
            ("bytes=+1-2", 10, RangeOutcome::Whole),
            ("bytes=-", 10, RangeOutcome::Whole),
            ("bytes=1 - 2", 10, RangeOutcome::Whole),
            ("items=0-1", 10, RangeOutcome::Whole),
        ] {
            assert_eq!(resolve_range(Some(header), size), expected, "{header}");
        }
        assert_eq!(resolve_range(None, 10), RangeOutcome::Whole);
    }
}
