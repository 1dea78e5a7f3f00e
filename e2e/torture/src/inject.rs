//! A disk that fails once: the n-th write, flush, rename, open or read, with EIO or ENOSPC, for every n that a fixed walk of
//! requests reaches. Whoever asked while it failed must not be told that all went well if it was a flush; nobody gets a
//! wrong whole body; the next walk succeeds without a restart; and after a kill everything acknowledged is there.

mod starts;
mod walk;

use std::path::Path;

use crate::client::Client;
use crate::disk::{Depth, inspect};
use crate::faults::{Class, Errno};
use crate::report::Report;
use crate::run::Run;
use crate::server::{Server, Setup};
use crate::tmpfs::Tmpfs;
use crate::verify::verify;
use walk::{Struck, Walk};

/// Failures of one class and error that are tried; where a walk makes more calls, they are spread over all of it.
const MOST: u64 = 30;
/// Every so many failures the server is killed and what it acknowledged is asked of the next one.
const KILL_EVERY: u64 = 8;

/// What one class of calls with one error came to.
#[derive(Debug, Default)]
struct Sweep {
    calls: u64,
    tried: u64,
    fired: u64,
    lied: Vec<String>,
    told_wrong: Vec<String>,
    not_again: Vec<String>,
    lost: Vec<String>,
}

/// Runs the suite.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    if run.only.is_none() || run.only.as_deref() == Some("starts") {
        starts::run(run, report).await?;
    }
    // Whether a flush reaches a disk makes no difference here, and there are thousands of them.
    let memory = Tmpfs::mount(&run.home.join("memory"), "2g")?;
    for class in Class::ALL {
        if run.only.as_deref().is_some_and(|only| only != class.name()) {
            continue;
        }
        // Two at a time: each waits for its disk most of the time.
        let (io, space) = tokio::join!(
            sweep(run, &memory, class, Errno::Io),
            sweep(run, &memory, class, Errno::NoSpace)
        );
        for (errno, sweep) in [(Errno::Io, io?), (Errno::NoSpace, space?)] {
            let Sweep {
                calls,
                tried,
                fired,
                ..
            } = sweep;
            let (class, errno) = (class.name(), errno.name());
            let name = format!(
                "{errno} of {class} ({fired} of {tried} struck, a walk makes {calls} calls)"
            );
            report.check(
                &format!("{name}: the calls are met"),
                fired > 0 && fired * 2 >= tried,
                fired,
            );
            report.holds(
                &format!("{name}: no success is told after it that is none"),
                &sweep.lied,
            );
            report.holds(
                &format!(
                    "{name}: what is told is whole, or an error with a code and without a path"
                ),
                &sweep.told_wrong,
            );
            report.holds(
                &format!("{name}: the next walk succeeds without a restart"),
                &sweep.not_again,
            );
            report.holds(
                &format!("{name}: after a kill nothing acknowledged is lost, nothing is half"),
                &sweep.lost,
            );
        }
    }
    Ok(())
}

