//! What the engine promises to the operations: all or nothing for each write, durable before the answer, and a
//! writer that survives panics, full disks and callers that leave.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::clock::tests::{FakeClock, HOUR, NOON};
use crate::error::{Error, Result};
use crate::tx::{BodyFuture, Tx};
use crate::{FILE_NAME, Metadata};

const INSERT: &str = "INSERT INTO repositories (name, kind, created_at) VALUES ($1, 1, 0)";
const COUNT: &str = "SELECT COUNT(*) AS count FROM repositories";

fn open(directory: &Path) -> Metadata {
    Metadata::open(&directory.join(FILE_NAME), FakeClock::at(NOON)).expect("opens")
}

fn world() -> (TempDir, Metadata) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let metadata = open(directory.path());
    (directory, metadata)
}

/// What one write of a test does: inserts a row, waits at its gate, then ends somehow.
struct Step {
    name: String,
    gate: Option<Mutex<Gate>>,
    end: End,
}

struct Gate {
    entered: Sender<()>,
    leave: Receiver<()>,
}

impl Gate {
    fn wait(&self) {
        self.entered.send(()).expect("the test listens");
        self.leave.recv().expect("the test opens the gate");
    }
}

enum End {
    Succeed,
    Fail,
    Panic,
    /// Ends the whole transaction under the writer's feet, as SQLite does after some I/O errors.
    RollEverythingBack,
    WaitForSomethingElse,
}

fn step(name: &str, end: End) -> Step {
    Step {
        name: name.to_owned(),
        gate: None,
        end,
    }
}

/// Returns a step that stops inside its transaction, the signal that it has, and the means to let it go on.
fn gated(name: &str) -> (Step, Receiver<()>, Sender<()>) {
    let ((entered, inside), (release, leave)) = (channel(), channel());
    let gate = Some(Mutex::new(Gate { entered, leave }));
    (
        Step {
            name: name.to_owned(),
            gate,
            end: End::Succeed,
        },
        inside,
        release,
    )
}

fn body<'a>(tx: &'a mut Tx, step: &'a Step) -> BodyFuture<'a, ()> {
    Box::pin(async move {
        tx.execute(INSERT, &[step.name.as_str().into()]).await?;
        if let Some(gate) = &step.gate {
            gate.lock().expect("one step uses the gate").wait();
        }
        match step.end {
            End::Succeed => Ok(()),
            End::Fail => Err(Error::unavailable("as asked")),
            End::Panic => panic!("as asked"),
            End::RollEverythingBack => tx.execute("ROLLBACK", &[]).await.map(drop),
            End::WaitForSomethingElse => std::future::pending().await,
        }
    })
}

async fn write(metadata: &Metadata, step: Step) -> Result<()> {
    metadata.write(step, body).await
}

async fn count(metadata: &Metadata) -> i64 {
    let counted = metadata.read((), |tx, ()| {
        Box::pin(async move { tx.query_one(COUNT, &[]).await?.expect("a count").i64(0) })
    });
    counted.await.expect("reads")
}

