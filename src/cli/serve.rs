//! `seawall serve`: which configuration to run with, and the screen that greets the operator.
//! The server itself is started by the program.

use std::fmt::Write;
use std::net::SocketAddr;

use clap::Args;

use super::client_config::Server;
use super::configuration::ConfigurationArgumentsWithFile;
use crate::config::{Environment, Error, Loaded, load};

/// Arguments of `serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct Arguments {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArgumentsWithFile,
}

impl Arguments {
    /// Returns the configuration to run with.
    ///
    /// # Errors
    /// Returns every reason to refuse it.
    pub fn load(&self, environment: &Environment) -> Result<Loaded, Error> {
        load(&self.configuration.sources(), environment)
    }
}

/// Returns the screen shown once the server listens: address, data directory, mirrors, and how to point clients at it.
#[must_use]
pub fn start_screen(loaded: &Loaded, listening: SocketAddr) -> String {
    let config = &loaded.config;
    let server = Server::listening(&config.http, listening);
    let url = server.url();
    let mut screen = format!("Seawall {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(screen, "  {name:<11} {value}");
    };
    row("listening", &format!("{listening} ({url})"));
    row("data", &config.storage.rootdirectory.display().to_string());
    if config.storage.statedirectory != config.storage.rootdirectory {
        row(
            "state",
            &config.storage.statedirectory.display().to_string(),
        );
    }
    row(
        "config",
        &loaded.file.as_ref().map_or_else(
            || "built-in defaults".to_owned(),
            |file| file.display().to_string(),
        ),
    );
    let upstreams = &config.mirrors.upstreams;
    for (index, mirror) in upstreams.iter().enumerate() {
        let name = if index == 0 { "mirrors" } else { "" };
        let role = if mirror.default { " (default)" } else { "" };
        row(name, &format!("{}{role}", mirror.name));
    }
    if upstreams.is_empty() {
        row("mirrors", "none");
    }
    if config.mirrors.proxy_only {
        row(
            "pushes",
            "refused: proxy.remoteurl alone is a read-only mirror",
        );
    }
    let options = loaded
        .file
        .as_ref()
        .map_or_else(String::new, |file| format!(" --config {}", file.display()));
    screen.push_str("\nPoint clients here; each command prints the file and where it goes:\n\n");
    for client in ["docker", "containerd", "podman"] {
        let _ = writeln!(
            screen,
            "  seawall client-config {client}{options} --server {url}"
        );
    }
    if let Some(image) = server.example_image(&config.mirrors) {
        let insecure = if server.is_plain_http() {
            " --tls-verify=false"
        } else {
            ""
        };
        let _ = write!(
            screen,
            "\nOr try it now:\n\n  docker pull {image}\n  podman pull{insecure} {image}\n"
        );
    }
    screen
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::start_screen;
    use crate::config::{Environment, Loaded, Sources, load};

    fn loaded(variables: &[(&str, &str)]) -> Loaded {
        let variables: Vec<_> = [("HOME", "/home/u")]
            .into_iter()
            .chain(variables.iter().copied())
            .collect();
        load(&Sources::default(), &Environment::of(&variables)).expect("the configuration is right")
    }

    #[test]
    fn the_screen_reads_as_in_the_snapshots() {
        let address = "127.0.0.1:5000".parse().expect("an address");
        let everywhere = "[::]:5001".parse().expect("an address");
        let mut shown = start_screen(&loaded(&[]), address);
        shown.push_str("----\n");
        let mut proxy = loaded(&[("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io")]);
        proxy.file = Some(PathBuf::from("/etc/distribution/config.yml"));
        proxy.config.storage.statedirectory = PathBuf::from("/var/lib/seawall");
        shown.push_str(&start_screen(&proxy, everywhere));
        shown.push_str("----\n");
        shown.push_str(&start_screen(
            &loaded(&[("REGISTRY_MIRRORS", "[]")]),
            address,
        ));
        assert_eq!(shown, include_str!("snapshots/start_screen.txt"));
    }
}
