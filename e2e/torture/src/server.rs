//! A real server process: started on an address of the system's choice, timed until it is ready, killed or stopped.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::client::{Client, Trouble};
use crate::faults::Faults;

/// Within this time a server is ready or has given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) seawall: PathBuf,
    /// Names the files of configuration and log.
    pub(crate) name: String,
    /// Where those files lie.
    pub(crate) home: PathBuf,
    /// The store root.
    pub(crate) root: PathBuf,
    /// The state directory.
    pub(crate) state: PathBuf,
    /// More sections of the configuration.
    pub(crate) more: String,
}

/// A running server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    screen: Screen,
    pub(crate) address: SocketAddr,
    /// From the start of the program to the first 200 of `/readyz`, without what it waited for a processor that other
    /// programs had.
    pub(crate) ready_after: Duration,
    /// What can make it fail, where it was started with that.
    pub(crate) faults: Option<Faults>,
}

/// What a server prints; also kept in its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen(Arc<Mutex<String>>);

impl Screen {
    pub(crate) fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    /// Returns the last lines.
    fn end(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(4)..].join(" | ")
    }
}

impl Setup {
    /// Returns the setup of a server with everything below `home/name`.
    pub(crate) fn new(seawall: &Path, home: &Path, name: &str) -> Self {
        let data = home.join(name);
        Self {
            seawall: seawall.to_owned(),
            name: name.to_owned(),
            home: home.to_owned(),
            root: data.clone(),
            state: data,
            more: String::new(),
        }
    }

    /// Returns the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.state.join("seawall.db")
    }

    /// Returns the socket of the running server.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("seawall.sock")
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<Server, String> {
        self.start_as(None).await
    }

    /// Starts the server with calls of `class` on files below `folder` in the hands of the program `faults`.
    pub(crate) async fn start_with(
        &self,
        faults: &Path,
        class: &str,
        folder: &Path,
    ) -> Result<Server, String> {
        // `class` may say which call fails already while the server starts.
        let mut command = Command::new(faults);
        command.args([class.as_ref(), folder.as_os_str(), self.seawall.as_os_str()]);
        self.start_as(Some(command)).await
    }

    /// Has the program compare rows with files while no server runs; returns what it finds wrong.
    pub(crate) async fn fsck(&self) -> Vec<String> {
        let mut command = Command::new(&self.seawall);
        command.args(["fsck", "--quiet", "--output", "json", "--config"]);
        command.arg(self.home.join(format!("{}.yml", self.name)));
        command.arg("--data").arg(&self.state);
        command.env_clear().env("HOME", &self.home);
        match command.output().await {
            Ok(ended) if ended.status.success() => Vec::new(),
            Ok(ended) => {
                let printed = [ended.stdout, ended.stderr].concat();
                vec![format!("fsck: {}", String::from_utf8_lossy(&printed))]
            }
            Err(error) => vec![format!("fsck: {error}")],
        }
    }

    /// Returns the command that runs the server, and the file with its configuration.
    pub(crate) fn command(&self, around: Option<Command>) -> io::Result<Command> {
        let mut text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            self.root.display()
        );
        text.push_str(&self.more);
        let file = self.home.join(format!("{}.yml", self.name));
        std::fs::create_dir_all(&self.home)?;
        std::fs::write(&file, text)?;
        let is_wrapped = around.is_some();
        let mut command = around.unwrap_or_else(|| Command::new(&self.seawall));
        command.arg("serve").arg(file);
        command.arg("--data").arg(&self.state);
        command.env_clear().env("HOME", &self.home);
        command.stdin(if is_wrapped {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        Ok(command)
    }

    async fn start_as(&self, around: Option<Command>) -> Result<Server, String> {
        let is_wrapped = around.is_some();
        let told = |error: io::Error| format!("{} cannot be started: {error}", self.name);
        let mut command = self.command(around).map_err(told)?;
        let begun = Instant::now();
        let mut child = command.spawn().map_err(told)?;
        let screen = Screen::default();
        let address = watch::Sender::new(None);
        let mut found = address.subscribe();
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let stderr = child.stderr.take().ok_or("stderr is piped")?;
        let log = self.home.join(format!("{}.log", self.name));
        let address = Arc::new(address);
        tokio::spawn(read(
            stderr,
            screen.clone(),
            Arc::clone(&address),
            log.clone(),
        ));
        let faults = if is_wrapped {
            let stdin = child.stdin.take().ok_or("stdin is piped")?;
            Some(Faults::new(stdin, stdout).await?)
        } else {
            tokio::spawn(read(stdout, screen.clone(), Arc::clone(&address), log));
            None
        };
        drop(address);
        let address = timeout(PATIENCE, found.wait_for(Option::is_some)).await;
        let Ok(Ok(Some(address))) = address.map(|found| found.map(|address| *address)) else {
            let status = match timeout(Duration::from_secs(1), child.wait()).await {
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "still running".to_owned(),
            };
            let (name, end) = (&self.name, screen.end());
            return Err(format!("{name} did not start ({status}): {end}"));
        };
        let mut server = Server {
            child,
            screen,
            address,
            ready_after: Duration::ZERO,
            faults,
        };
        let ready = timeout(PATIENCE, async {
            while !is_ready(address).await {
                sleep(Duration::from_millis(2)).await;
            }
        });
        ready
            .await
            .map_err(|_| format!("{} was never ready: {}", self.name, server.screen.end()))?;
        let whole = begun.elapsed();
        server.ready_after = whole.saturating_sub(server.queued());
        Ok(server)
    }
}

