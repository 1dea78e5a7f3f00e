//! Whether there is room for more mirrored content.

use super::store::Content;

impl Content {
    /// Returns whether a mirror fill of `bytes` (none: of unknown size) may begin. When it may not, the
    /// content is passed through to its readers and not kept.
    pub fn has_room_for(&self, _bytes: Option<u64>) -> bool {
        true
    }
}
