//! The whole database as text that two runs can be compared by: keys are replaced by what they stand for.

use std::collections::BTreeMap;

/// What belongs to the engine, and the time, which stands still in these tests.
pub(super) const NOT_COMPARED: [&str; 2] = ["schema_version", "clock"];

/// How the copies of the tables are named from which the scenario is restored.
pub(super) const TEMPLATE: &str = "template_";

/// One row: its columns in order, with their values as text.
pub(super) type TextRow = Vec<(String, Option<String>)>;

/// The rows of each table.
pub(super) type Tables = BTreeMap<String, Vec<TextRow>>;

/// Returns the statements that keep what is in `tables` now.
pub(super) fn keep(tables: &[String]) -> Vec<String> {
    let copy = |table: &String| format!("CREATE TABLE {TEMPLATE}{table} AS SELECT * FROM {table}");
    tables.iter().map(copy).collect()
}

/// Returns the statements that bring back the tables in which `now` differs from `then`.
pub(super) fn restore(then: &Tables, now: &Tables) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, rows) in now {
        // The order of rows without a key may differ, which costs a copy and no more.
        if then.get(table) != Some(rows) {
            statements.push(format!("DELETE FROM {table}"));
            statements.push(format!(
                "INSERT INTO {table} SELECT * FROM {TEMPLATE}{table}"
            ));
        }
    }
    statements
}

/// Returns one line for each row, sorted. Numbers given in the order of arrival are left out, but for the order of a tag's moves.
pub(super) fn canonical(tables: &Tables) -> Vec<String> {
    let repositories = names(tables, "repositories", "name");
    let jobs = names(tables, "jobs", "unique_key");
    let links = names(tables, "link_repositories", "name");
    let mut lines = Vec::new();
    for (table, rows) in tables {
        let mut rows: Vec<&TextRow> = rows.iter().collect();
        rows.sort_by_key(|row| number(row, "id"));
        let mut moves = BTreeMap::new();
        for row in rows {
            let mut line = format!("{table}:");
            if table == "tag_moves" {
                let of = (cell(row, "repository_id"), cell(row, "tag"));
                let count = moves.entry(of).or_insert(0);
                *count += 1;
                line.push_str(&format!(" move={count}"));
            }
            for (column, value) in row {
                let value = value.as_deref();
                let shown = match column.as_str() {
                    // The ids of uploads are their own; every other one is a number.
                    "id" if table != "uploads" => continue,
                    "repository_id" => named(&repositories, value),
                    "job_id" => named(&jobs, value),
                    "link_repository_id" => named(&links, value),
                    _ => value.unwrap_or("NULL").to_owned(),
                };
                line.push_str(&format!(" {column}={shown}"));
            }
            lines.push(line);
        }
    }
    lines.sort();
    lines
}

fn cell<'a>(row: &'a TextRow, column: &str) -> Option<&'a str> {
    let found = row.iter().find(|(name, _)| name == column);
    found.and_then(|(_, value)| value.as_deref())
}

fn number(row: &TextRow, column: &str) -> Option<i64> {
    cell(row, column)?.parse().ok()
}

fn names(tables: &Tables, table: &str, column: &str) -> BTreeMap<String, String> {
    let rows = tables.get(table).expect("the table is there");
    let name = |row: &TextRow| {
        let pair = (cell(row, "id")?, cell(row, column)?);
        Some((pair.0.to_owned(), pair.1.to_owned()))
    };
    rows.iter().filter_map(name).collect()
}

/// A number that stands for nothing here, such as 0, is itself.
fn named(names: &BTreeMap<String, String>, value: Option<&str>) -> String {
    let value = value.unwrap_or("NULL");
    names.get(value).map_or(value, String::as_str).to_owned()
}
