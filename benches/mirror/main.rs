//! An image pulled through a mirror, cold and warm, and directly, by one client and by 64, over a line to the upstream that all
//! share; beside Seawall, Debian's docker-registry as the mirror, with the same configuration file. Needs docker-registry
//! installed. `just bench mirror`, or `cargo bench --bench mirror`.

mod image;
#[path = "../support/mod.rs"]
mod support;
mod throttle;

use std::io;
use std::path::Path;
use std::sync::Arc;

use image::{Image, Waited};
use support::process::{Process, docker_registry, free_port, registry_config, seawall};
use throttle::Throttle;

/// The image: so many layers of so many bytes.
const LAYERS: u64 = 8;
const LAYER: usize = 12 << 20;
/// What the line to the upstream carries, in bytes per second: one gigabit.
const LINE: f64 = 125e6;
/// How many clients pull at once.
const CLIENTS: [usize; 2] = [1, 64];

/// A program that can be a mirror.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Seawall,
    DockerRegistry,
}

/// What a round of pulls took.
struct Round {
    way: String,
    /// Until the first byte of a layer, in seconds; of all clients the one in the middle.
    first_byte: f64,
    /// Until the image is whole, in seconds; of all clients the one in the middle, and the last.
    whole: f64,
    last: f64,
    /// What the upstream sent, in images.
    fetched: f64,
    mirror: Option<Cost>,
}

/// What a mirror used.
struct Cost {
    cpu_seconds: f64,
    peak_kb: u64,
}

fn main() {
    if !support::is_chosen("mirror") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    if let Err(error) = runtime.block_on(run(directory.path())) {
        println!("the mirror benchmark is left out: docker-registry: {error}");
    }
}

/// Measures and prints every way to pull, first for one client.
async fn run(directory: &Path) -> io::Result<()> {
    let image = Arc::new(Image::new(LAYERS, LAYER));
    let (_upstream, port) = start(docker_registry("serve"), &directory.join("upstream"), "")?;
    image.push(port).await;
    let line = Throttle::start(port, LINE).await?;
    println!(
        "{LAYERS} layers of {} MiB, over a line of {:.0} MB/s to the upstream",
        LAYER >> 20,
        LINE / 1e6
    );
    for clients in CLIENTS {
        let mut rounds = vec![round("direct".to_owned(), &image, &line, line.port, clients).await];
        for kind in [Kind::Seawall, Kind::DockerRegistry] {
            let home = directory.join(format!("{kind:?}-{clients}"));
            rounds.extend(mirror(kind, &home, &image, &line, clients).await?);
        }
        print(clients, &rounds);
    }
    Ok(())
}

/// Pulls twice through a new mirror: it has nothing, and then everything.
async fn mirror(
    kind: Kind,
    home: &Path,
    image: &Arc<Image>,
    line: &Throttle,
    clients: usize,
) -> io::Result<Vec<Round>> {
    let command = match kind {
        Kind::Seawall => seawall(),
        Kind::DockerRegistry => docker_registry("serve"),
    };
    let proxy = format!("proxy: {{remoteurl: 'http://127.0.0.1:{}'}}\n", line.port);
    let (process, port) = start(command, home, &proxy)?;
    let mut rounds = Vec::new();
    for state in ["cold", "warm"] {
        let cpu = process.cpu_seconds();
        let mut round = round(format!("{kind:?} {state}"), image, line, port, clients).await;
        round.mirror = Some(Cost {
            cpu_seconds: process.cpu_seconds() - cpu,
            peak_kb: process.peak_kb(),
        });
        rounds.push(round);
    }
    Ok(rounds)
}

fn start(
    mut command: std::process::Command,
    home: &Path,
    more: &str,
) -> io::Result<(Process, u16)> {
    let port = free_port()?;
    command.arg(registry_config(home, port, more)?);
    Ok((Process::start(command, port)?, port))
}

async fn round(
    way: String,
    image: &Arc<Image>,
    line: &Throttle,
    port: u16,
    clients: usize,
) -> Round {
    let before = line.passed();
    let waited = image.pull(port, clients).await;
    let sorted = |seconds: fn(&Waited) -> f64| {
        let mut all: Vec<f64> = waited.iter().map(seconds).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let first_bytes = sorted(|one| one.first_byte.as_secs_f64());
    let wholes = sorted(|one| one.whole.as_secs_f64());
    Round {
        way,
        first_byte: first_bytes[clients / 2],
        whole: wholes[clients / 2],
        last: wholes[clients - 1],
        fetched: (line.passed() - before) as f64 / image.size() as f64,
        mirror: None,
    }
}

/// Prints a round per line; the ratios compare the last client's time with that of pulling directly, which is the first.
fn print(clients: usize, rounds: &[Round]) {
    println!(
        "\n{:<22} {:>13} {:>10} {:>10} {:>10} {:>16} {:>8} {:>9}",
        format!("{clients} at once"),
        "first byte ms",
        "image s",
        "last s",
        "x direct",
        "upstream images",
        "cpu s",
        "peak MiB"
    );
    for round in rounds {
        let (cpu, peak) = round
            .mirror
            .as_ref()
            .map_or(("-".to_owned(), "-".to_owned()), |cost| {
                (
                    format!("{:.2}", cost.cpu_seconds),
                    format!("{:.1}", cost.peak_kb as f64 / 1024.0),
                )
            });
        println!(
            "{:<22} {:>13.1} {:>10.2} {:>10.2} {:>10.3} {:>16.3} {cpu:>8} {peak:>9}",
            round.way,
            round.first_byte * 1e3,
            round.whole,
            round.last,
            round.last / rounds[0].last,
            round.fetched,
        );
    }
    let [_, cold, warm, rival_cold, rival_warm] = rounds else {
        return;
    };
    for (state, ours, theirs) in [("cold", cold, rival_cold), ("warm", warm, rival_warm)] {
        println!(
            "seawall / docker-registry, {state}: {:.2}x the time to the first byte, {:.2}x to the last client's image",
            ours.first_byte / theirs.first_byte,
            ours.last / theirs.last,
        );
    }
}
