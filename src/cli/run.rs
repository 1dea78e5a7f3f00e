//! From arguments to an exit code. The server is started by the caller, so that this room knows nothing of it.

use std::ffi::OsString;
use std::io::Write;

use super::{
    Command, CommandLine, Failure, Output, backup, check_config, client_config, export_links, fsck,
    garbage_collect, gc, import, mirror, restore, scrub, tag,
};
use crate::config::{Environment, Loaded};

/// Where a command prints.
pub struct Streams<'s> {
    /// For results.
    pub stdout: &'s mut dyn Write,
    /// For remarks and failures.
    pub stderr: &'s mut dyn Write,
}

/// Runs what the arguments ask for and returns the exit code: 0 done, 1 failed, 2 misuse. `serve` starts the server,
/// prints what it likes and returns when the server has stopped, or with the one line that says why it could not run.
pub fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment,
    streams: &mut Streams<'_>,
    serve: impl FnOnce(Loaded) -> Result<(), String>,
) -> u8 {
    let line = match CommandLine::parse_from_arguments(arguments) {
        Ok(line) => line,
        Err(error) => {
            let to: &mut dyn Write = if error.use_stderr() {
                streams.stderr
            } else {
                streams.stdout
            };
            // A closed terminal is no reason to fail otherwise.
            let _ = write!(to, "{}", error.render());
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let outcome = match line.command {
        Command::Serve(arguments) => match arguments.load(environment) {
            Ok(loaded) => serve(loaded)
                .map(|()| Output::default())
                .map_err(Failure::new),
            Err(error) => Err(error.into()),
        },
        Command::CheckConfig(arguments) => check_config::check(&arguments, environment),
        Command::ClientConfig(arguments) => client_config::print(&arguments, environment),
        Command::Import(arguments) => import::run(&arguments, environment),
        Command::ExportLinks(arguments) => {
            export_links::run(&arguments, environment, streams.stderr)
        }
        Command::Gc(arguments) => gc::run(&arguments, environment, streams.stderr),
        Command::GarbageCollect(arguments) => {
            garbage_collect::run(&arguments, environment, streams)
        }
        Command::Mirror(arguments) => mirror::run(&arguments, environment, streams.stderr),
        Command::Scrub(arguments) => scrub::run(&arguments, environment, streams),
        Command::Fsck(arguments) => fsck::run(&arguments, environment, streams),
        Command::Tag(arguments) => tag::run(&arguments, environment),
        Command::Backup(arguments) => backup::run(&arguments, environment),
        Command::Restore(arguments) => restore::run(&arguments, environment),
    };
    report(outcome, streams)
}

fn report(outcome: Result<Output, Failure>, streams: &mut Streams<'_>) -> u8 {
    match outcome {
        Ok(output) => {
            let _ = streams.stderr.write_all(output.stderr.as_bytes());
            let printed = streams
                .stdout
                .write_all(output.stdout.as_bytes())
                .and_then(|()| streams.stdout.flush());
            // A file that could not be written whole must not look saved.
            if let Err(error) = printed {
                let _ = writeln!(streams.stderr, "seawall: cannot write to stdout: {error}");
                return 1;
            }
            output.code
        }
        Err(failure) => {
            for remark in failure.remarks {
                let _ = writeln!(streams.stderr, "seawall: {remark}");
            }
            for reason in failure.reasons {
                let _ = writeln!(streams.stderr, "seawall: {reason}");
            }
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Streams, run};
    use crate::config::Environment;

    fn outcome(
        arguments: &[&str],
        variables: &[(&str, &str)],
        started: Result<(), String>,
    ) -> (u8, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            stdout: &mut stdout,
            stderr: &mut stderr,
        };
        let arguments = std::iter::once("seawall")
            .chain(arguments.iter().copied())
            .map(Into::into);
        let code = run(arguments, &Environment::of(variables), &mut streams, |_| {
            started
        });
        let text = |bytes| String::from_utf8(bytes).expect("output is text");
        (code, text(stdout), text(stderr))
    }

    #[test]
    fn the_server_is_started_with_the_configuration_and_its_failure_is_one_line() {
        let home = [("HOME", "/home/u")];
        assert_eq!(
            outcome(&["serve"], &home, Ok(())),
            (0, String::new(), String::new())
        );
        let failed = outcome(
            &["serve"],
            &home,
            Err("127.0.0.1:5000 is in use: choose another with --listen".to_owned()),
        );
        assert_eq!(
            failed,
            (
                1,
                String::new(),
                "seawall: 127.0.0.1:5000 is in use: choose another with --listen\n".to_owned()
            )
        );
    }

    #[test]
    fn a_configuration_error_ends_serve_with_one_before_anything_starts() {
        let variables = [("HOME", "/home/u"), ("REGISTRY_LOG_LEVEL", "loud")];
        let (code, stdout, stderr) = outcome(&["serve"], &variables, Err("started".to_owned()));
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert_eq!(
            stderr,
            "seawall: REGISTRY_LOG_LEVEL: log.level: \"loud\" is none of error, warn, info and debug\n"
        );
    }

    #[test]
    fn misuse_is_two_and_the_version_goes_to_stdout() {
        let (code, _, stderr) = outcome(&["serve", "--frob"], &[], Ok(()));
        assert!(code == 2 && stderr.contains("--frob"));
        let (code, stdout, stderr) = outcome(&["--version"], &[], Ok(()));
        assert_eq!(
            (code, stdout, stderr),
            (
                0,
                format!("seawall {}\n", env!("CARGO_PKG_VERSION")),
                String::new()
            )
        );
    }
}
