//! `seawall gc status`: what the collector does, what waits for it, and how its last run went.

use std::fmt::Write;
use std::time::Duration;

use indicatif::HumanBytes;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::server::{moment, printable};
use crate::config::duration_text;

/// What the server says, as far as it is shown.
#[derive(Deserialize)]
struct Status {
    state: String,
    grace: u64,
    interval: u64,
    candidates: Candidates,
    helduntil: Option<i64>,
    #[serde(default)]
    heldrepositories: Held,
    lastrun: Option<LastRun>,
}

#[derive(Deserialize)]
struct Candidates {
    blobs: u64,
    manifests: u64,
    untagged: u64,
    oldest: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Held {
    count: u64,
    names: Vec<String>,
}

#[derive(Deserialize)]
struct LastRun {
    finishedat: i64,
    grace: u64,
    deleteuntagged: bool,
    reviewed: u64,
    manifests: u64,
    blobs: u64,
    bytesfreed: u64,
    kept: u64,
}

/// Returns what people read.
pub(super) fn text(told: &Value) -> Result<String, Failure> {
    let status = Status::deserialize(told)
        .map_err(|error| Failure::new(format!("the server tells something strange: {error}")))?;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<11} {value}");
    };
    let (grace, interval) = (duration(status.grace), duration(status.interval));
    let does = match status.state.as_str() {
        "running" => "running".to_owned(),
        "waiting" => format!("waiting; runs every {interval}"),
        "paused" => "paused; `seawall gc resume` lets it go on".to_owned(),
        "disabled" => "runs only when asked (gc.enabled is false)".to_owned(),
        other => printable(other),
    };
    row("collector", &does);
    row("grace", &grace);
    let Candidates {
        blobs,
        manifests,
        untagged,
        oldest,
    } = status.candidates;
    let since = oldest.map_or_else(String::new, |since| {
        format!("; the oldest since {}", moment(since))
    });
    row(
        "candidates",
        &format!("{blobs} blobs, {manifests} manifests{since}"),
    );
    row(
        "untagged",
        &format!("{untagged} manifests that only --delete-untagged takes"),
    );
    if let Some(until) = status.helduntil {
        let until = moment(until);
        row(
            "held back",
            &format!("what was pushed, until {until}: the server before did not end in order"),
        );
    }
    if status.heldrepositories.count > 0 {
        row("held", &told_of_held(&status.heldrepositories));
    }
    match status.lastrun {
        None => row("last run", "none yet"),
        Some(last) => row("last run", &told_of(&last)),
    }
    Ok(text)
}

fn told_of_held(held: &Held) -> String {
    let Held { count, names } = held;
    let more = count.saturating_sub(names.len() as u64);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let names = printable(&names.join(", "));
    format!(
        "{count} repositories, of which nothing is collected until `seawall import` finds nothing unusable in them: {names}{more}"
    )
}

/// Returns the remark on what a run had to leave.
pub(super) fn held(until: &str) -> String {
    format!(
        "nothing that was pushed is collected until {until}: the server before did not end in order\n"
    )
}

fn told_of(last: &LastRun) -> String {
    let LastRun {
        finishedat,
        grace,
        deleteuntagged,
        reviewed,
        manifests,
        blobs,
        bytesfreed,
        kept,
    } = last;
    let (at, grace, freed) = (
        moment(*finishedat),
        duration(*grace),
        HumanBytes(*bytesfreed),
    );
    let untagged = if *deleteuntagged {
        ", untagged manifests too"
    } else {
        ""
    };
    format!(
        "{at} (grace {grace}{untagged}): reviewed {reviewed}, removed {manifests} manifests and {blobs} blobs, freed {freed}, {kept} stayed for now"
    )
}

fn duration(micros: u64) -> String {
    duration_text(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn the_status_reads_as_in_the_snapshot() {
        let mut status = json!({
            "state": "waiting", "enabled": true, "paused": false,
            "grace": 86_400_000_000_u64, "interval": 3_600_000_000_u64,
            "candidates": {"blobs": 12, "manifests": 3, "untagged": 5, "oldest": 1_795_262_400_000_000_i64},
            "helduntil": 1_795_266_000_000_000_i64,
            "heldrepositories": {"count": 3, "names": ["team/app", "team/old"]},
            "lastrun": {
                "startedat": 1_795_262_400_000_000_i64, "finishedat": 1_795_262_401_000_000_i64,
                "grace": 0, "deleteuntagged": true, "reviewed": 10, "manifests": 2, "blobs": 5,
                "bytesfreed": 3_221_225_472_u64, "kept": 1
            }
        });
        let mut shown = text(&status).expect("a status");
        status["helduntil"] = json!(null);
        status["heldrepositories"] = json!({"count": 0, "names": []});
        status["lastrun"] = json!(null);
        status["candidates"] = json!({"blobs": 0, "manifests": 0, "untagged": 0, "oldest": null});
        for state in ["running", "paused", "disabled"] {
            status["state"] = json!(state);
            shown.push_str("----\n");
            shown.push_str(&text(&status).expect("a status"));
        }
        assert_eq!(shown, include_str!("../snapshots/gc_status.txt"));
    }

    #[test]
    fn what_is_no_status_is_told_and_not_guessed() {
        let failure = text(&json!({"state": 1})).expect_err("no status");
        assert!(failure.reasons[0].contains("strange"), "{failure:?}");
    }
}
