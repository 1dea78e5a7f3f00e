//! Kills while several clients push, mount, move and delete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Cycles, moment};
use crate::client::{Client, Trouble};
use crate::disk::{Depth, inspect};
use crate::random::Random;
use crate::run::Run;
use crate::server::Setup;
use crate::verify::verify;
use crate::work::Worker;

const CLIENTS: usize = 3;
const KILL_WITHIN: Duration = Duration::from_millis(400);

/// How a part kills.
pub(super) struct Plan {
    pub(super) cycles: usize,
    /// When to kill, after the clients began.
    pub(super) between: (Duration, Duration),
    pub(super) depth: Depth,
    /// Whether all that may be is collected again and again beside the clients.
    pub(super) collecting: bool,
}

/// Runs the part.
pub(super) async fn run(run: &Run, random: &Random, cycles: usize) -> Result<Cycles, String> {
    let setup = run.setup("pushes");
    let random = random.part("pushes");
    let workers = (0..CLIENTS)
        .map(|at| Worker::new(&format!("client{at}"), &random))
        .collect();
    let plan = Plan {
        cycles,
        between: (Duration::ZERO, KILL_WITHIN),
        depth: Depth::Whole,
        collecting: false,
    };
    killed(&setup, workers, random, plan).await
}

/// Kills the server while `workers` work on it.
pub(super) async fn killed(
    setup: &Setup,
    mut workers: Vec<Worker>,
    mut random: Random,
    plan: Plan,
) -> Result<Cycles, String> {
    let mut result = Cycles::default();
    loop {
        let server = setup.start().await?;
        if result.count > 0 {
            result.restarts.push(server.ready_after);
        }
        let client = server.client().map_err(|trouble| trouble.to_string())?;
        for worker in &workers {
            let mut ledger = worker.ledger().clone();
            let problems = verify(&client, &mut ledger).await;
            *worker.ledger() = ledger;
            result.add(problems);
        }
        let found = inspect(setup, &client, plan.depth).await;
        result.add(found.problems);
        result.extra = found.extra;
        if result.count == plan.cycles {
            let ended = server.stop().await?;
            if !ended.success() {
                result.add(vec![format!("the last stop: {ended}")]);
            }
            result.add(setup.fsck().await);
            return Ok(result);
        }
        let mut working = JoinSet::new();
        for worker in workers.drain(..) {
            working.spawn(work(worker, client.clone()));
        }
        let collecting = plan
            .collecting
            .then(|| tokio::spawn(collect(setup.socket())));
        sleep(moment(&mut random, plan.between)).await;
        server.kill().await;
        if let Some(collecting) = collecting {
            let (blobs, wrong) = collecting.await.map_err(|error| error.to_string())?;
            result.collected += blobs;
            result.add(wrong);
        }
        result.count += 1;
        while let Some(ended) = working.join_next().await {
            let (worker, wrong) = ended.map_err(|error| error.to_string())?;
            result.add(wrong);
            workers.push(worker);
        }
    }
}

/// Works until the connection breaks; returns what was wrong before.
async fn work(mut worker: Worker, client: Client) -> (Worker, Vec<String>) {
    loop {
        match worker.step(&client).await {
            Ok(()) => {}
            Err(Trouble::Broken(_)) => return (worker, Vec::new()),
            Err(trouble) => return (worker, vec![trouble.to_string()]),
        }
    }
}

/// Has the server collect until the connection breaks; returns how many blobs went, and what was wrong.
async fn collect(socket: PathBuf) -> (u64, Vec<String>) {
    let mut blobs = 0;
    loop {
        match collect_once(&socket).await {
            Ok(taken) => blobs += taken,
            Err(Trouble::Broken(_)) => return (blobs, Vec::new()),
            Err(trouble) => return (blobs, vec![trouble.to_string()]),
        }
    }
}

async fn collect_once(socket: &Path) -> Result<u64, Trouble> {
    const JSON: &str = "application/json";
    let client = Client::of_socket(socket)?;
    let ask = Bytes::from_static(br#"{"grace": "0s"}"#);
    let asked = client
        .send(Method::POST, "/api/v1/gc/run", JSON, ask)
        .await?;
    let job = asked.expect(&[202])?.location()?;
    loop {
        let told = client.get(&job).await?.expect(&[200])?;
        let view = told.json()?;
        match view["state"].as_str() {
            Some("done") => return Ok(view["progress"]["blobs"].as_u64().unwrap_or_default()),
            Some("failed") => return Err(Trouble::Wrong(told.to_string())),
            _ => sleep(Duration::from_millis(5)).await,
        }
    }
}
