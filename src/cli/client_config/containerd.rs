//! containerd's `hosts.toml`. containerd says by `ns=` which registry it means, so one file serves all mirrors;
//! where Seawall ignores `ns=`, the file must name one registry, or images would come from the wrong one.

use super::Server;
use crate::cli::Output;
use crate::config::{Mirror, Mirrors};

/// Returns the file.
pub(super) fn render(server: &Server, mirrors: &Mirrors) -> Output {
    let directory = "/etc/containerd/certs.d";
    let (folder, what, upstream) = match (mirrors.proxy_only, mirrors.upstreams.as_slice()) {
        (true, [mirror, ..]) => (
            mirror.name.clone(),
            "It asks Seawall first, then the registry itself.",
            origin(mirror),
        ),
        (_, []) => (
            server.authority(),
            "It lets containerd pull from and push to Seawall.",
            Some(server.url().to_owned()),
        ),
        (false, [..]) => (
            "_default".to_owned(),
            "For images of every registry it asks Seawall first, then the registry itself.",
            None,
        ),
    };
    let mut file = format!(
        "# Save as {directory}/{folder}/hosts.toml
# {what}
# containerd reads it once /etc/containerd/config.toml says config_path = \"{directory}\", in
#   containerd 2: [plugins.\"io.containerd.cri.v1.images\".registry]
#   containerd 1: [plugins.\"io.containerd.grpc.v1.cri\".registry]
# After changing config.toml: systemctl restart containerd. After changing this file: nothing.
# By hand: ctr images pull --hosts-dir {directory} IMAGE

"
    );
    if let Some(upstream) = upstream {
        file.push_str(&format!("server = \"{upstream}\"\n\n"));
    }
    let capabilities = if mirrors.upstreams.is_empty() {
        "\"pull\", \"resolve\", \"push\""
    } else {
        "\"pull\", \"resolve\""
    };
    file.push_str(&format!(
        "[host.\"{}\"]\n  capabilities = [{capabilities}]\n",
        server.containerd_url()
    ));
    if server.path().is_some() {
        file.push_str("  override_path = true\n");
    }
    Output {
        code: 0,
        stdout: file,
        stderr: String::new(),
    }
}

/// Returns where containerd finds the registry without Seawall; none where it knows best itself.
fn origin(mirror: &Mirror) -> Option<String> {
    let url = mirror.endpoints.first()?;
    (url.path() == "/").then(|| url.as_str().trim_end_matches('/').to_owned())
}
