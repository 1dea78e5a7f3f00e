//! SQLite has one writer, so that two operations meet in one group at most: each in its savepoint, in both orders.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::operations::{self, Operation};
use super::scenario::{self, Facts};
use super::tables::{self, Filled, NOT_COMPARED, TEMPLATE, Tables, TextRow};
use super::verdict::{Outcome, explain};
use crate::Metadata;
use crate::clock::SteadyClock;
use crate::clock::tests::{FakeClock, NOON};
use crate::contract::support::World;
use crate::value::{Row, Value};

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";

/// A database with the scenario in it.
struct Bench {
    metadata: Metadata,
    facts: Arc<Facts>,
    /// What the scenario is.
    filled: Filled,
    read: Vec<Vec<Row>>,
    names: Vec<String>,
    select: Vec<&'static str>,
}

/// A write that keeps the writer busy until it is told to end.
struct Gate {
    entered: Sender<()>,
    leave: Receiver<()>,
}

impl Bench {
    async fn set_up(metadata: Metadata, clock: Arc<FakeClock>) -> Self {
        let world = World { metadata, clock };
        let facts = scenario::fill(&world).await;
        let metadata = world.metadata;
        let found = rows(&metadata, vec![TABLES]).await;
        let names = found[0]
            .iter()
            .map(|row| row.text(0).expect("a name").to_owned());
        let compared =
            |name: &String| !NOT_COMPARED.contains(&name.as_str()) && !name.starts_with(TEMPLATE);
        let names: Vec<String> = names.filter(compared).collect();
        run(&metadata, fixed(tables::keep(&names))).await;
        let select = fixed(
            names
                .iter()
                .map(|name| format!("SELECT * FROM {name}"))
                .collect(),
        );
        let read = rows(&metadata, select.clone()).await;
        let text = names
            .iter()
            .cloned()
            .zip(read.iter().map(|rows| text(rows)));
        Self {
            facts,
            filled: Filled::new(text.collect()),
            read,
            names,
            select,
            metadata,
        }
    }

    /// Returns what there is now, and brings the scenario back.
    async fn take(&self) -> Vec<String> {
        let found = rows(&self.metadata, self.select.clone()).await;
        let mut changed = Tables::new();
        for ((name, then), now) in self.names.iter().zip(&self.read).zip(&found) {
            // Text is made only of what is not as it was.
            if !then.iter().map(Row::values).eq(now.iter().map(Row::values)) {
                changed.insert(name.clone(), text(now));
            }
        }
        run(&self.metadata, fixed(tables::restore(changed.keys()))).await;
        self.filled.canonical(&changed)
    }

    async fn one(&self, operation: &Operation) -> String {
        (operation.run)(self.metadata.clone(), self.facts.clone()).await
    }

    /// Runs one after the other; the answers are those of the first and the second.
    async fn in_order(&self, first: &Operation, second: &Operation) -> Outcome {
        let a = self.one(first).await;
        let b = self.one(second).await;
        let rows = self.take().await;
        Outcome { a, b, rows }
    }

    /// Runs both in one group, the first before the second.
    async fn in_one_group(&self, first: &Operation, second: &Operation) -> Outcome {
        let ((entered, inside), (release, leave)) = (channel(), channel());
        let gate = Mutex::new(Gate { entered, leave });
        let busy = tokio::spawn({
            let metadata = self.metadata.clone();
            async move {
                let wait = metadata.write(gate, |_, gate| {
                    Box::pin(async move {
                        let gate = gate.lock().expect("one write uses the gate");
                        gate.entered.send(()).expect("the test listens");
                        gate.leave.recv().expect("the test opens the gate");
                        Ok(())
                    })
                });
                wait.await.expect("the gate opens");
            }
        });
        tokio::task::spawn_blocking(move || inside.recv())
            .await
            .expect("waits")
            .expect("is inside");
        let mut started = Vec::new();
        for operation in [first, second] {
            let before = self.metadata.queued_writes();
            let task = tokio::spawn((operation.run)(self.metadata.clone(), self.facts.clone()));
            while self.metadata.queued_writes() == before && !task.is_finished() {
                tokio::task::yield_now().await;
            }
            started.push(task);
        }
        release.send(()).expect("the writer waits");
        busy.await.expect("ends");
        let b = started
            .pop()
            .expect("two were started")
            .await
            .expect("ends");
        let a = started
            .pop()
            .expect("two were started")
            .await
            .expect("ends");
        let rows = self.take().await;
        Outcome { a, b, rows }
    }
}

/// The connection takes static text only; what a test leaks is gone when it ends.
fn fixed(statements: Vec<String>) -> Vec<&'static str> {
    statements.into_iter().map(|sql| &*sql.leak()).collect()
}

async fn run(metadata: &Metadata, statements: Vec<&'static str>) {
    let written = metadata.write(statements, |tx, statements| {
        Box::pin(async move {
            for sql in statements {
                tx.execute(sql, &[]).await?;
            }
            Ok(())
        })
    });
    written.await.expect("writes");
}

/// Returns the rows of each statement.
async fn rows(metadata: &Metadata, statements: Vec<&'static str>) -> Vec<Vec<Row>> {
    let found = metadata.read(statements, |tx, statements| {
        Box::pin(async move {
            let mut found = Vec::new();
            for sql in statements {
                found.push(tx.query(sql, &[]).await?);
            }
            Ok(found)
        })
    });
    found.await.expect("reads")
}

fn text(rows: &[Row]) -> Vec<TextRow> {
    let text = |value| match value {
        Value::Null => None,
        Value::Int(value) => Some(value.to_string()),
        Value::Text(value) => Some(value),
        Value::Blob(value) => Some(format!("{value:02x?}")),
    };
    let row = |row: &Row| {
        let cells = row.cells().into_iter();
        cells.map(|(column, value)| (column, text(value))).collect()
    };
    rows.iter().map(row).collect()
}

#[tokio::test]
async fn two_writes_in_one_group_are_as_one_after_the_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = FakeClock::at(NOON);
    let file = directory.path().join(crate::FILE_NAME);
    let made = Metadata::open(&file, clock.clone()).expect("a new database opens");
    made.close().await;
    // Without waiting for the disk: nothing here has to last.
    let steady = Arc::new(SteadyClock::resume(clock.clone(), NOON));
    let metadata = Metadata::open_copy(&file, steady).expect("it opens again");
    let bench = Bench::set_up(metadata, clock).await;
    let all = operations::all();
    let mut serial = BTreeMap::new();
    for (i, first) in all.iter().enumerate() {
        for (j, second) in all.iter().enumerate() {
            serial.insert((i, j), bench.in_order(first, second).await);
        }
    }
    let mut wrong = Vec::new();
    for (i, first) in all.iter().enumerate() {
        for (j, second) in all.iter().enumerate() {
            let outcome = bench.in_one_group(first, second).await;
            let other = serial[&(j, i)].clone();
            let b_first = Outcome {
                a: other.b,
                b: other.a,
                rows: other.rows,
            };
            if let Some(why) = explain(&outcome, &serial[&(i, j)], &b_first) {
                wrong.push(format!(
                    "A = {}, B = {}\n{why}",
                    first.name(),
                    second.name()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    bench.metadata.close().await;
}
