//! Black-box stories: every one starts its own Seawall and talks to it through a real socket.
#![expect(
    clippy::unwrap_used,
    reason = "in a story a failed unwrap is a failed check"
)]

mod support;
