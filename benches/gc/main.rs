//! Collecting very many small blobs: how fast they go, beside `docker-registry garbage-collect` on the same number of files,
//! and what pulls notice of it, which docker-registry cannot serve meanwhile. Needs docker-registry installed and some
//! GiB of disk. `just bench gc`, or `cargo bench --bench gc`; `GC_BLOBS` says how many blobs, a million without it.

mod pulls;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use pulls::{Latencies, Puller};
use serde_json::{Value, json};
use support::process::{Process, free_port, registry_config, seawall};

/// How many blobs nobody needs.
const BLOBS: u64 = 1_000_000;
/// How long pulls are measured without a collection.
const QUIET: Duration = Duration::from_secs(15);
/// What the server is configured with beyond the defaults: nothing by itself during the measurement.
const SETTINGS: &str = "mirrors: []\ngc: {enabled: false}\n";

fn main() -> ExitCode {
    if !support::is_chosen("gc") {
        return ExitCode::SUCCESS;
    }
    let count = std::env::var("GC_BLOBS").map_or(BLOBS, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    match runtime.block_on(run(directory.path(), count)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("the gc benchmark broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(directory: &Path, count: u64) -> io::Result<()> {
    let port = free_port()?;
    let home = directory.join("seawall");
    let config = registry_config(&home, port, SETTINGS)?;
    // The schema and an image that is pulled all the time.
    let server = Process::start(command(&config), port)?;
    let puller = Puller::push(port).await;
    drop(server);
    let data = home.join("data");
    store::fill(&data, count)?;
    store::enter(&data.join("seawall.db"), count);
    let server = Process::start(command(&config), port)?;
    println!("{count} blobs of {} bytes that nobody needs", store::SIZE);

    let quiet = puller.pull_for(QUIET).await;
    let api = reqwest::Client::builder()
        .unix_socket(data.join("seawall.sock"))
        .no_proxy()
        .build()
        .expect("a client of the socket");
    let begun = Instant::now();
    let job = post(&api, "/gc/run", &json!({"grace": "0s"})).await;
    let id = job["id"].as_i64().expect("a job has a number");
    let (busy, ended) = puller.pull_until(|| ended(&api, id)).await;
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(ended["state"], "done", "{ended}");
    let blobs = ended["progress"]["blobs"].as_u64().expect("a count");
    assert_eq!(blobs, count, "everything goes: {ended}");
    println!("\n| | blobs/s | seconds | CPU s | peak MiB |\n|---|---|---|---|---|");
    let rate = count as f64 / seconds;
    let (cpu, peak) = (server.cpu_seconds(), server.peak_kb() >> 10);
    println!("| Seawall, serving | {rate:.0} | {seconds:.1} | {cpu:.1} | {peak} |");
    drop(server);
    match collect_by_docker_registry(&directory.join("docker-registry"), count) {
        Ok(seconds) => {
            let theirs = count as f64 / seconds;
            println!("| docker-registry, stopped | {theirs:.0} | {seconds:.1} | - | - |");
            println!(
                "\nSeawall / docker-registry: {:.2}x the blobs per second",
                rate / theirs
            );
        }
        Err(error) => println!("docker-registry is left out: {error}"),
    }
    print_pulls(&quiet, &busy);
    Ok(())
}

fn command(config: &Path) -> Command {
    let mut command = seawall();
    command.arg(config);
    command
}

async fn post(api: &reqwest::Client, path: &str, body: &Value) -> Value {
    let url = format!("http://seawall/api/v1{path}");
    let response = api
        .post(url)
        .json(body)
        .send()
        .await
        .expect("the socket answers");
    assert!(
        response.status().is_success(),
        "{path}: {}",
        response.status()
    );
    response.json().await.expect("JSON")
}

/// Returns the job once it has ended.
async fn ended(api: &reqwest::Client, id: i64) -> Option<Value> {
    let url = format!("http://seawall/api/v1/jobs/{id}");
    let response = api.get(url).send().await.expect("the socket answers");
    let job: Value = response.json().await.expect("JSON");
    let is_over = job["state"] == "done" || job["state"] == "failed";
    is_over.then_some(job)
}

/// Has docker-registry collect the same number of files; returns the seconds it took.
fn collect_by_docker_registry(home: &Path, count: u64) -> io::Result<f64> {
    let config = registry_config(home, 0, "")?;
    store::fill(&home.join("data"), count)?;
    // Without a repository it has nothing to walk and gives up.
    std::fs::create_dir_all(
        home.join("data/docker/registry/v2/repositories/none/_manifests/revisions"),
    )?;
    std::fs::create_dir_all(home.join("data/docker/registry/v2/repositories/none/_layers"))?;
    let begun = Instant::now();
    let status = support::process::docker_registry("garbage-collect")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let seconds = begun.elapsed().as_secs_f64();
    let left = store::count(&home.join("data"))?;
    if !status.success() || left > 0 {
        let reason = format!("it ended with {status} and left {left} blobs");
        return Err(io::Error::other(reason));
    }
    Ok(seconds)
}

fn print_pulls(quiet: &Latencies, busy: &Latencies) {
    println!(
        "\n| pulls (manifest and 64 KiB layer, 4 clients) | pulls/s | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|"
    );
    for (name, measured) in [("no collection", quiet), ("collection running", busy)] {
        let [middle, slow, longest] = [0.5, 0.99, 1.0].map(|part| measured.at(part) * 1e3);
        let rate = measured.per_second();
        println!("| {name} | {rate:.0} | {middle:.2} | {slow:.2} | {longest:.1} |");
    }
    let ratio = busy.at(0.99) / quiet.at(0.99);
    println!("\np99 with / without a collection: {ratio:.2}x");
}
