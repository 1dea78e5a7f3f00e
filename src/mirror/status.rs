//! How each upstream stands: what its client knows and what was counted since the start.

use super::remotes::Mirror;
use crate::telemetry::MirrorNumbers;
use crate::upstream::EndpointStanding;

/// How one mirror stands.
#[derive(Debug)]
pub struct MirrorStatus {
    /// Its configured name.
    pub name: String,
    /// Whether any of its endpoints is being asked.
    pub healthy: bool,
    /// Its endpoints, in the order they are tried.
    pub endpoints: Vec<EndpointStanding>,
    /// What the upstream last said is left of its rate limit.
    pub ratelimit_remaining: Option<i64>,
    /// What was counted.
    pub numbers: MirrorNumbers,
}

impl Mirror {
    /// Returns how every mirror stands, in the order of the configuration; nobody is asked.
    pub fn status(&self) -> Vec<MirrorStatus> {
        let status = self.remotes.iter().map(|remote| {
            let standing = remote.client.standing();
            MirrorStatus {
                name: remote.settings.name.clone(),
                healthy: standing.healthy,
                endpoints: standing.endpoints,
                ratelimit_remaining: standing.ratelimit_remaining,
                numbers: self.metrics.of_mirror(&remote.label),
            }
        });
        status.collect()
    }
}
