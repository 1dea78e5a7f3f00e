//! The job that gives the root back to Distribution: its link files say what the rows say. What an earlier run wrote is
//! found and left.

use serde::Serialize;

use super::failure::Failure;
use super::lines::Lines;
use crate::content::{Content, ExportConflict, ExportReport};

/// What was found.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    /// Something was left as it is.
    Conflict(&'a ExportConflict),
    /// It is done.
    Exported(&'a ExportReport),
}

/// Conflicts that are told one by one, so that there is room for the last line.
const CONFLICTS: u64 = 10_000;

/// Exports, and tells what was left and, at last, how much there is.
pub(super) async fn run(content: &Content, lines: &mut Lines) -> Result<(), Failure> {
    let tally = lines.tally().clone();
    let mut told = |report: &ExportReport, conflict: Option<&ExportConflict>| {
        if let Some(conflict) = conflict
            && report.conflicts <= CONFLICTS
        {
            lines.tell(&Line::Conflict(conflict));
        }
        tally.count(|progress| {
            progress.manifests = report.manifests;
            progress.blobs = report.blobs;
            progress.kept = report.conflicts;
        });
    };
    let report = content.export_links(&mut told).await?;
    lines.tell(&Line::Exported(&report));
    Ok(())
}
