//! What every engine promises: one function per clause, each given an empty database of its own. A new engine adds a
//! file like `on_sqlite` and must pass them all unchanged.

mod blobs;
mod collecting;
mod collecting_costs;
mod collecting_model;
mod consistency;
mod damage;
mod job_lines;
mod jobs;
mod leases;
mod manifests;
mod mirrors;
mod on_sqlite;
mod pulls;
mod pushes;
mod reclaim;
mod referrers;
mod repositories;
pub(crate) mod support;
mod tag_moves;
mod tags;
mod upkeep;
mod uploads;
