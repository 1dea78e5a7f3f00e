//! Arguments of the command, and the choice among clients.

use clap::{Args, ValueEnum};

use super::{Server, buildkit, containerd, docker, k3s, podman};
use crate::cli::{ConfigurationArguments, Failure, Output};
use crate::config::{Environment, Mirrors, load};

/// Arguments of `client-config`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The client
    pub client: Client,
    /// The server's address as the client knows it, as in https://registry.example.org
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub configuration: ConfigurationArguments,
}

/// A client that can be pointed at a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Docker Engine: daemon.json
    Docker,
    /// containerd: certs.d/_default/hosts.toml
    Containerd,
    /// Podman, Buildah, Skopeo, CRI-O: a registries.conf drop-in
    Podman,
    /// BuildKit: buildkitd.toml
    Buildkit,
    /// k3s and RKE2: registries.yaml
    K3s,
}

/// Returns the client's file for stdout, and remarks that cannot stand in it for stderr.
///
/// # Errors
/// Returns what is wrong with the configuration or the URL, or why the client cannot use such a server.
pub fn print(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let config = load(&arguments.configuration.sources(), environment)?.config;
    let server = match &arguments.server {
        Some(url) => {
            Server::at(url).map_err(|reason| Failure::new(format!("--server: {reason}")))?
        }
        None => Server::configured(&config.http),
    };
    let mut output = render(arguments.client, &server, &config.mirrors).map_err(Failure::new)?;
    if arguments.server.is_none() && server.is_a_guess() {
        output.stderr.push_str(&format!(
            "The server listens on every interface; the file says {}. Where that does not reach it, use --server URL.\n",
            server.url()
        ));
    }
    Ok(output)
}

/// Returns what `print` does, for a known server.
pub(super) fn render(client: Client, server: &Server, mirrors: &Mirrors) -> Result<Output, String> {
    match client {
        Client::Docker => docker::render(server, mirrors),
        Client::Containerd => Ok(containerd::render(server, mirrors)),
        Client::Podman => podman::render(server, mirrors),
        Client::Buildkit => buildkit::render(server, mirrors),
        Client::K3s => Ok(k3s::render(server, mirrors)),
    }
}
