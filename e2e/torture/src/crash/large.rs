//! Kills beside a hundred thousand blobs: no start may look at each of them.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::pushes::Plan;
use super::{Cycles, pushes};
use crate::content::digest_of;
use crate::disk::{Depth, place};
use crate::random::Random;
use crate::run::Run;
use crate::server::Setup;
use crate::tmpfs::Tmpfs;
use crate::work::Worker;

const BLOBS: u32 = 100_000;

/// Runs the part.
pub(super) async fn run(run: &Run, random: &Random, cycles: usize) -> Result<Cycles, String> {
    // Only their number matters, and a real disk takes minutes to make and remove so many files. The database is on one.
    let disk = Tmpfs::mount(&run.home.join("large.blobs"), "4g")?;
    let mut setup = run.setup("large");
    setup.root = disk.path().join("data");
    let random = random.part("large");
    // The server makes the schema, and the rest is laid beside it: pushing so much would take minutes.
    setup.start().await?.stop().await?;
    let begun = Instant::now();
    fill(&setup).map_err(|error| format!("the blobs cannot be made: {error}"))?;
    println!(
        "   100,000 blobs were laid in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let workers = vec![Worker::new("client", &random)];
    let plan = Plan {
        cycles,
        between: (Duration::ZERO, Duration::from_millis(300)),
        depth: Depth::Database,
        collecting: false,
    };
    pushes::killed(&setup, workers, random, plan).await
}

/// Lays small blobs into the store and their rows into the database, as a push would have left them.
fn fill(setup: &Setup) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = Connection::open(setup.database())?;
    let write = connection.transaction()?;
    write.execute(
        "INSERT INTO repositories (name, kind, created_at) VALUES ('bulk/many', 1, 1)",
        [],
    )?;
    let repository = write.last_insert_rowid();
    {
        let mut blob = write.prepare(
            "INSERT INTO blobs (digest, size, state, lease_until, created_at) VALUES (?1, ?2, 1, 0, 1)",
        )?;
        let mut member = write.prepare(
            "INSERT INTO repository_blobs (repository_id, digest, added_at, added_by, origin) VALUES (?1, ?2, 1, 'anonymous', 1)",
        )?;
        // Nothing names them: they wait for the collector's grace, as they do after a push.
        let mut candidate = write.prepare(
            "INSERT INTO gc_candidates (repository_id, digest, kind, since) VALUES (?1, ?2, 1, unixepoch() * 1000000)",
        )?;
        for number in 0..BLOBS {
            let bytes = format!("blob {number}");
            let digest = digest_of(bytes.as_bytes());
            let hex = &digest["sha256:".len()..];
            let file = place(&setup.root, hex, None);
            fs::create_dir_all(file.parent().unwrap_or(&setup.root))?;
            fs::File::create(file)?.write_all(bytes.as_bytes())?;
            let row = row_digest(hex)?;
            blob.execute((&row, i64::try_from(bytes.len())?))?;
            member.execute((repository, &row))?;
            candidate.execute((repository, &row))?;
        }
    }
    write.commit()?;
    Ok(())
}

/// Returns a digest as rows have it: the algorithm's byte and the raw bytes.
fn row_digest(hex: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16));
    std::iter::once(Ok(1)).chain(bytes).collect()
}
