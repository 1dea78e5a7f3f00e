//! The real program as a child process: what only a process can show (exit codes, signals, locks).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::client::Client;
use super::gate::PATIENCE;

/// A `seawall serve` that listens.
pub(crate) struct Served {
    child: Child,
    screen: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the program with a clean environment and its own home.
pub(crate) fn seawall(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_DATA_HOME", home.join("share"))
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Outcome {
    let output = timeout(PATIENCE, command.output())
        .await
        .expect("the command ends in time")
        .expect("the program can be started");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Served {
    /// Starts a server and waits until its screen tells where it listens.
    pub(crate) async fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let screen = Arc::new(Mutex::new(String::new()));
        let address = Arc::new(watch::Sender::new(None));
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        tokio::spawn(read(stdout, screen.clone(), address.clone()));
        tokio::spawn(read(stderr, screen.clone(), address.clone()));
        let mut found = address.subscribe();
        drop(address);
        let found = timeout(PATIENCE, found.wait_for(Option::is_some))
            .await
            .map(|found| found.ok().and_then(|address| *address));
        let text = || screen.lock().expect("a reader does not panic").clone();
        let address = match found {
            Ok(Some(address)) => address,
            other => panic!("no address on the screen ({other:?}): {}", text()),
        };
        Self {
            child,
            screen,
            address,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address))
    }

    /// Returns everything printed so far.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().expect("a reader does not panic").clone()
    }

    /// Returns a figure of `/proc/<pid>/status` in bytes (`VmRSS` now, `VmHWM` at its highest).
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let id = self.child.id().expect("the child still runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))
            .expect("one's own child may be looked at");
        status
            .lines()
            .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))
            .and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .expect("Linux tells it in kB")
    }

    /// Returns where this process finds a file that the server sees under `path`.
    pub(crate) fn seen_by_server(&self, path: &Path) -> PathBuf {
        let id = self.child.id().expect("the child still runs");
        let inside = path.strip_prefix("/").expect("stories use absolute paths");
        Path::new("/proc")
            .join(id.to_string())
            .join("root")
            .join(inside)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw).expect("the child still runs");
        kill_process(pid, Signal::TERM).expect("one's own child may be signalled");
    }

    /// Kills without a chance to tidy up.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the child can be killed");
    }

    /// Waits for the end and returns the exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("the server ends in time")
            .expect("the child can be waited for")
            .code()
    }
}

async fn read(
    pipe: impl AsyncRead + Unpin,
    screen: Arc<Mutex<String>>,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if address.borrow().is_none()
            && let Some(found) = address_in(&line)
        {
            address.send_replace(Some(found));
        }
        let mut screen = screen
            .lock()
            .expect("nobody panics with the screen in hand");
        screen.push_str(&line);
        screen.push('\n');
    }
}

/// Finds `127.0.0.1:<port>` in a line.
fn address_in(line: &str) -> Option<SocketAddr> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end = rest
        .char_indices()
        .skip("127.0.0.1:".len())
        .find(|(_, letter)| !letter.is_ascii_digit())
        .map_or(rest.len(), |(end, _)| end);
    let address: SocketAddr = rest[..end].parse().ok()?;
    (address.port() != 0).then_some(address)
}
