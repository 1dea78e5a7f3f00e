//! Pushers that share layers, mounts, deletions, and a collection without any grace again and again: no tagged image may
//! break. The same is done to Debian's docker-registry, whose collection is not made for this; that it breaks images there
//! shows that the race is one.

mod collector;
mod pusher;

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use self::collector::{Collected, collect_by_command, collect_by_socket};
use self::pusher::{Pushed, Pusher, layers};
use crate::client::Client;
use crate::report::Report;
use crate::run::Run;

const PUSHERS: usize = 4;
/// How long the pushers push.
const TIME: Duration = Duration::from_secs(20);
/// How long "exists" protects: longer than a push takes here, and much shorter than the race.
const SETTINGS: &str = "mirrors: []\ngc: {lease: 2s, enabled: false}\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of one server.
#[derive(Debug, Default)]
struct Outcome {
    pushed: Pushed,
    collected: Collected,
    tagged: usize,
    broken: Vec<String>,
}

/// Runs the race on both and prints them side by side.
pub(crate) async fn run(run: &Run, report: &mut Report) -> Result<(), String> {
    let seawall = seawall(run).await?;
    let registry = docker_registry(run).await?;
    println!(
        "                 images tagged  broken  pushes refused  collections  blobs collected"
    );
    for (name, outcome) in [("Seawall", &seawall), ("docker-registry", &registry)] {
        println!(
            "{name:16} {:13}  {:6}  {:14}  {:11}  {:15}",
            outcome.tagged,
            outcome.broken.len(),
            outcome.pushed.refused,
            outcome.collected.runs,
            outcome.collected.blobs
        );
    }
    let Outcome {
        pushed,
        collected,
        tagged,
        broken,
    } = &seawall;
    report.holds(
        "no tagged image breaks while four push, mount and delete and nothing has any grace",
        broken,
    );
    report.check(
        "it was a race: images were tagged and blobs collected all the time",
        *tagged > 0 && pushed.tagged > 50 && collected.runs > 5 && collected.blobs > 50,
        format!("{seawall:?}"),
    );
    report.check(
        "the same race breaks images of docker-registry",
        !registry.broken.is_empty(),
        format!(
            "{} of {} images broke there",
            registry.broken.len(),
            registry.tagged
        ),
    );
    Ok(())
}

async fn seawall(run: &Run) -> Result<Outcome, String> {
    let mut setup = run.setup("seawall");
    setup.more = SETTINGS.to_owned();
    let server = setup.start().await?;
    let base = format!("http://{}", server.address);
    let socket = Client::of_socket(&setup.socket()).map_err(|error| error.to_string())?;
    let outcome = race(run, &base, |stop| async move {
        collect_by_socket(&socket, &stop).await
    })
    .await?;
    server.stop().await?;
    Ok(outcome)
}

async fn docker_registry(run: &Run) -> Result<Outcome, String> {
    let (config, port) = registry_config(&run.home).map_err(|error| error.to_string())?;
    let mut server = start_registry(&config, port).await?;
    let base = format!("http://127.0.0.1:{port}");
    let outcome = race(run, &base, |stop| async move {
        collect_by_command(&config, &stop).await
    })
    .await?;
    server.kill().await.map_err(|error| error.to_string())?;
    Ok(outcome)
}

/// Pushes and collects at the same time, and looks at every tagged image afterwards.
async fn race<F>(
    run: &Run,
    base: &str,
    collect: impl FnOnce(Arc<AtomicBool>) -> F,
) -> Result<Outcome, String>
where
    F: Future<Output = Result<Collected, String>> + Send + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let collecting = tokio::spawn(collect(Arc::clone(&stop)));
    let shared = layers(&run.random);
    let mut pushers = Vec::new();
    for number in 0..PUSHERS {
        let client = Client::new(base).map_err(|error| error.to_string())?;
        let random = run.random.part(&format!("pusher {number}"));
        let mut pusher = Pusher::new(number, client, shared.clone(), random);
        let stop = Arc::clone(&stop);
        pushers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                pusher.turn().await?;
            }
            Ok::<_, String>(pusher)
        }));
    }
    sleep(TIME).await;
    stop.store(true, Ordering::Relaxed);
    let collected = collecting.await.map_err(|error| error.to_string())??;
    let mut outcome = Outcome {
        collected,
        ..Outcome::default()
    };
    for pusher in pushers {
        let pusher = pusher.await.map_err(|error| error.to_string())??;
        outcome.pushed.add(pusher.pushed());
        outcome.tagged += pusher.alive();
        outcome.broken.extend(pusher.broken().await?);
    }
    Ok(outcome)
}

fn registry_config(home: &Path) -> io::Result<(PathBuf, u16)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let file = home.join("docker-registry.yml");
    let root = home.join("docker-registry");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
        root.display()
    );
    std::fs::create_dir_all(root.join("docker/registry/v2/repositories"))?;
    std::fs::write(&file, text)?;
    Ok((file, port))
}

async fn start_registry(config: &Path, port: u16) -> Result<Child, String> {
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command
        .spawn()
        .map_err(|error| format!("docker-registry: {error}"))?;
    let answers = timeout(PATIENCE, async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    answers
        .await
        .map_err(|_| "docker-registry does not answer".to_owned())?;
    Ok(child)
}
