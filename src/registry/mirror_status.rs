//! Telling how the mirrors stand: each upstream, and what is kept of all of them.

use super::service::Registry;
use crate::auth::Caller;

pub use crate::content::CacheSize;
pub use crate::mirror::MirrorStatus;

/// How the mirrors stand.
#[derive(Debug)]
pub struct MirrorsStatus {
    /// Every configured mirror, in the order of the configuration.
    pub mirrors: Vec<MirrorStatus>,
    /// What they keep here, together.
    pub cache: CacheSize,
}

/// Returns how the mirrors stand; no upstream is asked.
pub async fn mirror_status(registry: &Registry, _caller: &Caller) -> MirrorsStatus {
    MirrorsStatus {
        mirrors: registry.mirror.status(),
        cache: registry.content.cache_size().await,
    }
}
