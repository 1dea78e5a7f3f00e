//! Power cuts. A file system lies in an image, the image in a file on XFS; while clients work, the image file is cloned in a
//! moment (a reflink). A clone holds what had reached the disk then and nothing of what only memory held, as after a power
//! cut. Each is mounted, which recovers its journal, a server starts on it, and everything acknowledged before the clone is
//! asked of it. That this finds losses is shown by the same test with flushes that do nothing.

mod image;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Client, Trouble};
use crate::crash::moment;
use crate::disk::{Depth, inspect};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::report::Report;
use crate::run::Run;
use crate::server::{Server, Setup};
use crate::verify::verify;
use crate::work::Worker;
use image::{Disk, Host, Kind};

const CLIENTS: usize = 3;
/// Between two cuts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(350));

/// Things that are acknowledged before the first cut, so that each has something to lose.
const TO_LOSE: usize = 30;
/// A disk that takes longer for that is too slow for the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// One disk, and what its flushes do.
#[derive(Clone, Copy, Debug)]
struct Trial {
    name: &'static str,
    kind: Kind,
    cuts: usize,
    /// The files whose flushes do nothing: those whose path holds it, all with `-`.
    lies: Option<&'static str>,
}

const TRIALS: [Trial; 5] = [
    Trial {
        name: "ext4",
        kind: Kind::Ext4,
        cuts: 14,
        lies: None,
    },
    Trial {
        name: "xfs",
        kind: Kind::Xfs,
        cuts: 8,
        lies: None,
    },
    Trial {
        name: "lie",
        kind: Kind::Ext4,
        cuts: 4,
        lies: Some("-"),
    },
    Trial {
        name: "lie-blobs",
        kind: Kind::Ext4,
        cuts: 4,
        lies: Some("/uploads/"),
    },
    Trial {
        name: "lie-database",
        kind: Kind::Ext4,
        cuts: 4,
        lies: Some("/seawall.db"),
    },
];

/// What the clones of one trial came to.
#[derive(Debug, Default)]
struct Cuts {
    acknowledged: usize,
    doubtful: usize,
    /// Those on which something acknowledged was lost or half.
    losing: usize,
    problems: Vec<String>,
}

/// Runs the suite, or the one trial of it that is named.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    let host = Host::make(&run.home)?;
    let mut honest = 0;
    for trial in TRIALS {
        if run.only.as_deref().is_some_and(|only| only != trial.name) {
            continue;
        }
        let found = cut(run, &host, trial).await?;
        let (many, kind) = (trial.cuts, trial.kind.name());
        if let Some(files) = trial.lies {
            let which = if files == "-" { "all files" } else { files };
            let losing = found.losing;
            report.check(
                &format!(
                    "with flushes of {which} that do nothing, {losing} of {many} power cuts on {kind} lose something: the test sees it"
                ),
                losing > 0,
                "it saw nothing, so it proves nothing",
            );
            if let Some(problem) = found.problems.first() {
                println!("   for instance {problem}");
            }
            continue;
        }
        honest += many;
        let (acknowledged, doubtful) = (found.acknowledged, found.doubtful);
        report.holds(
            &format!(
                "{many} power cuts on {kind}: nothing acknowledged is lost, nothing is half (at the last one {acknowledged} things were acknowledged, {doubtful} in doubt)"
            ),
            &found.problems,
        );
        report.check(
            &format!("there was something to lose on {kind}"),
            acknowledged >= TO_LOSE / 2,
            acknowledged,
        );
    }
    if run.only.is_none() {
        report.check(
            &format!("{honest} honest cuts are twenty or more"),
            honest >= 20,
            honest,
        );
    }
    Ok(())
}

