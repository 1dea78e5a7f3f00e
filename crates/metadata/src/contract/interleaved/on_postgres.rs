//! PostgreSQL lets two operations meet at every statement: the first stops before one, the second runs whole or until it waits
//! for the first, then the first goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::operations::{self, Operation};
use super::scenario::{self, Facts};
use super::tables::{self, Filled, NOT_COMPARED, TEMPLATE, Tables};
use super::verdict::{Outcome, explain};
use crate::Metadata;
use crate::clock::tests::{FakeClock, NOON};
use crate::contract::engines::on_postgres::Schema;
use crate::contract::support::World;
use crate::postgres::pause::Pause;
use crate::postgres::tests::InTests;

/// So many schemas are worked in at the same time.
const WORKERS: usize = 4;

/// Most operations have ended by then, and need not be asked about.
const ASK_AFTER: Duration = Duration::from_millis(3);

/// After so many runs, what they left behind in the tables is cleared away, else every run is slower than the one before.
const VACUUM_EVERY: usize = 50;

const TABLES: &str = "SELECT table_name FROM information_schema.tables \
    WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name";

/// Keys that the database gives start from a number that no row of the scenario has.
const KEYS: &str = "SELECT format('SELECT setval(pg_get_serial_sequence(%L, %L), 1000);', table_name, column_name) \
    FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'";

/// A schema with the scenario in it, and two nodes that use it.
struct Bench {
    /// The node whose transactions stop.
    first: Metadata,
    stops: InTests,
    /// The node that comes in between.
    second: Metadata,
    facts: Arc<Facts>,
    client: Client,
    /// What the scenario is.
    filled: Filled,
    select: String,
    tables: Vec<String>,
    /// Sets the keys of rows back.
    sequences: String,
    /// Tells whether the second node waits for a lock that another session holds.
    waits: String,
    runs: usize,
}

impl Bench {
    async fn set_up(schema: &Schema, unguarded: bool) -> Self {
        let clock = FakeClock::at(NOON);
        let nodes = [(); 2].map(|()| InTests {
            unguarded,
            ..InTests::default()
        });
        let [stops, other] = nodes;
        let first = schema.open(clock.clone(), stops.clone()).await;
        let second = schema.open_as("second", clock.clone(), other).await;
        let world = World {
            metadata: first.clone(),
            clock,
        };
        let facts = scenario::fill(&world).await;
        let client = schema.client().await;
        let found = client.query(TABLES, &[]).await.expect("lists");
        let names = found.iter().map(|row| row.get::<_, String>(0));
        let compared =
            |name: &String| !NOT_COMPARED.contains(&name.as_str()) && !name.starts_with(TEMPLATE);
        let names: Vec<String> = names.filter(compared).collect();
        let kept = tables::keep(&names).join(";");
        client.batch_execute(&kept).await.expect("keeps");
        let select: Vec<String> = names
            .iter()
            .map(|name| format!("SELECT * FROM {name}"))
            .collect();
        let select = select.join(";");
        let filled = Filled::new(read(&client, &select, &names).await);
        let found = client.query(KEYS, &[]).await.expect("lists");
        let sequences = found.iter().map(|row| row.get::<_, String>(0)).collect();
        Self {
            first,
            stops,
            second,
            facts,
            client,
            filled,
            sequences,
            select,
            tables: names,
            waits: format!(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' \
                 AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0",
                schema.application("second")
            ),
            runs: 0,
        }
    }

    /// Returns what there is now, and brings the scenario back.
    async fn take(&mut self) -> Vec<String> {
        let changed = self
            .filled
            .changed(read(&self.client, &self.select, &self.tables).await);
        let mut restore = tables::restore(changed.keys()).join(";");
        // Keys stay small, as they are in a database that is small.
        restore.push(';');
        restore.push_str(&self.sequences);
        let restore = self.client.batch_execute(&restore).await;
        restore.expect("restores");
        self.runs += 1;
        if self.runs.is_multiple_of(VACUUM_EVERY) {
            let vacuum = format!("VACUUM {}", self.tables.join(","));
            let cleared = self.client.batch_execute(&vacuum).await;
            cleared.expect("clears away");
        }
        self.filled.canonical(&changed)
    }

    fn start(&self, metadata: &Metadata, operation: &Operation) -> tokio::task::JoinHandle<String> {
        tokio::spawn((operation.run)(metadata.clone(), self.facts.clone()))
    }

    /// Runs one after the other; the answers are those of the first and the second.
    async fn in_order(&mut self, a: &Operation, b: &Operation) -> Outcome {
        let a = self.start(&self.first, a).await.expect("ends");
        let b = self.start(&self.second, b).await.expect("ends");
        let rows = self.take().await;
        Outcome { a, b, rows }
    }

    /// Runs `b` when `a` has come to that place; nothing when it has no such place. A statement that names none of the tables of `b`
    /// does not make a place: to stop before it is to stop after it.
    async fn interleaved(
        &mut self,
        a: &Operation,
        (b, tables): (&Operation, &BTreeSet<String>),
        at: usize,
    ) -> Option<Outcome> {
        let tables: Vec<String> = tables.iter().cloned().collect();
        let touches = move |sql: &str| !tables::named_in(&tables, [sql]).is_empty();
        let (pause, mut paused) = Pause::at(at, touches);
        self.stops.pause(Some(pause));
        let mut a = self.start(&self.first, a);
        let reached = tokio::select! {
            reached = &mut paused.reached => reached.is_ok(),
            ended = &mut a => {
                ended.expect("ends");
                false
            }
        };
        self.stops.pause(None);
        if !reached {
            self.take().await;
            return None;
        }
        let mut b = self.start(&self.second, b);
        let mut ended = None;
        while ended.is_none() {
            // The server is asked only about one that has not ended by itself.
            match tokio::time::timeout(ASK_AFTER, &mut b).await {
                Ok(answer) => ended = Some(answer.expect("ends")),
                Err(_) => {
                    let waits = self.client.query_one(&self.waits, &[]).await;
                    if waits.expect("asks").get::<_, i64>(0) > 0 {
                        break;
                    }
                }
            }
        }
        paused.go.send(()).expect("it waits");
        let a = a.await.expect("ends");
        let b = match ended {
            Some(answer) => answer,
            None => b.await.expect("ends"),
        };
        let rows = self.take().await;
        Some(Outcome { a, b, rows })
    }

