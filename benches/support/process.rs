//! A server under measurement, as a process of its own with its data in a directory of its own.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running server; it ends with this value.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server and waits until it answers at `port`.
    pub(crate) fn start(mut command: Command, port: u16) -> io::Result<Self> {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut process = Self { child };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if process.child.try_wait()?.is_some() {
                return Err(io::Error::other("it ended at once"));
            }
            std::thread::yield_now();
        }
        Ok(process)
    }

    /// Returns the processor time used so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a stat");
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        let ticks: f64 = [11, 12]
            .iter()
            .map(|at| fields[*at].parse::<f64>().expect("a number of ticks"))
            .sum();
        ticks / 100.0
    }

    /// Returns the largest resident size so far, in kB.
    pub(crate) fn peak_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status
            .expect("a status")
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
            .expect("a size")
    }
}

/// How long a server may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// In order: one that was killed may have to be careful when it starts again.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that nobody listens on.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns the command that runs Seawall.
pub(crate) fn seawall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("serve");
    command
}

/// Returns a command of Debian's docker-registry, such as `serve`.
pub(crate) fn docker_registry(what: &str) -> Command {
    let mut command = Command::new("docker-registry");
    command.arg(what);
    command
}

/// Writes a configuration file that both of them read, with the data below `home` and `more` at its end.
pub(crate) fn registry_config(home: &Path, port: u16, more: &str) -> io::Result<PathBuf> {
    let file = home.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{more}",
        home.join("data").display()
    );
    fs::create_dir_all(home)?;
    fs::write(&file, text)?;
    Ok(file)
}
