//! A Seawall inside the test's process: port 0, a directory of its own, a clock the test moves. This is
//! the only file that knows Seawall's Rust API; configuration goes in as a user's file would.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seawall::app::{self, Options, Running};
use seawall::clock::{Clock as _, Fake, System};
use seawall::config::{self, Config, Environment, Sources};
use seawall::content::{CollectReport, CollectRequest, EvictReport, EvictRequest};
use seawall::jobs::{JobState, JobView, Jobs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::client::Client;
use super::gate::PATIENCE;
use super::raw::{RawResponse, exact};
use super::upstream::FakeUpstream;

/// The name stories give the upstream they mirror.
pub(crate) const UPSTREAM: &str = "upstream.example";

/// A running Seawall; it ends with the test.
pub(crate) struct TestServer {
    running: Option<Running>,
    /// Kept so that a restart finds the same port.
    listener: TcpListener,
    settings: Value,
    directory: TempDir,
    clock: Arc<Fake>,
    client: Client,
}

/// What makes the store root before the server starts.
type Preparing = Box<dyn FnOnce(&Path)>;

/// How to start one.
pub(crate) struct Builder {
    settings: Value,
    mirrors: Vec<Value>,
    root: Option<Preparing>,
}

impl TestServer {
    /// Starts a plain registry without any mirror.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder {
            settings: json!({
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": true}},
                "http": {"addr": "127.0.0.1:0"},
                "storage": {"delete": {"enabled": true}},
                // How full the machine's own disk is must not matter.
                "cache": {"minfree": 0},
            }),
            mirrors: Vec::new(),
            root: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.listener.local_addr();
        address.expect("a listening socket has an address")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn clock(&self) -> &Fake {
        &self.clock
    }

    /// Lets the pause pass after which an upstream that was in trouble is asked again; the first one takes a second.
    pub(crate) fn let_upstreams_rest(&self) {
        self.clock.advance(Duration::from_secs(1));
    }

    /// Returns a client of the server's socket: the administrator.
    pub(crate) fn socket(&self) -> Client {
        Client::of_socket(&self.socket_path())
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.data().join("seawall.sock")
    }

    /// Returns a client of the debug listener.
    pub(crate) fn debug(&self) -> Client {
        let running = self.running.as_ref().and_then(Running::debug_addr);
        let address = running.expect("the story configured http.debug.addr");
        Client::new(format!("http://{address}"))
    }

    /// Returns a client of the address that is the management API's own.
    pub(crate) fn api(&self) -> Client {
        let running = self.running.as_ref().and_then(Running::api_addr);
        let address = running.expect("the story configured api.addr");
        Client::new(format!("http://{address}"))
    }

    /// Returns the configuration file that the server was started with.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Returns the work in the background.
    pub(crate) fn jobs(&self) -> &Jobs {
        let running = self.running.as_ref();
        running.expect("it runs until it is dropped").jobs()
    }

    /// Waits until a job ends and returns it.
    pub(crate) async fn ended(&self, id: i64) -> JobView {
        timeout(PATIENCE, async {
            loop {
                let job = self.jobs().get(id).await.expect("the database answers");
                let job = job.expect("the job is there");
                if matches!(job.state, JobState::Done | JobState::Failed) {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the job ends in time")
    }

    /// Stops politely.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// Starts again what was stopped, over the same data, at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.running = Some(self.launch().await);
        self.client = Client::new(self.url(""));
    }

    /// Returns where the blobs and the database lie.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns the file in which a blob or manifest lies.
    pub(crate) fn blob_file(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        let blobs = self.data().join("docker/registry/v2/blobs");
        blobs.join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    /// Asks for a target exactly as written.
    pub(crate) async fn exact(&self, method: &str, target: &str) -> RawResponse {
        exact(self.address(), method, target).await
    }

    /// Stops politely and starts again over the same data, at the same address and time.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// Restarts with other settings.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut Value)) {
        self.stop().await;
        change(&mut self.settings);
        self.start_again().await;
    }

    /// Has the collector look whether it is time.
    pub(crate) fn collector_looks(&self) {
        self.running().content().wake_collector();
    }

    /// Evicts mirrored content until at most `bytes` of it are left.
    pub(crate) async fn evict_down_to(&self, bytes: u64) -> EvictReport {
        self.idle().await;
        self.evict(EvictRequest::DownTo { bytes }).await
    }

    /// Evicts all mirrored content that nobody has in hands.
    pub(crate) async fn evict_at_once(&self) -> EvictReport {
        self.evict(EvictRequest::DownTo { bytes: 0 }).await
    }

    /// Waits until the server has noticed that nobody reads or waits for a blob any more.
    async fn idle(&self) {
        let content = self.running().content();
        self.client
            .until("every reader is gone", || content.is_idle())
            .await;
    }

    /// Evicts what the configuration says is due.
    pub(crate) async fn evict_due(&self) -> EvictReport {
        self.idle().await;
        self.evict(EvictRequest::Due).await
    }

    async fn evict(&self, request: EvictRequest) -> EvictReport {
        let content = self.running().content();
        content.evict(request).await.expect("the disk is well")
    }

    /// Purges mirrored content that fits `pattern`, once nobody reads.
    pub(crate) async fn purge(&self, pattern: &str) -> EvictReport {
        self.idle().await;
        self.purge_at_once(pattern).await
    }

    /// Purges mirrored content that fits `pattern` and that nobody has in hands.
    pub(crate) async fn purge_at_once(&self, pattern: &str) -> EvictReport {
        let pattern = pattern.parse().expect("the story writes a pattern");
        let purged = self.running().content().purge(&pattern).await;
        purged.expect("the disk is well")
    }

    /// Returns how many bytes of mirrored content there are, as the server counts them.
    pub(crate) async fn cache_bytes(&self) -> u64 {
        self.running().content().cache_size().await.bytes
    }

    /// Collects what has been a candidate for `grace`.
    pub(crate) async fn collect_after(
        &self,
        grace: Duration,
        delete_untagged: bool,
    ) -> CollectReport {
        let request = CollectRequest {
            grace,
            delete_untagged,
            dry_run: false,
            rate: 0,
        };
        let content = self.running().content();
        let collected = content.collect(&request, &mut |_| {}).await;
        collected.expect("the disk is well")
    }

    /// Returns the time that the server stores, in microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.running().content().metadata().now()
    }

    fn running(&self) -> &Running {
        let running = self.running.as_ref();
        running.expect("it runs but for the moment of a restart")
    }

    /// Returns every stored blob with its size in bytes, as the disk has them.
    pub(crate) fn stored_blobs(&self) -> BTreeMap<String, u64> {
        let mut stored = BTreeMap::new();
        for algorithm in ["sha256", "sha512"] {
            let shards = self.data().join("docker/registry/v2/blobs").join(algorithm);
            for directory in entries(&shards).iter().flat_map(|shard| entries(shard)) {
                let hex = directory.file_name().expect("an entry has a name");
                let files = entries(&directory);
                let sizes = files
                    .iter()
                    .map(|file| std::fs::metadata(file).map_or(0, |file| file.len()));
                if !files.is_empty() {
                    stored.insert(format!("{algorithm}:{}", hex.display()), sizes.sum());
                }
            }
        }
        stored
    }

    async fn launch(&self) -> Running {
        let file = self.config_file();
        let text = serde_json::to_string_pretty(&self.settings).expect("JSON can be written");
        std::fs::write(&file, text).expect("the test's own directory can be written");
        let config = load(&file);
        let options = Options {
            clock: self.clock.clone(),
            listener: Some(self.listener.try_clone().expect("a socket can be shared")),
        };
        app::start(config, options)
            .await
            .unwrap_or_else(|error| panic!("seawall starts: {error:#}"))
    }
}

impl Builder {
    /// Mirrors an upstream under the name [`UPSTREAM`] as the default one.
    pub(crate) fn mirror_of(self, upstream: &FakeUpstream) -> Self {
        self.mirror(json!({
            "name": UPSTREAM,
            "endpoints": [upstream.url()],
            "default": true,
        }))
    }

    /// Adds a mirror as the configuration file says it.
    pub(crate) fn mirror(mut self, mirror: Value) -> Self {
        self.mirrors.push(mirror);
        self
    }

    /// Fills the store root before the server starts for the first time.
    pub(crate) fn over(mut self, fill: impl FnOnce(&Path) + 'static) -> Self {
        self.root = Some(Box::new(fill));
        self
    }

    /// Changes the configuration.
    pub(crate) fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(crate) async fn start(mut self) -> TestServer {
        let directory = tempfile::tempdir().expect("the system has room for a directory");
        let root = directory.path().join("data");
        self.settings["storage"]["filesystem"] = json!({"rootdirectory": root});
        if let Some(fill) = self.root.take() {
            fill(&root);
        }
        if !self.mirrors.is_empty() {
            self.settings["mirrors"] = Value::Array(self.mirrors);
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let mut server = TestServer {
            running: None,
            listener,
            settings: self.settings,
            directory,
            clock: Arc::new(now()),
            client: Client::new(format!("http://{address}")),
        };
        server.running = Some(server.launch().await);
        server
    }
}

/// Returns what is in a directory; nothing where there is none, as eviction takes empty ones away.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn load(file: &Path) -> Config {
    let sources = Sources {
        file: Some(file.to_owned()),
        ..Sources::default()
    };
    config::load(&sources, &Environment::default())
        .unwrap_or_else(|error| panic!("the configuration is good: {error}"))
        .config
}

/// A clock that stands at the present until the test moves it.
fn now() -> Fake {
    Fake::at(System::new().wall_micros())
}
