//! Random walks: pushes, moves, deletions, mounts, referrers, nested indexes, collections, evictions, restarts and
//! jumps of the clock, on the server and on a model of it; nothing may differ. A failure prints the seed, and
//! `MODEL_SEED=<seed> MODEL_OPERATIONS=<count> cargo test --test stories model` walks the same way again.
//! `MODEL_SEEDS` says how many seeds there are, from `MODEL_SEED` on.

mod compare;
mod random;
mod registry;
mod walk;

use self::walk::Walk;

/// Seeds and operations of a plain `cargo test`; `e2e/run model` walks much further.
const SEEDS: u64 = 2;
const OPERATIONS: u64 = 400;

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("the variable is a number"),
        Err(_) => otherwise,
    }
}

#[test]
fn random_walks_end_where_the_model_says() {
    let first = number("MODEL_SEED", 1);
    let operations = number("MODEL_OPERATIONS", OPERATIONS);
    let seeds: Vec<u64> = (first..first + number("MODEL_SEEDS", SEEDS)).collect();
    // Two at a time, each in a world of its own.
    let halves: Vec<Vec<u64>> = (0..2)
        .map(|half| {
            seeds
                .iter()
                .copied()
                .filter(|seed| seed % 2 == half)
                .collect()
        })
        .collect();
    std::thread::scope(|scope| {
        for half in halves {
            scope.spawn(move || half.into_iter().for_each(|seed| walk(seed, operations)));
        }
    });
    println!(
        "{} seeds with {operations} operations each, no difference",
        seeds.len()
    );
}

fn walk(seed: u64, operations: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let guard = Told { seed, operations };
    runtime.block_on(async {
        let mut walk = Walk::start(seed).await;
        for step in 0..operations {
            walk.step(step).await;
        }
        walk.compare_all().await;
    });
    std::mem::forget(guard);
}

/// Says which walk it was, should it end in a panic.
struct Told {
    seed: u64,
    operations: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        let Self { seed, operations } = self;
        eprintln!("the walk failed: MODEL_SEED={seed} MODEL_OPERATIONS={operations}");
    }
}
