//! Whether what two operations did at once is what they do one after the other.

/// What came of two operations: their answers, and the database afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What the operation called A was answered.
    pub(super) a: String,
    /// What the operation called B was answered.
    pub(super) b: String,
    /// Every row, as [`super::tables::Filled::canonical`] writes it.
    pub(super) rows: Vec<String>,
}

/// Returns what is wrong with `outcome`, if neither order explains it.
pub(super) fn explain(outcome: &Outcome, a_first: &Outcome, b_first: &Outcome) -> Option<String> {
    if outcome == a_first || outcome == b_first {
        return None;
    }
    let mut told = String::new();
    for (order, expected) in [("A;B", a_first), ("B;A", b_first)] {
        told.push_str(&format!("  unlike {order}:\n"));
        for (who, wanted, got) in [
            ("A", &expected.a, &outcome.a),
            ("B", &expected.b, &outcome.b),
        ] {
            if wanted != got {
                told.push_str(&format!(
                    "    {who} wanted {wanted}\n    {who} got    {got}\n"
                ));
            }
        }
        for row in expected
            .rows
            .iter()
            .filter(|row| !outcome.rows.contains(row))
        {
            told.push_str(&format!("    - {row}\n"));
        }
        for row in outcome
            .rows
            .iter()
            .filter(|row| !expected.rows.contains(row))
        {
            told.push_str(&format!("    + {row}\n"));
        }
    }
    Some(told)
}
