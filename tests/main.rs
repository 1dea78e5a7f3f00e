//! Black-box stories: every one starts its own Seawall and talks to it through a real socket.
#![expect(
    clippy::unwrap_used,
    reason = "in a story a failed unwrap is a failed check"
)]

mod delete;
mod digests;
mod manifests;
mod mount;
mod pull;
mod push;
mod ranges;
mod referrers;
mod support;
mod tags_catalog;
mod uploads;
