//! Instants as people read them.

use jiff::Timestamp;

/// Returns an instant, in microseconds since 1970, to the second in UTC: `2026-11-21T12:00:00Z`.
pub(in crate::cli) fn moment(micros: i64) -> String {
    match Timestamp::from_second(micros.div_euclid(1_000_000)) {
        Ok(instant) => instant.to_string(),
        Err(_) => format!("{micros} microseconds after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn an_instant_is_told_to_the_second() {
        assert_eq!(moment(1_795_262_400_999_999), "2026-11-21T12:00:00Z");
        assert_eq!(moment(-1), "1969-12-31T23:59:59Z");
        assert_eq!(
            moment(i64::MAX),
            format!("{} microseconds after 1970", i64::MAX)
        );
    }
}
