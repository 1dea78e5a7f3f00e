//! `seawall mirror status`: a row for each mirror, and what they keep.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanBytes;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::server::{Server, printable};

/// What the server says, as far as it is shown.
#[derive(Deserialize)]
struct Status {
    mirrors: Vec<Mirror>,
    cache: Cache,
}

#[derive(Deserialize)]
struct Mirror {
    name: String,
    healthy: bool,
    endpoints: Vec<Endpoint>,
    hits: u64,
    misses: u64,
    stale: u64,
    bytessaved: u64,
    ratelimitremaining: Option<i64>,
    inflight: u64,
}

#[derive(Deserialize)]
struct Endpoint {
    healthy: bool,
}

#[derive(Deserialize)]
struct Cache {
    bytes: u64,
    maxbytes: u64,
}

/// Asks the server how its mirrors stand.
pub(super) async fn ask(server: &Server) -> Result<Value, Failure> {
    server.get("/mirrors").await
}

/// Returns what people read.
pub(super) fn text(told: &Value) -> Result<String, Failure> {
    let status = Status::deserialize(told)
        .map_err(|error| Failure::new(format!("the server tells something strange: {error}")))?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "MIRROR",
        "HEALTH",
        "HITS",
        "SAVED",
        "LIMIT LEFT",
        "FETCHING",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for mirror in &status.mirrors {
        let limit = mirror.ratelimitremaining;
        table.add_row([
            printable(&mirror.name),
            health(mirror),
            ratio(mirror),
            HumanBytes(mirror.bytessaved).to_string(),
            limit.map_or_else(|| "-".to_owned(), |left| left.to_string()),
            mirror.inflight.to_string(),
        ]);
    }
    let mut text = if status.mirrors.is_empty() {
        "no mirrors are configured\n".to_owned()
    } else {
        // Every cell stands between blanks, the first and the last too.
        let lines = table.lines().map(|line| {
            let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
            format!("{line}\n")
        });
        lines.collect()
    };
    let bytes = HumanBytes(status.cache.bytes);
    match status.cache.maxbytes {
        0 => text.push_str(&format!(
            "\ncache {bytes}, bounded by the free space only\n"
        )),
        most => text.push_str(&format!("\ncache {bytes} of {}\n", HumanBytes(most))),
    }
    Ok(text)
}

fn health(mirror: &Mirror) -> String {
    let all = mirror.endpoints.len();
    let healthy = mirror.endpoints.iter().filter(|endpoint| endpoint.healthy);
    match healthy.count() {
        _ if !mirror.healthy => "down".to_owned(),
        up if up < all => format!("{up} of {all} up"),
        _ => "up".to_owned(),
    }
}

/// Returns the share of manifests and blobs that were answered from here.
fn ratio(mirror: &Mirror) -> String {
    let here = mirror.hits.saturating_add(mirror.stale);
    match here.saturating_add(mirror.misses) {
        0 => "-".to_owned(),
        all => format!("{} %", here.saturating_mul(100) / all),
    }
}
