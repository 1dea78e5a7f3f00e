//! The OCI distribution API: one file per noun, and the table that leads to them. A handler turns one
//! admitted request into one `registry` call and its answer into headers.

mod blobs;
mod body;
mod call;
mod conditional;
mod lists;
mod manifests;
mod referrers;
mod router;
mod uploads;

pub(super) use router::{Sender, answer};
