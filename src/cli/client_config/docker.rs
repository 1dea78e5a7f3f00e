//! Docker Engine's `daemon.json`. Docker mirrors Docker Hub only, and only from the root of a host.

use serde_json::{Map, Value, json};

use super::Server;
use crate::cli::Output;
use crate::config::Mirrors;

/// Returns the file; being JSON, it holds no comments, so the remarks go to stderr.
pub(super) fn render(server: &Server, mirrors: &Mirrors) -> Result<Output, String> {
    let authority = server.authority_at_root("docker")?;
    let mut file = Map::new();
    let mut remarks = String::from(
        "Save as /etc/docker/daemon.json (merge it into one that is there), then: systemctl restart docker\n",
    );
    // A classic image store sends no ns=, so only the default upstream can answer it; any other would be the wrong registry.
    match mirrors.default() {
        Some(mirror) if mirror.name == "docker.io" => {
            file.insert("registry-mirrors".to_owned(), json!([server.url()]));
        }
        Some(mirror) => remarks.push_str(&format!(
            "Docker asks mirrors for Docker Hub's images only, and {} is the default upstream here: no mirror is set.\n",
            mirror.name
        )),
        None => remarks.push_str("Docker Hub is not mirrored here: no mirror is set.\n"),
    }
    if server.is_plain_http() && !server.is_loopback() {
        file.insert("insecure-registries".to_owned(), json!([authority]));
    }
    if !mirrors.proxy_only
        && let Some(other) = mirrors
            .upstreams
            .iter()
            .find(|mirror| !mirror.default && !mirror.name.contains(':'))
    {
        remarks.push_str(&format!(
            "Other registries go by prefix: docker pull {authority}/{}/…\n",
            other.name
        ));
    }
    let text =
        serde_json::to_string_pretty(&Value::Object(file)).map_err(|error| error.to_string())?;
    Ok(Output {
        code: 0,
        stdout: format!("{text}\n"),
        stderr: remarks,
    })
}
