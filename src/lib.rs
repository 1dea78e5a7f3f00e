//! Seawall: a container registry and a mirror of other registries, in one binary. `ARCHITECTURE.md` is
//! the map; every room's own doc says what it is for and what it must never do.

// A request's future holds the whole registry; proving that it may cross threads goes deeper than the default of 128.
#![recursion_limit = "256"]

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod content;
pub mod http;
pub mod jobs;
pub mod mirror;
pub mod policy;
pub mod registry;
pub mod telemetry;
pub mod upstream;
