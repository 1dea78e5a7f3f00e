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

/// Returns the statements that bring those tables back.
pub(super) fn restore<'a>(tables: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let both = |table: &String| {
        [
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} SELECT * FROM {TEMPLATE}{table}"),
        ]
    };
    tables.into_iter().flat_map(both).collect()
}

/// The scenario before anybody did anything.
pub(super) struct Filled {
    tables: Tables,
    lines: BTreeMap<String, Vec<String>>,
}

impl Filled {
    pub(super) fn new(tables: Tables) -> Self {
        let names = Names::of(&[&tables]);
        let lines =
            |(table, rows): (&String, &Vec<TextRow>)| (table.clone(), lines(table, rows, &names));
        let lines = tables.iter().map(lines).collect();
        Self { tables, lines }
    }

    /// Returns those of `now` that differ. The order of rows without a key may be a difference.
    #[cfg(feature = "postgres")]
    pub(super) fn changed(&self, mut now: Tables) -> Tables {
        now.retain(|table, rows| self.tables.get(table) != Some(rows));
        now
    }

    /// Returns one line for each row, where only `changed` is not as it was. Numbers given in the order of arrival are left out, but
    /// for the order of a tag's moves.
    pub(super) fn canonical(&self, changed: &Tables) -> Vec<String> {
        let names = Names::of(&[&self.tables, changed]);
        let mut all = Vec::new();
        for (table, as_before) in &self.lines {
            match changed.get(table) {
                Some(rows) => all.extend(lines(table, rows, &names)),
                None => all.extend(as_before.iter().cloned()),
            }
        }
        all
    }
}

/// Returns those of `tables` that one of the statements names.
#[cfg(feature = "postgres")]
pub(super) fn named_in<'a>(
    tables: &[String],
    statements: impl IntoIterator<Item = &'a str>,
) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut named = std::collections::BTreeSet::new();
    for sql in statements {
        for word in sql.split(|c| !is_part(c)) {
            named.extend(tables.iter().filter(|table| *table == word).cloned());
        }
    }
    named
}

/// What keys stand for.
struct Names {
    repositories: BTreeMap<String, String>,
    jobs: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
}

impl Names {
    /// Returns them as the last of `all` tells them that has the table.
    fn of(all: &[&Tables]) -> Self {
        let of = |table: &str, column: &str| {
            let rows = all.iter().rev().find_map(|tables| tables.get(table));
            let name =
                |row: &TextRow| Some((cell(row, "id")?.to_owned(), cell(row, column)?.to_owned()));
            let rows = rows.expect("the table is there");
            rows.iter().filter_map(name).collect()
        };
        Self {
            repositories: of("repositories", "name"),
            jobs: of("jobs", "unique_key"),
            links: of("link_repositories", "name"),
        }
    }
}

fn lines(table: &str, rows: &[TextRow], names: &Names) -> Vec<String> {
    let mut rows: Vec<&TextRow> = rows.iter().collect();
    rows.sort_by_key(|row| number(row, "id"));
    let mut moves = BTreeMap::new();
    let mut lines = Vec::new();
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
                "repository_id" => named(&names.repositories, value),
                "job_id" => named(&names.jobs, value),
                "link_repository_id" => named(&names.links, value),
                _ => value.unwrap_or("NULL"),
            };
            line.push(' ');
            line.push_str(column);
            line.push('=');
            line.push_str(shown);
        }
        lines.push(line);
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

/// A number that stands for nothing here, such as 0, is itself.
fn named<'a>(names: &'a BTreeMap<String, String>, value: Option<&'a str>) -> &'a str {
    let value = value.unwrap_or("NULL");
    names.get(value).map_or(value, String::as_str)
}
