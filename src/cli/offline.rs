//! Commands that work where no server runs: they open what holds data as a server would, alone, and close it in order. Must
//! never be used beside a running server; `Server::running` tells.

use std::ops::AsyncFnOnce;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app::Opened;
use crate::clock::{Clock, System};
use crate::config::{Config, Level};
use crate::jobs::{Payload, Progress, Settings, run_now};
use crate::telemetry::{self, Metrics};

/// Threads that do the work, and threads for files and the database.
const THREADS: usize = 2;
const BLOCKING_THREADS: usize = 16;

/// Lines that may wait to be printed before the work waits for them.
const WAITING_LINES: usize = 1000;

/// What a command expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Expects {
    /// The data of a server that ran here before.
    Data,
    /// Nothing; what is missing is made.
    Nothing,
}

/// Opens what `config` names, does `work` with it and closes it in order, also after SIGINT and SIGTERM, which end the work.
///
/// # Errors
/// What keeps it from being opened, in one line that says what to do, and those of `work`.
pub(in crate::cli) fn with<T>(
    config: &Config,
    expects: Expects,
    work: impl AsyncFnOnce(&Opened) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = prepare(config, expects)?;
    runtime.block_on(async {
        let opened = open(config)?;
        let done = tokio::select! {
            done = work(&opened) => done,
            stopped = told_to_stop() => Err(stopped),
        };
        opened.close().await;
        done
    })
}

/// Does a job on what `config` names and returns what it did; `line` gets every line that it tells, while it goes on.
///
/// # Errors
/// As [`with`], the job's, and those of `line`, with which nothing more is told.
pub(in crate::cli) fn run_job(
    config: &Config,
    payload: &Payload,
    line: &mut dyn FnMut(&Value) -> Result<(), Failure>,
) -> Result<Progress, Failure> {
    let (sender, lines) = sync_channel::<String>(WAITING_LINES);
    thread::scope(|scope| {
        let job = scope.spawn(move || {
            with(config, Expects::Data, async move |opened: &Opened| {
                // Who does not listen any more is no reason to stop half way.
                let tell = Box::new(move |line: &str| drop(sender.send(line.to_owned())));
                let settings = Settings::of(config);
                let mirror = payload.needs_upstreams().then(|| opened.mirror(config));
                let mirror = mirror.transpose().map_err(|error| one_line(&error))?;
                let (content, mirror) = (&opened.content, mirror.as_ref());
                let done = run_now(content, mirror, &settings, payload, tell).await;
                done.map_err(|error| Failure::new(error.to_string()))
            })
        });
        let mut printed = Ok(());
        for text in lines {
            if printed.is_ok()
                && let Ok(value) = serde_json::from_str(&text)
            {
                printed = line(&value);
            }
        }
        let broke_off = |_| Err(Failure::new("the work broke off".to_owned()));
        let done = job.join().unwrap_or_else(broke_off)?;
        printed.map(|()| done)
    })
}

fn prepare(config: &Config, expects: Expects) -> Result<Runtime, Failure> {
    if expects == Expects::Data && !Opened::is_there(config) {
        let state = &config.storage.statedirectory;
        return Err(Failure::new(format!(
            "data directory {} holds no data of Seawall: name the right one with --data or --config",
            state.display()
        )));
    }
    let mut log = config.log.clone();
    if log.level == Level::Info {
        log.level = Level::Warn;
    }
    // Only the tests have a log already.
    drop(telemetry::init(&log));
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))
}

fn open(config: &Config) -> Result<Opened, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(System::new());
    Opened::open(config, &clock, &Metrics::new()).map_err(|error| {
        if Opened::is_in_use(&error) {
            let state = config.storage.statedirectory.display();
            return Failure::new(format!(
                "another seawall process has the data directory {state}, and no socket in it answers: wait until it has started or ended, or stop it"
            ));
        }
        one_line(&error)
    })
}

/// Returns an error as one line, with its causes.
fn one_line(error: &anyhow::Error) -> Failure {
    Failure::new(format!("{error:#}").replace('\n', " "))
}

/// Returns the failure of a command that was told to stop.
pub(in crate::cli) async fn told_to_stop() -> Failure {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        // Then the process ends by the signal.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Failure::new(
        "stopped before the end: what was done is kept, and running it again goes on".to_owned(),
    )
}
