//! `seawall tag history`: a row for each place where the tag pointed, the latest first.

use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::arguments::TagName;
use crate::cli::Failure;
use crate::cli::server::{Server, printable};

/// As many as a server keeps.
const LIMIT: u32 = 1000;

/// What the server says, as far as it is shown.
#[derive(Deserialize)]
struct History {
    moves: Vec<Move>,
}

#[derive(Deserialize)]
struct Move {
    at: i64,
    from: Option<String>,
    to: Option<String>,
    by: String,
    origin: String,
}

/// Asks the server for the moves of a tag.
pub(super) async fn ask(server: &Server, name: &TagName) -> Result<Value, Failure> {
    let TagName { repository, tag } = name;
    let path = format!("/repositories/{repository}/-/tags/{tag}/history?limit={LIMIT}");
    server.get(&path).await
}

/// Returns what people read.
pub(super) fn text(told: &Value) -> Result<String, Failure> {
    let History { moves } = History::deserialize(told)
        .map_err(|error| Failure::new(format!("the server tells something strange: {error}")))?;
    let Some(oldest) = moves.last() else {
        return Ok("it has not moved since moves are kept\n".to_owned());
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["WHEN", "HOW", "BY", "POINTED TO"]);
    for moved in &moves {
        let to = moved.to.as_deref();
        table.add_row([
            time(moved.at),
            to.map_or_else(|| "deleted".to_owned(), |_| printable(&moved.origin)),
            printable(&moved.by),
            to.map_or_else(|| "-".to_owned(), printable),
        ]);
    }
    if let Some(before) = &oldest.from {
        let blank = || "-".to_owned();
        table.add_row(["before".to_owned(), blank(), blank(), printable(before)]);
    }
    // Every cell stands between blanks, the first and the last too.
    let lines = table.lines().map(|line| {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        format!("{line}\n")
    });
    Ok(lines.collect())
}

/// Returns an instant in UTC, to the second.
fn time(micros: i64) -> String {
    Timestamp::from_second(micros.div_euclid(1_000_000))
        .map_or_else(|_| micros.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn a_history_has_a_row_for_each_place_and_one_for_what_was_before() {
        let told = json!({"moves": [
            {"id": 9, "at": 1_772_366_400_000_000_i64, "from": "sha256:bb", "to": null, "by": "htpasswd:bob", "origin": "pushed"},
            {"id": 7, "at": 1_772_366_399_999_999_i64, "from": "sha256:aa", "to": "sha256:bb", "by": "anonymous", "origin": "pushed"},
        ]});
        let expected = "\
WHEN                  HOW      BY            POINTED TO
2026-03-01T12:00:00Z  deleted  htpasswd:bob  -
2026-03-01T11:59:59Z  pushed   anonymous     sha256:bb
before                -        -             sha256:aa
";
        assert_eq!(text(&told).expect("a history"), expected);
        let none = text(&json!({"moves": []})).expect("a history");
        assert_eq!(none, "it has not moved since moves are kept\n");
        text(&json!({"moves": 1})).expect_err("no history");
    }
}
