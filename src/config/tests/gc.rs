//! The collector's settings.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::time::Duration;

use super::load::{PLAIN, errors, with};
use crate::config::Gc;

fn gc(keys: &str, variables: &[(&str, &str)]) -> Gc {
    let config = with(&format!("{PLAIN}gc: {{{keys}}}\n"), variables).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.gc
}

#[test]
fn the_collector_runs_every_hour_with_a_day_of_grace() {
    let expected = Gc {
        enabled: true,
        grace: Duration::from_secs(86_400),
        lease: Duration::from_secs(3600),
        deleteuntagged: false,
        interval: Duration::from_secs(3600),
        rate: 0,
        lowspacegrace: Duration::from_secs(600),
    };
    assert_eq!(gc("", &[]), expected);
    assert_eq!(Gc::default(), expected);
}

#[test]
fn every_setting_is_read_and_its_variable_goes_before_it() {
    let keys = "enabled: false, grace: 3d, lease: 2h, deleteuntagged: true, interval: 15m, rate: 200, lowspacegrace: 0s";
    let expected = Gc {
        enabled: false,
        grace: Duration::from_secs(3 * 86_400),
        lease: Duration::from_secs(7200),
        deleteuntagged: true,
        interval: Duration::from_secs(900),
        rate: 200,
        lowspacegrace: Duration::ZERO,
    };
    assert_eq!(gc(keys, &[]), expected);
    let variables = [
        ("REGISTRY_GC_ENABLED", "true"),
        ("REGISTRY_GC_GRACE", "0s"),
        ("REGISTRY_GC_LEASE", "30m"),
        ("REGISTRY_GC_DELETEUNTAGGED", "false"),
        ("REGISTRY_GC_INTERVAL", "1d"),
        ("REGISTRY_GC_RATE", "0"),
        ("REGISTRY_GC_LOWSPACEGRACE", "1m"),
    ];
    let expected = Gc {
        enabled: true,
        grace: Duration::ZERO,
        lease: Duration::from_secs(1800),
        deleteuntagged: false,
        interval: Duration::from_secs(86_400),
        rate: 0,
        lowspacegrace: Duration::from_secs(60),
    };
    assert_eq!(gc(keys, &variables), expected);
}

#[test]
fn wrong_settings_are_told_with_line_and_key() {
    let text = format!(
        "{PLAIN}gc:\n  enabled: perhaps\n  grace: soon\n  lease: 0s\n  deleteuntagged: 2\n  interval: 0s\n  rate: 1.5\n  lowspacegrace: -1m\n"
    );
    assert_eq!(
        errors(&text, &[]),
        [
            "config.yml:4: gc.enabled: \"perhaps\" is neither true nor false",
            "config.yml:5: gc.grace: \"soon\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:6: gc.lease: a lease of no time protects nothing",
            "config.yml:7: gc.deleteuntagged: \"2\" is neither true nor false",
            "config.yml:8: gc.interval: without a pause it would never end; enabled: false turns it off",
            "config.yml:9: gc.rate: \"1.5\" is not a whole number of files per second; 0 is no limit",
            "config.yml:10: gc.lowspacegrace: \"-1m\" is negative",
        ]
    );
}
