//! The `seawall` program: reads the arguments and runs the command.

use std::io;
use std::process::ExitCode;

use seawall::cli::{Streams, run};
use seawall::config::Environment;

fn main() -> ExitCode {
    let mut streams = Streams {
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
    };
    let code = run(
        std::env::args_os(),
        &Environment::of_process(),
        &mut streams,
        |loaded| {
            seawall::telemetry::init(&loaded.config.log).map_err(|error| error.to_string())?;
            for warning in &loaded.config.warnings {
                tracing::warn!("{warning}");
            }
            Err("this build has no server".to_owned())
        },
    );
    ExitCode::from(code)
}
