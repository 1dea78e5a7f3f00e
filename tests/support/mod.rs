//! What every story stands on: a Seawall of its own, clients, images, and an upstream that misbehaves
//! on demand. Only `server` touches Seawall's Rust API; the rest speaks HTTP.

pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod distribution;
pub(crate) mod gate;
pub(crate) mod images;
pub(crate) mod raw;
pub(crate) mod server;
pub(crate) mod small_disk;
pub(crate) mod upstream;
pub(crate) mod upstream_answers;
pub(crate) mod upstream_plan;
pub(crate) mod via_dropper;
