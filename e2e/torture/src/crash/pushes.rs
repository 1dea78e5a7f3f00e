//! Kills while several clients push, mount, move and delete.

use std::time::Duration;

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
            return Ok(result);
        }
        let mut working = JoinSet::new();
        for worker in workers.drain(..) {
            working.spawn(work(worker, client.clone()));
        }
        sleep(moment(&mut random, plan.between)).await;
        server.kill().await;
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
