//! Kills while the collector takes what clients just let go of: it is asked again and again, without grace, and leases are short.

use std::time::Duration;

use super::pushes::{self, Plan};
use super::{Cycles, Random};
use crate::disk::Depth;
use crate::run::Run;
use crate::work::Worker;

const CLIENTS: usize = 3;
/// Also how long nothing is collected after a kill, so the clients have to work longer than that.
const LEASE: Duration = Duration::from_millis(600);

/// Runs the part.
pub(super) async fn run(run: &Run, random: &Random, cycles: usize) -> Result<Cycles, String> {
    let mut setup = run.setup("collect");
    setup.more = format!("gc: {{grace: 0s, lease: {}ms}}\n", LEASE.as_millis());
    let random = random.part("collect");
    let workers = (0..CLIENTS).map(|at| {
        let mut worker = Worker::new(&format!("client{at}"), &random);
        worker.half_lease = LEASE / 2;
        worker.ledger().collected = true;
        worker
    });
    let workers = workers.collect();
    let plan = Plan {
        cycles,
        between: (LEASE, LEASE * 3),
        depth: Depth::Whole,
        collecting: true,
    };
    let mut result = pushes::killed(&setup, workers, random, plan).await?;
    if result.collected == 0 {
        result
            .problems
            .push("nothing was ever collected".to_owned());
    }
    println!("   {} blobs were collected", result.collected);
    Ok(result)
}
