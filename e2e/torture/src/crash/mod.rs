//! kill -9 in the middle of everything a server does: pushes and deletes, mirror fills and evictions, migrations, collections.
//! After each, what was acknowledged is there, what was in doubt is whole or absent, and the restart takes no second.

mod collect;
mod large;
mod migration;
mod mirror;
mod pushes;

use std::time::{Duration, Instant};

use crate::random::Random;
use crate::report::Report;
use crate::run::Run;

/// A restart, also after a kill and with a hundred thousand blobs, takes less than this.
const RESTART: Duration = Duration::from_secs(1);

/// The parts of the suite, and what is killed in each.
const PARTS: [(&str, &str); 5] = [
    ("pushes", "pushes and deletes"),
    ("mirror", "mirror fills and evictions"),
    ("collect", "collections beside pushes"),
    ("migration", "migrations"),
    ("large", "pushes beside 100,000 blobs"),
];

/// What the cycles of one part came to.
#[derive(Debug, Default)]
pub(crate) struct Cycles {
    pub(crate) count: usize,
    pub(crate) restarts: Vec<Duration>,
    pub(crate) problems: Vec<String>,
    /// Blobs that were told to be collected.
    pub(crate) collected: u64,
    /// Files with right bytes and without a row that were found.
    pub(crate) extra: usize,
}

impl Cycles {
    /// Adds `problems` of the cycle that runs.
    pub(crate) fn add(&mut self, problems: Vec<String>) {
        let cycle = self.count;
        let named = problems
            .into_iter()
            .map(|problem| format!("cycle {cycle}: {problem}"));
        self.problems.extend(named);
    }

    fn slowest(&self) -> Duration {
        self.restarts.iter().copied().max().unwrap_or_default()
    }

    /// Prints what the part came to.
    fn tell(&self, report: &mut Report, what: &str) {
        let slowest = self.slowest().as_millis();
        let extra = self.extra;
        report.holds(
            &format!("{} kills during {what}: nothing lost, nothing half ({extra} files without a row met)", self.count),
            &self.problems,
        );
        report.check(
            &format!(
                "every restart after a kill during {what} is under a second (slowest {slowest} ms)"
            ),
            self.slowest() < RESTART && !self.restarts.is_empty(),
            format!("{:?}", self.restarts),
        );
    }
}

/// Runs the suite, or the one part of it that is named.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    let random = run.random.part("crash");
    let mut kills = 0;
    for (part, what) in PARTS {
        if run.only.as_deref().is_some_and(|only| only != part) {
            continue;
        }
        let begun = Instant::now();
        let cycles = match part {
            "pushes" => pushes::run(run, &random, 45).await?,
            "mirror" => mirror::run(run, &random, 18).await?,
            "collect" => collect::run(run, &random, 14).await?,
            "migration" => migration::run(run, &random, 24).await?,
            _ => large::run(run, &random, 10).await?,
        };
        cycles.tell(report, what);
        println!("   {part}: {:.1} s", begun.elapsed().as_secs_f64());
        kills += cycles.count;
    }
    if run.only.is_none() {
        let sentence = format!("{kills} kills are a hundred or more");
        report.check(&sentence, kills >= 100, kills);
    }
    Ok(())
}

/// Returns a moment between two.
pub(crate) fn moment(random: &mut Random, (least, most): (Duration, Duration)) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.between(micros(least), micros(most).max(micros(least) + 1)))
}
