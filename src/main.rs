//! The `seawall` binary: reads the command line, serves until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use seawall::app::{self, Options};
use seawall::clock::System;
use seawall::config::{self, Environment, Sources};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter("seawall=info")
        .with_writer(std::io::stderr)
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seawall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let sources = Sources {
        file: std::env::args().nth(2).map(Into::into),
        ..Sources::default()
    };
    let loaded = config::load(&sources, &Environment::of_process())?;
    let running = app::start(
        loaded.config,
        Options {
            clock: Arc::new(System::new()),
            listener: None,
        },
    )
    .await?;
    println!("seawall listens on {}", running.addr());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done?,
    }
    running.shutdown().await;
    Ok(())
}
