//! The words of `faults.c`, which makes system calls of the server fail, or only seem to succeed.

use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;

/// A class of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Write,
    Sync,
    Rename,
    Open,
    Read,
}

/// What the disk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    Io,
    NoSpace,
}

/// What happened since the last order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Calls of the class on files below the folder.
    pub(crate) calls: u64,
    /// The call that failed, and its path.
    pub(crate) failed: Option<String>,
}

/// The program around a server.
#[derive(Debug)]
pub(crate) struct Faults {
    pipe: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    pid: AtomicI32,
}

impl Class {
    pub(crate) const ALL: [Self; 5] = [
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::Open,
        Self::Read,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Open => "open",
            Self::Read => "read",
        }
    }
}

impl Errno {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
        }
    }

    /// Returns what the system calls it.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Io => rustix::io::Errno::IO.raw_os_error(),
            Self::NoSpace => rustix::io::Errno::NOSPC.raw_os_error(),
        }
    }
}

impl Faults {
    /// Takes over the pipes of the program and waits until the server runs.
    pub(crate) async fn new(stdin: ChildStdin, stdout: ChildStdout) -> Result<Self, String> {
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await.ok().flatten().unwrap_or_default();
        let pid = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let pid = pid.ok_or_else(|| format!("faults did not start: {first}"))?;
        Ok(Self {
            pipe: Mutex::new((stdin, lines)),
            pid: AtomicI32::new(pid),
        })
    }

    /// Lets the `n`-th call from now on fail.
    pub(crate) async fn arm(&self, n: u64, errno: Errno) -> Result<(), String> {
        self.say(&format!("arm {n} {}", errno.number()))
            .await
            .map(drop)
    }

    /// Lets calls on files whose path holds `text` do nothing and succeed; on all files with `-`.
    pub(crate) async fn lie(&self, text: &str) -> Result<(), String> {
        self.say(&format!("lie {text}")).await.map(drop)
    }

    /// Lets nothing fail.
    pub(crate) async fn disarm(&self) -> Result<(), String> {
        self.say("disarm").await.map(drop)
    }

    /// Returns what happened since [`Faults::arm`].
    pub(crate) async fn told(&self) -> Result<Told, String> {
        let line = self.say("told").await?;
        let (calls, failed) = line.split_once(' ').ok_or("faults told nothing")?;
        Ok(Told {
            calls: calls.parse().map_err(|_| format!("not a number: {line}"))?,
            failed: (failed != "-").then(|| failed.to_owned()),
        })
    }

    /// Kills the server at once.
    pub(crate) async fn kill(&self) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Returns the server's process.
    pub(crate) fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    async fn say(&self, word: &str) -> Result<String, String> {
        let mut pipe = self.pipe.lock().await;
        let (stdin, lines) = &mut *pipe;
        let ended = |_| "the server has ended".to_owned();
        stdin
            .write_all(format!("{word}\n").as_bytes())
            .await
            .map_err(ended)?;
        let line = lines.next_line().await.map_err(ended)?;
        line.ok_or_else(|| "the server has ended".to_owned())
    }
}
