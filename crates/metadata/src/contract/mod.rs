//! What every engine promises: one function per clause, each given an empty database of its own. `clauses` lists them;
//! a new engine adds a file to `engines` and must pass them all unchanged.

mod blobs;
mod clauses;
mod collecting;
mod collecting_costs;
mod collecting_model;
mod consistency;
mod damage;
pub(crate) mod engines;
mod imports;
mod interleaved;
mod job_lines;
mod jobs;
mod leases;
mod manifests;
mod mirrors;
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
