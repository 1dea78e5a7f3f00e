//! The `registries.conf` drop-in of Podman, Buildah, Skopeo and CRI-O. They send no `ns=`: the mirror is a path prefix.

use super::Server;
use crate::cli::Output;
use crate::config::Mirrors;

/// Returns the file.
pub(super) fn render(server: &Server, mirrors: &Mirrors) -> Result<Output, String> {
    let authority = server.authority_at_root("podman")?;
    let insecure = if server.is_plain_http() {
        "insecure = true\n"
    } else {
        ""
    };
    let mut file = String::from(
        "# Save as /etc/containers/registries.conf.d/50-seawall.conf, or for one user as
# ~/.config/containers/registries.conf.d/50-seawall.conf
# Podman, Buildah and Skopeo read it at once. After a change for CRI-O: systemctl restart crio
",
    );
    if server.is_plain_http() {
        file.push_str(&format!(
            "\n[[registry]]\nlocation = \"{authority}\"\n{insecure}"
        ));
    }
    for mirror in &mirrors.upstreams {
        let name = &mirror.name;
        // Below another host a name with a port or capitals is no valid image name, so podman could not ask for it.
        if !mirrors.proxy_only && name.chars().any(|c| c == ':' || c.is_ascii_uppercase()) {
            file.push_str(&format!(
                "\n# {name} cannot be mirrored this way: its name is not valid below another host\n"
            ));
            continue;
        }
        let location = if mirrors.proxy_only {
            authority.clone()
        } else {
            format!("{authority}/{name}")
        };
        file.push_str(&format!(
            "\n[[registry]]\nprefix = \"{name}\"\nlocation = \"{name}\"\n\n[[registry.mirror]]\nlocation = \"{location}\"\n{insecure}"
        ));
    }
    Ok(Output {
        code: 0,
        stdout: file,
        stderr: String::new(),
    })
}
