//! Quoting what a client sent in a message for that client: short, and without control characters.

/// The most characters of a value that a message repeats.
const MOST: usize = 128;

/// Returns `value` fit for a message: at most 128 characters, control characters and quotes escaped.
pub(crate) fn quote(value: &str) -> String {
    let mut quoted = String::new();
    for c in value.chars().take(MOST) {
        if c.is_control() || c == '"' || c == '\\' || !c.is_ascii() {
            quoted.extend(c.escape_default());
        } else {
            quoted.push(c);
        }
    }
    if value.chars().nth(MOST).is_some() {
        quoted.push_str("...");
    }
    quoted
}
