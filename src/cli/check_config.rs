//! `seawall check-config`: says what a configuration means, or everything that is wrong with it.

use std::fmt::Write;

use clap::Args;

use super::configuration::ConfigurationArgumentsWithFile;
use super::{Failure, Output};
use crate::config::{Environment, Loaded, load};

/// Arguments of `check-config`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArgumentsWithFile,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
}

/// Checks the configuration `serve` would run with; returns what it means.
///
/// # Errors
/// Returns everything that is wrong, with `--strict` also everything that is odd.
pub fn check(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let loaded = load(&arguments.configuration.sources(), environment)?;
    if arguments.strict && !loaded.config.warnings.is_empty() {
        return Err(Failure {
            reasons: loaded.config.warnings,
            remarks: Vec::new(),
        });
    }
    Ok(Output {
        stdout: explain(&loaded),
        stderr: String::new(),
    })
}

fn explain(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<9} {value}");
    };
    row(
        "config",
        &loaded.file.as_ref().map_or_else(
            || "built-in defaults".to_owned(),
            |file| file.display().to_string(),
        ),
    );
    row("address", &config.http.addr);
    if config.http.prefix != "/" {
        row("prefix", &config.http.prefix);
    }
    row("data", &config.storage.rootdirectory.display().to_string());
    if config.storage.statedirectory != config.storage.rootdirectory {
        row(
            "state",
            &config.storage.statedirectory.display().to_string(),
        );
    }
    row(
        "pushes",
        if config.storage.readonly || config.mirrors.proxy_only {
            "refused"
        } else {
            "accepted"
        },
    );
    row(
        "deletes",
        if config.storage.delete_enabled && !config.storage.readonly {
            "accepted"
        } else {
            "refused"
        },
    );
    for (index, mirror) in config.mirrors.upstreams.iter().enumerate() {
        let endpoints: Vec<&str> = mirror
            .endpoints
            .iter()
            .map(|url| url.as_str().trim_end_matches('/'))
            .collect();
        let role = if mirror.default { " (default)" } else { "" };
        let user = mirror
            .login
            .as_ref()
            .map_or_else(String::new, |login| format!(" as {login}"));
        row(
            if index == 0 { "mirrors" } else { "" },
            &format!("{}{role} from {}{user}", mirror.name, endpoints.join(", ")),
        );
    }
    if config.mirrors.upstreams.is_empty() {
        row("mirrors", "none");
    }
    for warning in &config.warnings {
        row("warning", warning);
    }
    text.push_str("ok\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{Arguments, check};
    use crate::config::Environment;

    const ODD: &[(&str, &str)] = &[
        ("HOME", "/home/u"),
        ("REGISTRY_HTTP_SECRET", "hunter2"),
        ("REGISTRY_HTTP_PREFIX", "/team/"),
        (
            "REGISTRY_MIRRORS",
            "[{name: quay.io, username: u, password: hunter3, default: true}, {name: ghcr.io, endpoints: [https://a.example, https://b.example/ghcr.io]}]",
        ),
    ];

    #[test]
    fn it_says_what_it_understood_without_secrets() {
        let output = check(&Arguments::default(), &Environment::of(ODD)).expect("odd, but right");
        let expected = "\
config    built-in defaults
address   127.0.0.1:5000
prefix    /team/
data      /home/u/.local/share/seawall
pushes    accepted
deletes   accepted
mirrors   quay.io (default) from https://quay.io as u
          ghcr.io from https://a.example, https://b.example/ghcr.io
warning   REGISTRY_HTTP_SECRET: http.secret has no effect
ok
";
        assert_eq!(output.stdout, expected);
    }

    #[test]
    fn strict_fails_on_warnings() {
        let arguments = Arguments {
            strict: true,
            ..Arguments::default()
        };
        let failure = check(&arguments, &Environment::of(ODD)).expect_err("there is a warning");
        assert_eq!(
            failure.reasons,
            ["REGISTRY_HTTP_SECRET: http.secret has no effect"]
        );
        assert!(check(&arguments, &Environment::of(&[("HOME", "/home/u")])).is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told_with_the_warnings_beside_it() {
        let variables = [
            ("HOME", "/h"),
            ("REGISTRY_LOG_LEVEL", "x"),
            ("REGISTRY_GC_LEASE", "y"),
            ("REGISTRY_HTTP_SECRET", "z"),
        ];
        let failure = check(&Arguments::default(), &Environment::of(&variables))
            .expect_err("two values are wrong");
        assert_eq!(failure.reasons.len(), 2);
        assert_eq!(
            failure.remarks,
            ["warning: REGISTRY_HTTP_SECRET: http.secret has no effect"]
        );
    }
}
