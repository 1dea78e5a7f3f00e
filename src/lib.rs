//! Seawall: a container registry and a mirror of other registries.

pub mod cli;
pub mod config;
pub mod telemetry;