async fn sweep(run: &Run, memory: &Tmpfs, class: Class, errno: Errno) -> Result<Sweep, String> {
    let name = format!("{}-{}", class.name(), errno.name());
    let mut setup = run.setup(&name);
    setup.root = memory.path().join(&name);
    setup.state = setup.root.clone();
    let mut random = run.random.part(&name);
    let mut walk = Walk::new(&random);
    let mut result = Sweep::default();
    let mut server = begin(run, &setup, class).await?;

    // A walk on which nothing fails tells how many calls there are, once what is made only once has been made.
    for _ in 0..2 {
        arm(&server, u64::MAX >> 1, errno).await?;
        let client = client(&server)?;
        result
            .not_again
            .extend(walk.go(&client, &server, &setup.home).await?.problems());
    }
    result.calls = told(&server).await?;
    let step = result.calls.div_ceil(MOST).max(1);
    let mut n = 1 + random.between(0, step);
    while n <= result.calls {
        result.tried += 1;
        arm(&server, n, errno).await?;
        let struck = walk.go(&client(&server)?, &server, &setup.home).await?;
        note(&mut result, class, n, &struck);
        if let Some(ended) = server.ended() {
            // It may end, if it says why; what it acknowledged is asked of the next one.
            if !ended.contains("exit status") {
                result
                    .not_again
                    .push(format!("n = {n}: the server ended by {ended}"));
            }
            server = begin(run, &setup, class).await?;
        } else {
            disarm(&server).await?;
        }
        let again = walk.go(&client(&server)?, &server, &setup.home).await?;
        let again = again
            .problems()
            .into_iter()
            .map(|problem| format!("n = {n}, after {struck}: {problem}"));
        result.not_again.extend(again);
        if result.tried % KILL_EVERY == 0 {
            server.kill().await;
            server = after_kill(run, &setup, class, &mut walk, &mut result).await?;
        }
        n += step;
    }
    server.kill().await;
    let server = after_kill(run, &setup, class, &mut walk, &mut result).await?;
    server.stop().await?;
    Ok(result)
}

fn note(result: &mut Sweep, class: Class, n: u64, struck: &Struck) {
    let Some(failed) = &struck.failed else { return };
    result.fired += 1;
    if class == Class::Sync && struck.succeeded && matters(failed) {
        result
            .lied
            .push(format!("n = {n}: {struck} was told to have succeeded"));
    }
    result
        .told_wrong
        .extend(struck.wrong.iter().map(|wrong| format!("n = {n}: {wrong}")));
}

/// Whether an answer depends on this flush. The reserve may be taken another time. A checkpoint flushes the log once more,
/// to which nothing was written since the commit that was answered, and the file to which it moves what the log holds.
fn matters(failed: &str) -> bool {
    let clean_log = failed.contains(" clean ") && failed.ends_with(".db-wal");
    !clean_log && !failed.ends_with("seawall.reserve") && !failed.ends_with("seawall.db")
}

/// Starts the next server and asks it for everything.
async fn after_kill(
    run: &Run,
    setup: &Setup,
    class: Class,
    walk: &mut Walk,
    result: &mut Sweep,
) -> Result<Server, String> {
    let server = begin(run, setup, class).await?;
    let client = client(&server)?;
    let mut ledger = walk.worker.ledger().clone();
    let problems = verify(&client, &mut ledger).await;
    *walk.worker.ledger() = ledger;
    result.lost.extend(problems);
    result
        .lost
        .extend(inspect(setup, &client, Depth::AfterFailures).await.problems);
    Ok(server)
}

async fn begin(run: &Run, setup: &Setup, class: Class) -> Result<Server, String> {
    setup
        .start_with(&run.faults, class.name(), folder(setup))
        .await
}

fn folder(setup: &Setup) -> &Path {
    &setup.root
}

fn client(server: &Server) -> Result<Client, String> {
    server.client().map_err(|trouble| trouble.to_string())
}

async fn arm(server: &Server, n: u64, errno: Errno) -> Result<(), String> {
    match &server.faults {
        Some(faults) => faults.arm(n, errno).await,
        None => Err("the server runs without faults".to_owned()),
    }
}

async fn disarm(server: &Server) -> Result<(), String> {
    match &server.faults {
        Some(faults) => faults.disarm().await,
        None => Ok(()),
    }
}

async fn told(server: &Server) -> Result<u64, String> {
    match &server.faults {
        Some(faults) => Ok(faults.told().await?.calls),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::matters;

    #[test]
    fn a_flush_that_a_checkpoint_makes_is_nobodys_answer() {
        assert!(matters("fdatasync dirty /data/seawall.db-wal"));
        assert!(!matters("fdatasync clean /data/seawall.db-wal"));
        assert!(!matters("fdatasync dirty /data/seawall.db"));
        assert!(matters("fsync clean /data/uploads/0c8f5a3e"));
    }
}
