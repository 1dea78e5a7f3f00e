//! BuildKit's `buildkitd.toml`. BuildKit sends `ns=`, so every mirror is the bare host; plain http is told per host.

use super::Server;
use crate::cli::Output;
use crate::config::Mirrors;

/// Returns the file.
pub(super) fn render(server: &Server, mirrors: &Mirrors) -> Result<Output, String> {
    let authority = server.authority_at_root("buildkit")?;
    let mut file = String::from(
        "# Save as /etc/buildkit/buildkitd.toml (rootless: ~/.config/buildkit/buildkitd.toml), then: systemctl restart buildkit
# With Docker: docker buildx create --use --buildkitd-config THIS-FILE
# A builder in a container has a loopback of its own: give it the host's address with --server URL.
",
    );
    for mirror in &mirrors.upstreams {
        file.push_str(&format!(
            "\n[registry.\"{}\"]\n  mirrors = [\"{authority}\"]\n",
            mirror.name
        ));
    }
    if server.is_plain_http() {
        file.push_str(&format!("\n[registry.\"{authority}\"]\n  http = true\n"));
    }
    Ok(Output {
        code: 0,
        stdout: file,
        stderr: String::new(),
    })
}
