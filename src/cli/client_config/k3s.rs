//! The `registries.yaml` of k3s and RKE2, from which they write containerd's hosts.toml; so they send `ns=`.

use super::Server;
use crate::cli::Output;
use crate::config::Mirrors;

/// Returns the file.
pub(super) fn render(server: &Server, mirrors: &Mirrors) -> Output {
    let mut file = String::from(
        "# Save as /etc/rancher/k3s/registries.yaml (RKE2: /etc/rancher/rke2/registries.yaml) on every node,
# then: systemctl restart k3s (on agents: k3s-agent)
mirrors:
",
    );
    let own = server.authority();
    let names = mirrors
        .upstreams
        .iter()
        .map(|mirror| mirror.name.as_str())
        .filter(|name| *name != own);
    for name in names.chain([own.as_str()]) {
        file.push_str(&format!(
            "  \"{name}\":\n    endpoint:\n      - \"{}\"\n",
            server.containerd_url()
        ));
    }
    Output {
        code: 0,
        stdout: file,
        stderr: String::new(),
    }
}
