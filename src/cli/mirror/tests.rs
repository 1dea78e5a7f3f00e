//! What people read, from what a server says.

use serde_json::json;

use super::status;

fn status_of(mirrors: serde_json::Value, maxbytes: u64) -> String {
    let told =
        json!({"mirrors": mirrors, "cache": {"bytes": 3_221_225_472_u64, "maxbytes": maxbytes}});
    status::text(&told).expect("a status")
}

#[test]
fn the_status_is_a_table_with_a_row_for_each_mirror() {
    let mirrors = json!([
        {
            "name": "docker.io", "healthy": true,
            "endpoints": [{"url": "https://registry-1.docker.io/", "healthy": true}],
            "hits": 960, "misses": 30, "stale": 10, "bytessaved": 5_368_709_120_u64,
            "ratelimitremaining": 76, "inflight": 2
        },
        {
            "name": "ghcr.io", "healthy": true,
            "endpoints": [
                {"url": "https://a.example/", "healthy": false},
                {"url": "https://ghcr.io/", "healthy": true}
            ],
            "hits": 0, "misses": 0, "stale": 0, "bytessaved": 0,
            "ratelimitremaining": null, "inflight": 0
        },
        {
            "name": "quay.io", "healthy": false,
            "endpoints": [{"url": "https://quay.io/", "healthy": false}],
            "hits": 1, "misses": 2, "stale": 0, "bytessaved": 512,
            "ratelimitremaining": null, "inflight": 0
        }
    ]);
    assert_eq!(
        status_of(mirrors, 0),
        include_str!("../snapshots/mirror_status.txt")
    );
}

#[test]
fn without_mirrors_the_status_says_so_and_a_bound_is_shown() {
    let expected = "no mirrors are configured\n\ncache 3.00 GiB of 10.00 GiB\n";
    assert_eq!(status_of(json!([]), 10 << 30), expected);
}

#[test]
fn what_is_no_status_is_told_and_not_guessed() {
    let failure = status::text(&json!({"mirrors": 1})).expect_err("no status");
    assert!(failure.reasons[0].contains("strange"), "{failure:?}");
}
