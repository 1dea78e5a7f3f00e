//! The files as they are printed, against snapshots.

use super::print::render;
use super::{Arguments, Client, Server, print};
use crate::cli::ConfigurationArguments;
use crate::config::{Environment, Mirrors, Sources, load};

const CLIENTS: [(&str, Client); 5] = [
    ("docker", Client::Docker),
    ("containerd", Client::Containerd),
    ("podman", Client::Podman),
    ("buildkit", Client::Buildkit),
    ("k3s", Client::K3s),
];

fn mirrors(variables: &[(&str, &str)]) -> Mirrors {
    let variables: Vec<_> = [("HOME", "/home/u")]
        .into_iter()
        .chain(variables.iter().copied())
        .collect();
    load(&Sources::default(), &Environment::of(&variables))
        .expect("the configuration is right")
        .config
        .mirrors
}

fn all_files(server: &str, mirrors: &Mirrors) -> String {
    let server = Server::at(server).expect("the URL is right");
    let mut shown = String::new();
    for (name, client) in CLIENTS {
        shown.push_str(&format!("==== {name}\n"));
        match render(client, &server, mirrors) {
            Ok(output) => {
                shown.push_str(&format!("{}---- stderr\n{}", output.stdout, output.stderr))
            }
            Err(reason) => shown.push_str(&format!("---- refused\n{reason}\n")),
        }
    }
    shown
}

#[test]
fn files_for_the_built_in_mirrors_over_plain_http() {
    let shown = all_files("http://127.0.0.1:5000", &mirrors(&[]));
    assert_eq!(shown, include_str!("../snapshots/client_config_local.txt"));
}

#[test]
fn files_for_mirrors_over_https_and_odd_names() {
    let list = "[{name: ghcr.io, default: true}, {name: \"registry.lan:5000\"}]";
    let shown = all_files(
        "https://registry.example.org",
        &mirrors(&[("REGISTRY_MIRRORS", list)]),
    );
    assert_eq!(shown, include_str!("../snapshots/client_config_https.txt"));
}

#[test]
fn files_for_a_read_only_mirror_name_the_one_registry() {
    let shown = all_files(
        "http://registry.lan:5000",
        &mirrors(&[("REGISTRY_PROXY_REMOTEURL", "https://registry-1.docker.io")]),
    );
    assert_eq!(shown, include_str!("../snapshots/client_config_proxy.txt"));
}

#[test]
fn files_for_a_plain_registry_mirror_nothing() {
    let shown = all_files(
        "http://registry.lan:5000/",
        &mirrors(&[("REGISTRY_MIRRORS", "[]")]),
    );
    assert_eq!(shown, include_str!("../snapshots/client_config_plain.txt"));
}

#[test]
fn clients_that_cannot_use_a_path_say_so() {
    let shown = all_files(
        "https://example.org/registry",
        &mirrors(&[("REGISTRY_MIRRORS_0_NAME", "quay.io")]),
    );
    assert_eq!(shown, include_str!("../snapshots/client_config_path.txt"));
}

#[test]
fn the_server_is_taken_from_the_configuration_and_a_guess_is_told() {
    let arguments = |server: Option<&str>| Arguments {
        client: Client::K3s,
        server: server.map(str::to_owned),
        configuration: ConfigurationArguments {
            listen: Some(":5001".to_owned()),
            ..ConfigurationArguments::default()
        },
    };
    let home = ("HOME", "/home/u");
    let guessed = print(&arguments(None), &Environment::of(&[home])).expect("a file");
    assert!(
        guessed.stdout.contains("\"http://localhost:5001\"")
            && guessed.stderr.contains("--server URL")
    );
    let host = ("REGISTRY_HTTP_HOST", "https://registry.example.org");
    let known = print(&arguments(None), &Environment::of(&[home, host])).expect("a file");
    assert!(known.stdout.contains("\"https://registry.example.org\"") && known.stderr.is_empty());
    let told = print(
        &arguments(Some("http://10.0.0.1:5000/")),
        &Environment::of(&[home]),
    )
    .expect("a file");
    assert!(told.stdout.contains("\"http://10.0.0.1:5000\"") && told.stderr.is_empty());
    let failure =
        print(&arguments(Some("10.0.0.1:5000")), &Environment::of(&[home])).expect_err("no URL");
    assert_eq!(
        failure.reasons,
        ["--server: a URL like http://127.0.0.1:5000 is expected"]
    );
}
