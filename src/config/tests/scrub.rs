//! The `scrub` section.

use crate::config::Scrub;

use super::load::{PLAIN, with};

fn scrub(keys: &str) -> Scrub {
    let config = with(&format!("{PLAIN}scrub: {{{keys}}}\n"), &[]);
    let config = config.expect("the configuration is right");
    assert_eq!(config.warnings, [""; 0]);
    config.scrub
}

#[test]
fn blobs_are_hashed_again_when_asked_and_gently_unless_the_section_says_otherwise() {
    assert_eq!(scrub(""), Scrub::default());
    assert_eq!(Scrub::default().rate, 50_000_000);
    assert_eq!(scrub("schedule: '', rate: 50MB"), Scrub::default());
    let read = scrub("schedule: '0 4 * * 0', rate: 0");
    assert_eq!(read.schedule.as_deref(), Some("0 4 * * 0"));
    assert_eq!(read.rate, 0);
}

#[test]
fn wrong_values_are_named_with_their_key() {
    let text = format!("{PLAIN}scrub:\n  schedule: weekly\n  rate: fast\n");
    let refused = with(&text, &[]).expect_err("both are wrong").to_string();
    for told in [
        "scrub.schedule: \"weekly\" is not a schedule of five fields",
        "scrub.rate: \"fast\" is not a size",
    ] {
        assert!(refused.contains(told), "{refused}");
    }
}