/// Returns a copy of the files as they are on disk now, which is what a killed process leaves.
fn copy(directory: &TempDir) -> TempDir {
    let copied = tempfile::tempdir().expect("a temporary directory");
    for suffix in ["", "-wal"] {
        let file = format!("{FILE_NAME}{suffix}");
        std::fs::copy(directory.path().join(&file), copied.path().join(&file)).expect("copies");
    }
    copied
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_writes_survive_a_kill() {
    let (directory, metadata) = world();
    let writes = (0..1000).map(|number| {
        let metadata = metadata.clone();
        tokio::spawn(async move { write(&metadata, step(&number.to_string(), End::Succeed)).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.expect("does not panic").expect("writes");
    }
    assert_eq!(count(&metadata).await, 1000, "an answered write is visible");
    let killed = copy(&directory);
    assert_eq!(count(&open(killed.path())).await, 1000);
}

#[tokio::test]
async fn a_kill_inside_a_transaction_leaves_what_was_answered_before() {
    let (directory, metadata) = world();
    write(&metadata, step("before", End::Succeed))
        .await
        .expect("writes");
    let (gated, inside, release) = gated("interrupted");
    let task = tokio::spawn({
        let metadata = metadata.clone();
        async move { write(&metadata, gated).await }
    });
    tokio::task::spawn_blocking(move || inside.recv())
        .await
        .expect("waits")
        .expect("is inside");
    let killed = copy(&directory);
    release.send(()).expect("the writer waits");
    task.await.expect("does not panic").expect("writes");
    assert_eq!(count(&open(killed.path())).await, 1);
    assert_eq!(count(&metadata).await, 2);
}

/// Runs `others` in the same group as a first write that succeeds, and returns what each was answered.
async fn in_one_group(metadata: &Metadata, others: [Step; 2]) -> (Result<()>, [Result<()>; 2]) {
    let (first, _inside, release) = gated("first");
    let [second, third] = others;
    // Polled in this order: all three are queued before the gate opens.
    let (first, second, third, ()) = tokio::join!(
        write(metadata, first),
        write(metadata, second),
        write(metadata, third),
        async { release.send(()).expect("the writer waits") },
    );
    (first, [second, third])
}

#[tokio::test]
async fn a_failing_write_leaves_nothing_while_its_neighbours_commit() {
    for end in [End::Fail, End::Panic, End::WaitForSomethingElse] {
        let (_directory, metadata) = world();
        let steps = [step("bad", end), step("good", End::Succeed)];
        let (first, [bad, good]) = in_one_group(&metadata, steps).await;
        first.expect("the neighbour before commits");
        bad.expect_err("the failing write is told");
        good.expect("the neighbour after commits");
        assert_eq!(count(&metadata).await, 2);
        write(&metadata, step("bad", End::Succeed))
            .await
            .expect("the writer lives on");
    }
}

#[tokio::test]
async fn a_lost_transaction_is_told_to_everyone_in_it() {
    let (_directory, metadata) = world();
    let steps = [
        step("second", End::Succeed),
        step("lost", End::RollEverythingBack),
    ];
    let (first, [second, lost]) = in_one_group(&metadata, steps).await;
    for answer in [first, second] {
        assert!(matches!(answer, Err(Error::Unavailable { .. })));
    }
    lost.expect_err("its own rows are gone too");
    assert_eq!(count(&metadata).await, 0);
    write(&metadata, step("after", End::Succeed))
        .await
        .expect("the writer lives on");
    assert_eq!(count(&metadata).await, 1);
}

#[tokio::test]
async fn a_write_whose_caller_left_is_committed() {
    let (_directory, metadata) = world();
    let (gated, inside, release) = gated("orphan");
    let task = tokio::spawn({
        let metadata = metadata.clone();
        async move { write(&metadata, gated).await }
    });
    tokio::task::spawn_blocking(move || inside.recv())
        .await
        .expect("waits")
        .expect("is inside");
    task.abort();
    assert!(task.await.expect_err("was aborted").is_cancelled());
    release.send(()).expect("the writer waits");
    write(&metadata, step("next", End::Succeed))
        .await
        .expect("writes");
    assert_eq!(count(&metadata).await, 2);
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_nothing_after_it() {
    let (_directory, metadata) = world();
    let limit = |pragma: &'static str| {
        metadata.write(pragma, |tx, pragma| {
            Box::pin(async move { tx.query(pragma, &[]).await.map(drop) })
        })
    };
    limit("PRAGMA max_page_count = 1")
        .await
        .expect("the file stays as large as it is");
    let filled = write(&metadata, step(&"x".repeat(1 << 20), End::Succeed)).await;
    assert!(matches!(filled, Err(Error::StorageFull)), "{filled:?}");
    assert_eq!(count(&metadata).await, 0, "reads go on");
    limit("PRAGMA max_page_count = 1000000")
        .await
        .expect("there is space again");
    write(&metadata, step("after", End::Succeed))
        .await
        .expect("writes go on");
    assert_eq!(count(&metadata).await, 1);
}

#[tokio::test]
async fn a_read_sees_one_state_and_only_what_is_committed() {
    let (_directory, metadata) = world();
    let ((entered, inside), (release, leave)) = (channel(), channel());
    let gate = Mutex::new(Gate { entered, leave });
    let reader = tokio::spawn({
        let metadata = metadata.clone();
        async move {
            let twice = metadata.read(gate, |tx, gate| {
                Box::pin(async move {
                    let before = tx.query_one(COUNT, &[]).await?.expect("a count").i64(0)?;
                    gate.lock().expect("one read uses the gate").wait();
                    Ok((
                        before,
                        tx.query_one(COUNT, &[]).await?.expect("a count").i64(0)?,
                    ))
                })
            });
            twice.await
        }
    });
    tokio::task::spawn_blocking(move || inside.recv())
        .await
        .expect("waits")
        .expect("is inside");
    write(&metadata, step("meanwhile", End::Succeed))
        .await
        .expect("a read stops no write");
    assert_eq!(count(&metadata).await, 1, "another reader sees it at once");
    release.send(()).expect("the reader waits");
    assert_eq!(
        reader.await.expect("does not panic").expect("reads"),
        (0, 0)
    );
}

#[tokio::test]
async fn a_read_that_panics_costs_no_reader() {
    let (_directory, metadata) = world();
    for _ in 0..8 {
        let read = metadata.read((), |_, ()| Box::pin(async { panic!("as asked") }));
        let answer: Result<()> = read.await;
        assert!(matches!(answer, Err(Error::Unavailable { .. })));
    }
    assert_eq!(count(&metadata).await, 0);
}

#[tokio::test]
async fn a_read_cannot_write() {
    let (_directory, metadata) = world();
    let read = metadata.read(step("sly", End::Succeed), body);
    assert!(read.await.is_err());
    assert_eq!(count(&metadata).await, 0);
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_refuses_the_rest() {
    let (directory, metadata) = world();
    let (first, _inside, release) = gated("first");
    let (first, second, ()) = tokio::join!(
        write(&metadata, first),
        write(&metadata, step("second", End::Succeed)),
        async {
            release.send(()).expect("the writer waits");
            metadata.close().await;
        },
    );
    first.expect("was queued");
    second.expect("was queued");
    let refused = write(&metadata, step("late", End::Succeed)).await;
    assert!(matches!(refused, Err(Error::Closed)));
    let read = metadata.read((), |_, ()| Box::pin(async { Ok(()) })).await;
    assert!(matches!(read, Err(Error::Closed)));
    metadata.close().await;
    assert!(
        !directory.path().join(format!("{FILE_NAME}-wal")).exists(),
        "nothing to recover"
    );
    assert_eq!(count(&open(directory.path())).await, 2);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_cleanly() {
    let (directory, metadata) = world();
    write(&metadata, step("kept", End::Succeed))
        .await
        .expect("writes");
    drop(metadata);
    assert!(
        !directory.path().join(format!("{FILE_NAME}-wal")).exists(),
        "nothing to recover"
    );
    assert_eq!(count(&open(directory.path())).await, 1);
}

#[tokio::test]
async fn time_does_not_go_back_over_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join(FILE_NAME);
    let first = Metadata::open(&file, FakeClock::at(NOON)).expect("opens");
    write(&first, step("row", End::Succeed))
        .await
        .expect("writes");
    drop(first);
    let behind = FakeClock::at(NOON - HOUR);
    let second = Metadata::open(&file, behind.clone()).expect("opens");
    assert_eq!(second.now(), NOON);
    behind.advance(2 * HOUR);
    let written = second
        .write((), |tx, ()| Box::pin(async move { Ok(tx.now()) }))
        .await;
    assert_eq!(written.expect("writes"), NOON + HOUR);
    drop(second);
    let third = Metadata::open(&file, FakeClock::at(0)).expect("opens");
    assert_eq!(third.now(), NOON + HOUR);
}

#[tokio::test]
async fn a_write_begins_no_earlier_than_what_another_process_stored() {
    let (directory, metadata) = world();
    let other = Metadata::open(
        &directory.path().join(FILE_NAME),
        FakeClock::at(NOON + HOUR),
    );
    let other = other.expect("a second process opens it beside the first");
    write(&other, step("later", End::Succeed))
        .await
        .expect("writes");
    let now = metadata
        .write((), |tx, ()| Box::pin(async move { Ok(tx.now()) }))
        .await;
    assert_eq!(now.expect("writes"), NOON + HOUR);
    assert_eq!(count(&metadata).await, 1);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join(FILE_NAME);
    std::fs::write(
        &file,
        "not a database, but long enough to look like a file of one".repeat(20),
    )
    .expect("writes");
    let refused = Metadata::open(&file, FakeClock::at(NOON))
        .map(drop)
        .expect_err("refuses");
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    let absent = directory.path().join("absent").join(FILE_NAME);
    let refused = Metadata::open(&absent, FakeClock::at(NOON))
        .map(drop)
        .expect_err("refuses");
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
}

#[test]
fn handles_and_their_futures_may_cross_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let (_directory, metadata) = world();
    let shared: Arc<Metadata> = sendable(Arc::new(metadata));
    drop(sendable(write(&shared, step("never polled", End::Succeed))));
}