/// Asks once whether the server is ready.
async fn is_ready(address: SocketAddr) -> bool {
    const ASK: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(ASK).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        io::Result::Ok(&start == b"HTTP/1.1 200")
    };
    asked.await.unwrap_or(false)
}

/// Keeps what is printed, and finds where the server listens.
async fn read(
    from: impl AsyncRead + Unpin,
    screen: Screen,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
    log: PathBuf,
) {
    let mut lines = BufReader::new(from).lines();
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .ok();
    while let Ok(Some(line)) = lines.next_line().await {
        let told = line.trim().strip_prefix("listening");
        if let Some(found) = told.and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
            address.send_replace(Some(found));
        }
        if let Some(file) = &mut file {
            // A log that cannot be written must not end the reading of it.
            drop(io::Write::write_all(file, format!("{line}\n").as_bytes()));
        }
        screen.add(&line);
    }
}

impl Server {
    /// Returns a client of it.
    pub(crate) fn client(&self) -> Result<Client, Trouble> {
        Client::new(&format!("http://{}", self.address))
    }

    /// Returns how long the thread that waited longest for a processor did so.
    fn queued(&self) -> Duration {
        let id = self.child.id().unwrap_or_default();
        let threads = std::fs::read_dir(format!("/proc/{id}/task"));
        let waited = threads.into_iter().flatten().filter_map(|thread| {
            let told = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            told.split(' ').nth(1)?.parse().ok()
        });
        Duration::from_nanos(waited.max().unwrap_or_default())
    }

    /// Returns what it printed so far.
    pub(crate) fn screen(&self) -> String {
        self.screen.text()
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        match &self.faults {
            // Its own process dies with the program around it; that is waited for, so that its locks are free.
            Some(faults) => faults.kill().await,
            None => drop(self.child.start_kill()),
        }
        drop(self.child.wait().await);
    }

    /// Asks it to end and returns how it did.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, String> {
        let id = match &self.faults {
            Some(faults) => faults.pid(),
            None => self.child.id().and_then(|id| i32::try_from(id).ok()),
        };
        let pid = id.and_then(Pid::from_raw).ok_or("it has ended already")?;
        kill_process(pid, Signal::TERM).map_err(|error| error.to_string())?;
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.map_err(|error| error.to_string()),
            Err(_) => Err("it does not end".to_owned()),
        }
    }

    /// Returns how it ended by itself, if it did.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let mut text = status.to_string();
        // Writing to a string does not fail.
        let _ = write!(text, ": {}", self.screen.end());
        Some(text)
    }
}
