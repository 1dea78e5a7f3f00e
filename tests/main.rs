//! Black-box stories: every one starts its own Seawall and talks to it through a real socket.
#![expect(
    clippy::unwrap_used,
    reason = "in a story a failed unwrap is a failed check"
)]

mod api;
mod backup;
mod config_cli;
mod delete;
mod digests;
mod errors;
mod export_links;
mod faults_clients;
mod faults_storage;
mod faults_upstream;
mod fsck;
mod gc;
mod gc_api;
mod gc_beside;
mod gc_cli;
mod import;
mod import_serve;
mod integrity;
mod jobs;
mod leases;
mod limits;
mod manifests;
mod metrics;
mod mirror_account;
mod mirror_blobs;
mod mirror_cache;
mod mirror_chain;
mod mirror_cli;
mod mirror_credentials;
mod mirror_followers;
mod mirror_freshness;
mod mirror_full_disk;
mod mirror_herd;
mod mirror_lists;
mod mirror_manifests;
mod mirror_names;
mod mirror_outage;
mod mirror_prefetch;
mod mirror_ranges;
mod mirror_rules;
mod mirror_warm;
mod model;
mod mount;
mod pull;
mod push;
mod ranges;
mod referrers;
mod restart;
mod support;
mod tag_history;
mod tags_catalog;
mod uploads;
mod uploads_upkeep;
mod wire;
