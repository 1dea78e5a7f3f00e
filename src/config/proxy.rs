//! Distribution's `proxy` section: one upstream, which answers every name that is not local.

use std::time::Duration;

use super::duration::parse_duration;
use super::login;
use super::mirrors::{DOCKER_HUB, Mirror, realms};
use super::problems::Problems;
use super::section::Section;
use super::url::parse_http_url;

/// How long Distribution keeps what nobody asks for.
const DISTRIBUTION_TTL: Duration = Duration::from_hours(168);

/// Reads the section; none without `remoteurl`, though what else stands in it is still checked.
pub(super) fn read(section: &Section<'_>, problems: &mut Problems) -> Option<Mirror> {
    let login = login::of_proxy(section, problems);
    let realms = realms(section, problems);
    let ttl = section
        .parse("ttl", problems, parse_duration)
        .unwrap_or(DISTRIBUTION_TTL);
    let Some(url) = section.field("remoteurl", problems) else {
        tell_idle_credentials(section, problems);
        return None;
    };
    let url = url.parse(problems, parse_http_url)?;
    let host = url.host_str().unwrap_or_default();
    let name = match url.port() {
        None if host == DOCKER_HUB || host.ends_with(".docker.io") => DOCKER_HUB.to_owned(),
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    Some(Mirror {
        default: true,
        login,
        ttl: Some(ttl).filter(|ttl| !ttl.is_zero()),
        realms,
        ..Mirror::new(name, vec![url])
    })
}

/// Warns of every key with credentials, which nobody is asked with.
fn tell_idle_credentials(section: &Section<'_>, problems: &mut Problems) {
    let exec = section.section("exec");
    for (section, key) in [
        (section, "username"),
        (section, "password"),
        (section, "passwordfile"),
        (&exec, "command"),
    ] {
        if let Some(field) = section.field(key, problems) {
            field.warning(problems, "has no effect without proxy.remoteurl");
        }
    }
}