    /// Returns the tables that an operation reads or writes when it is alone.
    async fn tables_of(&mut self, operation: &Operation) -> BTreeSet<String> {
        self.stops.take_seen();
        self.start(&self.first, operation).await.expect("ends");
        let seen = self.stops.take_seen();
        self.take().await;
        tables::named_in(&self.tables, seen)
    }

    /// Returns what is wrong with two operations, whichever of them comes in between, and how many times they met. Those that
    /// share no table cannot come to know of each other, and meet once.
    async fn pair(
        &mut self,
        (a, a_tables): (&Operation, &BTreeSet<String>),
        (b, b_tables): (&Operation, &BTreeSet<String>),
    ) -> (usize, Vec<String>) {
        let (ab, ba) = (self.in_order(a, b).await, self.in_order(b, a).await);
        let orders = (&ab, &turned(&ba));
        let (met, mut wrong) = self.meet(a, (b, b_tables), orders).await;
        if a.name() == b.name() || a_tables.is_disjoint(b_tables) {
            return (met, wrong);
        }
        let orders = (&ba, &turned(&ab));
        let (more, other) = self.meet(b, (a, a_tables), orders).await;
        wrong.extend(other);
        (met + more, wrong)
    }

    /// Has `b` come in at every place of `a`.
    async fn meet(
        &mut self,
        a: &Operation,
        (b, tables): (&Operation, &BTreeSet<String>),
        (a_first, b_first): (&Outcome, &Outcome),
    ) -> (usize, Vec<String>) {
        let mut wrong = Vec::new();
        let mut at = 0;
        while let Some(outcome) = self.interleaved(a, (b, tables), at).await {
            if let Some(why) = explain(&outcome, a_first, b_first) {
                let (a, b) = (a.name(), b.name());
                wrong.push(format!("A = {a} stopped at place {at}, B = {b}\n{why}"));
            }
            at += 1;
        }
        (at, wrong)
    }

    async fn close(self) {
        self.first.close().await;
        self.second.close().await;
    }
}

async fn read(client: &Client, select: &str, tables: &[String]) -> Tables {
    let messages = client.simple_query(select).await.expect("reads");
    let mut found = Tables::new();
    let mut names = tables.iter();
    let mut rows = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cell = |(index, column): (usize, &tokio_postgres::SimpleColumn)| {
                    (column.name().to_owned(), row.get(index).map(str::to_owned))
                };
                rows.push(row.columns().iter().enumerate().map(cell).collect());
            }
            SimpleQueryMessage::CommandComplete(_) => {
                let table = names.next().expect("one answer for one table");
                found.insert(table.clone(), std::mem::take(&mut rows));
            }
            _ => {}
        }
    }
    found
}

fn turned(outcome: &Outcome) -> Outcome {
    Outcome {
        a: outcome.b.clone(),
        b: outcome.a.clone(),
        rows: outcome.rows.clone(),
    }
}

/// Returns how many times two of the operations met, and what was wrong.
async fn all_pairs(operations: Vec<Operation>, unguarded: bool) -> (usize, Vec<String>) {
    let operations = Arc::new(operations);
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let operations = operations.clone();
        workers.spawn(async move {
            let schema = Schema::create().await;
            let mut bench = Bench::set_up(&schema, unguarded).await;
            let mut tables = Vec::new();
            for operation in operations.iter() {
                tables.push(bench.tables_of(operation).await);
            }
            let (mut met, mut wrong) = (0, Vec::new());
            let all = 0..operations.len();
            let pairs = all.clone().flat_map(|i| (i..all.end).map(move |j| (i, j)));
            for (i, j) in pairs.skip(worker).step_by(WORKERS) {
                let pair = bench.pair((&operations[i], &tables[i]), (&operations[j], &tables[j]));
                let (more, found) = pair.await;
                met += more;
                wrong.extend(found);
            }
            bench.close().await;
            schema.remove().await;
            (met, wrong)
        });
    }
    let (mut met, mut wrong) = (0, Vec::new());
    for (more, found) in workers.join_all().await {
        met += more;
        wrong.extend(found);
    }
    (met, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writes_at_once_are_as_one_after_the_other() {
    let (met, wrong) = all_pairs(operations::all(), false).await;
    assert!(
        met > operations::all().len().pow(2),
        "they met {met} times only"
    );
    assert!(
        wrong.is_empty(),
        "{} of {met} times it was not so, such as\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

/// What this test is worth: without the guarantee of SERIALIZABLE it tells what goes wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guarantee_a_claim_slips_past_a_mount_and_the_test_tells() {
    let mut some = operations::all();
    let chosen = [
        ("evict", "of an image"),
        ("mount_blob", "of what is mirrored"),
    ];
    some.retain(|operation| chosen.contains(&(operation.method, operation.what)));
    assert_eq!(some.len(), chosen.len(), "they are in the list");
    let (_, wrong) = all_pairs(some, true).await;
    let told = |one: &String| one.starts_with("A = mount_blob") && one.contains("B = evict");
    assert!(wrong.iter().any(told), "{wrong:?}");
}
