//! The `seawall` program: reads the arguments, runs the command, and serves until it is told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use seawall::app::{self, Options};
use seawall::cli::serve::start_screen;
use seawall::cli::{Streams, run};
use seawall::clock::System;
use seawall::config::{Environment, Loaded};
use seawall::telemetry;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for files and the database. More would not make a disk faster, and what each allocates it keeps.
const BLOCKING_THREADS: usize = 64;

fn main() -> ExitCode {
    let mut streams = Streams {
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
    };
    let environment = Environment::of_process();
    let code = run(
        std::env::args_os(),
        &environment,
        &mut streams,
        // One line says what is wrong, with its causes.
        |loaded| serve(loaded).map_err(|error| format!("{error:#}").replace('\n', " ")),
    );
    ExitCode::from(code)
}

fn serve(loaded: Loaded) -> anyhow::Result<()> {
    telemetry::init(&loaded.config.log)?;
    for warning in &loaded.config.warnings {
        tracing::warn!("{warning}");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?
        .block_on(serve_until_told_to_stop(loaded))
}

async fn serve_until_told_to_stop(loaded: Loaded) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let options = Options {
        clock: Arc::new(System::new()),
        listener: None,
    };
    let running = app::start(loaded.config.clone(), options).await?;
    // The access log goes to stdout too; a closed one is no reason to stop.
    let _ = io::stdout().write_all(start_screen(&loaded, running.addr()).as_bytes());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: running requests may finish");
    let cut = running.shutdown().await;
    if cut > 0 {
        tracing::warn!(
            connections = cut,
            "cut what did not finish within http.draintimeout"
        );
    }
    Ok(())
}
