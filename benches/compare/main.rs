//! Seawall beside Debian's docker-registry and nginx, in one run and on one machine: figures are printed as
//! they are and as ratios. Needs both programs installed. `just bench compare`, or `cargo bench --bench compare`.

mod client;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

use client::{Client, Image};
use server::{Kind, Server};

/// Bytes of the layer that is pushed and pulled.
const LAYER: usize = 256 << 20;
/// How often the layer is pulled, and by how many at a time.
const PULLS: usize = 16;
const PULLERS: usize = 4;
/// How many manifests are asked for, over how many connections.
const MANIFESTS: usize = 20_000;
const ASKERS: usize = 16;

struct Figures {
    kind: Kind,
    push: Option<Cost>,
    pull: Cost,
    manifests: Cost,
    peak_kb: u64,
}

/// What some work took.
struct Cost {
    seconds: f64,
    cpu_seconds: f64,
}

fn main() {
    if !support::is_chosen("compare") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let image = Image::of_size(LAYER);
    let all: Vec<Figures> = [Kind::Seawall, Kind::DockerRegistry, Kind::Nginx]
        .into_iter()
        .filter_map(|kind| {
            let server = match Server::start(kind, directory.path(), &image) {
                Ok(server) => server,
                Err(error) => {
                    println!("{kind:?} is left out: {error}");
                    return None;
                }
            };
            Some(runtime.block_on(measure(&server, &image)))
        })
        .collect();
    print(&all);
}

async fn measure(server: &Server, image: &Image) -> Figures {
    let client = Client::of(server, image);
    let push = if server.kind == Kind::Nginx {
        None
    } else {
        let push = cost(server, client.push()).await;
        client.push_manifest().await;
        Some(push)
    };
    client.pull(1, 1).await;
    Figures {
        kind: server.kind,
        push,
        pull: cost(server, client.pull(PULLS, PULLERS)).await,
        manifests: cost(server, client.manifests(MANIFESTS, ASKERS)).await,
        peak_kb: server.process.peak_kb(),
    }
}

async fn cost(server: &Server, work: impl Future<Output = ()>) -> Cost {
    let (started, cpu) = (Instant::now(), server.process.cpu_seconds());
    work.await;
    Cost {
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: server.process.cpu_seconds() - cpu,
    }
}

fn print(all: &[Figures]) {
    let gib = LAYER as f64 / f64::from(1 << 30);
    println!(
        "{:<16} {:>12} {:>14} {:>12} {:>14} {:>14} {:>14} {:>10}",
        "",
        "push MiB/s",
        "cpu s/GiB",
        "pull MiB/s",
        "cpu s/GiB",
        "manifests/s",
        "cpu us each",
        "peak MiB"
    );
    for figures in all {
        let push = figures
            .push
            .as_ref()
            .map_or(("-".to_owned(), "-".to_owned()), |push| {
                (
                    format!("{:.0}", gib * 1024.0 / push.seconds),
                    format!("{:.2}", push.cpu_seconds / gib),
                )
            });
        let pulled = gib * PULLS as f64;
        println!(
            "{:<16} {:>12} {:>14} {:>12.0} {:>14.3} {:>14.0} {:>14.1} {:>10.1}",
            format!("{:?}", figures.kind),
            push.0,
            push.1,
            pulled * 1024.0 / figures.pull.seconds,
            figures.pull.cpu_seconds / pulled,
            MANIFESTS as f64 / figures.manifests.seconds,
            figures.manifests.cpu_seconds * 1e6 / MANIFESTS as f64,
            figures.peak_kb as f64 / 1024.0,
        );
    }
    let Some(seawall) = all.iter().find(|figures| figures.kind == Kind::Seawall) else {
        return;
    };
    for other in all.iter().filter(|figures| figures.kind != Kind::Seawall) {
        println!(
            "seawall / {:?}: pull {:.2}x the speed at {:.2}x the CPU, manifests {:.2}x the speed at {:.2}x the CPU",
            other.kind,
            other.pull.seconds / seawall.pull.seconds,
            seawall.pull.cpu_seconds / other.pull.cpu_seconds,
            other.manifests.seconds / seawall.manifests.seconds,
            seawall.manifests.cpu_seconds / other.manifests.cpu_seconds,
        );
        if let (Some(ours), Some(theirs)) = (&seawall.push, &other.push) {
            println!(
                "seawall / {:?}: push {:.2}x the speed at {:.2}x the CPU",
                other.kind,
                theirs.seconds / ours.seconds,
                ours.cpu_seconds / theirs.cpu_seconds,
            );
        }
    }
}