/// Works on a disk, clones it, and looks at the clones.
async fn cut(run: &Run, host: &Host, trial: Trial) -> Result<Cuts, String> {
    let mut random = run.random.part(trial.name);
    let disk = host.disk(trial.name, trial.kind)?;
    let setup = setup_on(run, trial.name, &disk);
    let server = match trial.lies {
        None => setup.start().await?,
        Some(files) => {
            let server = setup.start_with(&run.faults, "sync", &disk.mounted).await?;
            let faults = server.faults.as_ref();
            faults
                .ok_or("it was started with faults")?
                .lie(files)
                .await?;
            server
        }
    };
    let clones = clones(&server, &disk, trial, &mut random).await?;
    server.kill().await;
    drop(disk);

    let mut result = Cuts::default();
    for (at, ledgers) in clones.into_iter().enumerate() {
        let problems = look(run, host, trial, at, ledgers, &mut result).await?;
        result.losing += usize::from(!problems.is_empty());
        let problems = problems
            .into_iter()
            .map(|problem| format!("cut {at}: {problem}"));
        result.problems.extend(problems);
    }
    Ok(result)
}

fn setup_on(run: &Run, name: &str, disk: &Disk<'_>) -> Setup {
    let mut setup = run.setup(name);
    setup.root = disk.mounted.join("data");
    setup.state = setup.root.clone();
    setup
}

/// Clones the disk while clients work; returns for each clone what they knew then.
async fn clones(
    server: &Server,
    disk: &Disk<'_>,
    trial: Trial,
    random: &mut Random,
) -> Result<Vec<Vec<Ledger>>, String> {
    let client = server.client().map_err(|trouble| trouble.to_string())?;
    let (stop, stopped) = watch::channel(false);
    let mut working = JoinSet::new();
    let mut ledgers = Vec::new();
    for at in 0..CLIENTS {
        let worker = Worker::new(&format!("client{at}"), random);
        ledgers.push(Arc::clone(&worker.ledger));
        working.spawn(work(worker, client.clone(), stopped.clone()));
    }
    let mut copies = Vec::new();
    let begun = Instant::now();
    let acknowledged = || -> usize {
        let sizes = ledgers
            .iter()
            .map(|ledger| locked(ledger, |ledger| ledger.size().0));
        sizes.sum()
    };
    while acknowledged() < TO_LOSE && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    for at in 0..trial.cuts {
        sleep(moment(random, PAUSE)).await;
        let mut before: Vec<Ledger> = ledgers
            .iter()
            .map(|ledger| locked(ledger, Ledger::copy_begins))
            .collect();
        disk.clone_as(&format!("{}-{at}", trial.name))?;
        for (ledger, copied) in ledgers.iter().zip(&mut before) {
            locked(ledger, |ledger| ledger.copy_ends(copied));
        }
        copies.push(before);
    }
    stop.send_replace(true);
    while let Some(ended) = working.join_next().await {
        let ended = ended.map_err(|error| error.to_string())?;
        ended.map_err(|trouble| trouble.to_string())?;
    }
    Ok(copies)
}

fn locked<T>(ledger: &Mutex<Ledger>, then: impl FnOnce(&mut Ledger) -> T) -> T {
    then(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn work(
    mut worker: Worker,
    client: Client,
    stopped: watch::Receiver<bool>,
) -> Result<(), Trouble> {
    while !*stopped.borrow() {
        worker.step(&client).await?;
    }
    Ok(())
}

/// Starts a server on a clone and returns what is wrong with it.
async fn look(
    run: &Run,
    host: &Host,
    trial: Trial,
    at: usize,
    ledgers: Vec<Ledger>,
    result: &mut Cuts,
) -> Result<Vec<String>, String> {
    let name = format!("{}-{at}", trial.name);
    // Only the server's flushes lie: the file system's own journal is sound, and a clone that cannot be mounted is no finding.
    let disk = host.mount(&name, trial.kind)?;
    let setup = setup_on(run, &name, &disk);
    let server = match setup.start().await {
        Ok(server) => server,
        Err(error) => return Ok(vec![error]),
    };
    let mut problems = Vec::new();
    (result.acknowledged, result.doubtful) = (0, 0);
    match server.client() {
        Ok(client) => {
            for mut ledger in ledgers {
                let (acknowledged, doubtful) = ledger.size();
                result.acknowledged += acknowledged;
                result.doubtful += doubtful;
                problems.extend(verify(&client, &mut ledger).await);
            }
            problems.extend(inspect(&setup, &client, Depth::Whole).await.problems);
        }
        Err(trouble) => problems.push(trouble.to_string()),
    }
    server.kill().await;
    Ok(problems)
}
