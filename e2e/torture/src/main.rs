//! Drives a real Seawall through crashes, failing disks, full disks and power cuts, remembers what was acknowledged, and
//! checks that all of it is there afterwards. The suites of `e2e` run it; it never looks into Seawall's code.

mod client;
mod content;
mod crash;
mod disk;
mod faults;
mod full;
mod inject;
mod ledger;
mod power;
mod race;
mod random;
mod report;
mod run;
mod server;
mod tmpfs;
mod verify;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::random::Random;
use crate::report::Report;
use crate::run::Run;

/// Crashes, failing disks and power cuts for a real Seawall.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to do to it.
    suite: Suite,
    /// The server.
    #[arg(long)]
    seawall: PathBuf,
    /// The program made of faults.c.
    #[arg(long, default_value = "faults")]
    faults: PathBuf,
    /// An existing folder of its own.
    #[arg(long)]
    home: PathBuf,
    /// The same seed does the same again, as far as a kill can hit the same moment twice.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this part of the suite.
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Suite {
    /// kill -9 at random moments.
    Crash,
    /// Single calls that fail.
    Inject,
    /// A disk without room.
    Full,
    /// Power cuts.
    Power,
    /// Pushes beside collections without any grace.
    Race,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    println!("seed {seed}");
    let run = Run {
        seawall: arguments.seawall,
        faults: arguments.faults,
        home: arguments.home,
        random: Random::new(seed),
        only: arguments.only,
    };
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match arguments.suite {
                Suite::Crash => crash::run(&run, &mut report).await,
                Suite::Inject => inject::run(&run, &mut report).await,
                Suite::Full => full::run(&run, &mut report).await,
                Suite::Power => power::run(&run, &mut report).await,
                Suite::Race => race::run(&run, &mut report).await,
            }
        }),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = ended {
        report.check("the suite comes to its end", false, reason);
    }
    if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns a seed that differs from run to run.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}
