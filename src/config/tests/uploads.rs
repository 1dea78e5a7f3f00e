//! Open uploads: what bounds them, and whose words win.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::time::Duration;

use super::load::{PLAIN, errors, with};
use crate::config::{UploadPurging, Uploads};

const HOUR: Duration = Duration::from_secs(3600);

fn uploads(text: &str, variables: &[(&str, &str)]) -> Uploads {
    let config = with(&format!("{PLAIN}{text}"), variables).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new(), "{text}");
    config.uploads
}

fn age(text: &str, variables: &[(&str, &str)]) -> Duration {
    uploads(text, variables).purging.unwrap().age
}

fn purging(values: &str) -> String {
    format!(
        "version: 0.1\nstorage: {{filesystem: {{}}, maintenance: {{uploadpurging: {values}}}}}\n"
    )
}

#[test]
fn without_a_word_uploads_are_purged_after_a_week_and_bounded() {
    for text in [PLAIN, &purging("{}"), &purging("")] {
        let config = with(text, &[]).unwrap();
        let expected = Uploads {
            maxpersubject: Some(1000),
            purging: Some(UploadPurging {
                age: 168 * HOUR,
                interval: 24 * HOUR,
                dryrun: false,
            }),
        };
        assert_eq!(config.uploads, expected, "{text}");
    }
}

#[test]
fn every_key_of_purging_is_read_and_none_is_required() {
    let text = purging("{enabled: true, age: 72h, interval: 1h30m, dryrun: true}");
    let expected = UploadPurging {
        age: 72 * HOUR,
        interval: HOUR * 3 / 2,
        dryrun: true,
    };
    assert_eq!(with(&text, &[]).unwrap().uploads.purging, Some(expected));
    let alone = with(&purging("{dryrun: true}"), &[]).unwrap();
    let expected = UploadPurging {
        dryrun: true,
        ..UploadPurging::default()
    };
    assert_eq!(alone.uploads.purging, Some(expected));
    let off = with(&purging("{enabled: false}"), &[]).unwrap();
    assert_eq!(off.uploads.purging, None);
}

#[test]
fn of_the_two_ages_that_are_set_the_smaller_counts() {
    let by_variable = |age| [("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", age)];
    assert_eq!(age("uploads: {maxage: 24h}\n", &[]), 24 * HOUR);
    assert_eq!(age("uploads: {maxage: 300h}\n", &[]), 300 * HOUR);
    assert_eq!(age("", &by_variable("336h")), 336 * HOUR);
    for (maxage, by, expected) in [("24h", "48h", 24), ("48h", "24h", 24), ("0s", "400h", 400)] {
        let text = format!("uploads: {{maxage: {maxage}}}\n");
        assert_eq!(age(&text, &by_variable(by)), expected * HOUR);
    }
    assert_eq!(age("uploads: {maxage: 0s}\n", &[]), 168 * HOUR);
}

#[test]
fn the_whole_section_may_come_in_one_variable() {
    for value in [
        "{uploadpurging: {enabled: true, age: 72h, interval: 6h, dryrun: true}}",
        r#"{"uploadpurging": {"age": "72h", "interval": "6h", "dryrun": true}}"#,
    ] {
        let read = uploads("", &[("REGISTRY_STORAGE_MAINTENANCE", value)]);
        let expected = UploadPurging {
            age: 72 * HOUR,
            interval: 6 * HOUR,
            dryrun: true,
        };
        assert_eq!(read.purging, Some(expected), "{value}");
    }
    let section = [(
        "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING",
        "{enabled: false}",
    )];
    assert_eq!(uploads("", &section).purging, None);
}

#[test]
fn the_most_uploads_of_a_client_are_a_number_and_zero_is_no_limit() {
    let most = |text| uploads(text, &[]).maxpersubject;
    assert_eq!(most("uploads: {maxpersubject: 7}\n"), Some(7));
    assert_eq!(most("uploads: {maxpersubject: 0}\n"), None);
    let by_variable = [("REGISTRY_UPLOADS_MAXPERSUBJECT", "9")];
    let read = uploads("uploads: {maxpersubject: 7}\n", &by_variable);
    assert_eq!(read.maxpersubject, Some(9));
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    for (text, expected) in [
        (
            "uploads:\n  maxpersubject: many\n",
            "config.yml:4: uploads.maxpersubject: \"many\" is not a number of uploads",
        ),
        (
            "uploads:\n  maxage: soon\n",
            "config.yml:4: uploads.maxage: \"soon\" is not a duration like 10s, 500ms, 1h30m or 7d",
        ),
    ] {
        assert_eq!(errors(&format!("{PLAIN}{text}"), &[]), [expected]);
    }
    for key in ["age", "interval"] {
        let found = errors(&purging(&format!("{{{key}: 0s}}")), &[]);
        let expected = format!(
            "config.yml:2: storage.maintenance.uploadpurging.{key}: \"0s\" is no time at all"
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn an_age_that_nothing_looks_at_is_warned_about() {
    let text = format!("{}uploads: {{maxage: 24h}}\n", purging("{enabled: false}"));
    let config = with(&text, &[]).unwrap();
    assert_eq!(
        config.warnings,
        [
            "config.yml:3: uploads.maxage has no effect while storage.maintenance.uploadpurging.enabled is false"
        ]
    );
}
