//! What bounds mirrored content, and what is fetched on a schedule.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::time::Duration;

use super::load::{PLAIN, errors, with, without_file};
use crate::config::{Cache, Space, Warm};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn cache(keys: &str, variables: &[(&str, &str)]) -> Cache {
    let config = with(&format!("{PLAIN}cache: {{{keys}}}\n"), variables);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.cache
}

fn warm(entry: &str, variables: &[(&str, &str)]) -> Vec<Warm> {
    let text = format!(
        "{PLAIN}mirrors: [{{name: docker.io}}, {{name: \"r.example:5000\"}}]\nwarm: [{entry}]\n"
    );
    let config = with(&text, variables).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.warm
}

fn wrong_warm(entry: &str) -> String {
    let text = format!("{PLAIN}mirrors: [{{name: docker.io}}]\nwarm: [{entry}]\n");
    let found = errors(&text, &[]);
    let [error] = found.as_slice() else {
        panic!("not one error: {found:?}")
    };
    let error = error.strip_prefix("config.yml:4: warm[0]");
    error.expect("line and entry are told").to_owned()
}

#[test]
fn a_cache_is_unbounded_but_leaves_a_tenth_of_the_disk() {
    let expected = Cache {
        maxsize: None,
        minfree: Space::Percent(10),
        highwatermark: 95,
        lowwatermark: 85,
        maxage: None,
        pin: Vec::new(),
    };
    assert_eq!(cache("", &[]), expected);
    assert_eq!(cache("maxsize: 0, maxage: 0", &[]), expected);
    assert_eq!(cache("maxsize: 0%, maxage: 0s", &[]), expected);
}

#[test]
fn every_bound_is_read() {
    let read = cache(
        "maxsize: 80%, minfree: 5GB, highwatermark: 90%, lowwatermark: 70, maxage: 30d, pin: [\"docker.io/library/debian:*\", \"**:keep\"]",
        &[],
    );
    assert_eq!(
        (read.maxsize, read.minfree),
        (Some(Space::Percent(80)), Space::Bytes(5_000_000_000))
    );
    assert_eq!((read.highwatermark, read.lowwatermark), (90, 70));
    assert_eq!(read.maxage, Some(Duration::from_hours(30 * 24)));
    let pins: Vec<&str> = read.pin.iter().map(oci::Glob::as_str).collect();
    assert_eq!(pins, ["docker.io/library/debian:*", "**:keep"]);
    let read = cache("maxsize: 10GiB, minfree: 0", &[]);
    assert_eq!(
        (read.maxsize, read.minfree),
        (Some(Space::Bytes(10 << 30)), Space::Bytes(0))
    );
}

#[test]
fn wrong_bounds_are_told_with_line_and_key() {
    let text = format!(
        "{PLAIN}cache:\n  maxsize: 101%\n  minfree: much\n  maxage: old\n  highwatermark: 300\n  lowwatermark: low\n  pin: [docker.io/library/debian, \"[\"]\n"
    );
    assert_eq!(
        errors(&text, &[]),
        [
            "config.yml:4: cache.maxsize: \"101%\" is not whole percent from 0% to 100%",
            "config.yml:5: cache.minfree: \"much\" is neither a size like 10GB nor percent of the disk like 80%",
            "config.yml:6: cache.maxage: \"old\" is not a duration like 10s, 500ms, 1h30m or 7d",
            "config.yml:7: cache.highwatermark: \"300\" is not whole percent from 0% to 100%",
            "config.yml:8: cache.lowwatermark: \"low\" is not whole percent from 0% to 100%",
            "config.yml:9: cache.pin[0]: \"docker.io/library/debian\" names no tag; \"docker.io/library/debian:*\" fits all of them",
            "config.yml:9: cache.pin[1]: \"[\": a set [...] is empty or has no end",
        ]
    );
}

#[test]
fn a_disk_of_which_all_stays_free_is_refused() {
    assert_eq!(
        errors(&format!("{PLAIN}cache: {{minfree: 100%}}\n"), &[]),
        ["config.yml:3: cache.minfree: \"100%\" leaves no room: nothing could ever be stored"]
    );
    assert_eq!(cache("minfree: 99%", &[]).minfree, Space::Percent(99));
}

#[test]
fn the_low_watermark_lies_below_the_high_one() {
    assert_eq!(
        cache("highwatermark: 100, lowwatermark: 99", &[]).highwatermark,
        100
    );
    for (keys, key, low, high) in [
        ("highwatermark: 80%", "highwatermark", 85, 80),
        ("lowwatermark: 95%", "lowwatermark", 95, 95),
        (
            "highwatermark: 50, lowwatermark: 60",
            "lowwatermark",
            60,
            50,
        ),
    ] {
        let expected = format!(
            "config.yml:3: cache.{key}: lowwatermark ({low}%) does not lie below highwatermark ({high}%)"
        );
        assert_eq!(
            errors(&format!("{PLAIN}cache: {{{keys}}}\n"), &[]),
            [expected]
        );
    }
}

#[test]
fn variables_override_bounds() {
    let variables = [
        ("REGISTRY_CACHE_MAXSIZE", "50%"),
        ("REGISTRY_CACHE_MINFREE", "1GB"),
        ("REGISTRY_CACHE_HIGHWATERMARK", "80%"),
        ("REGISTRY_CACHE_LOWWATERMARK", "60%"),
        ("REGISTRY_CACHE_MAXAGE", "1d"),
        ("REGISTRY_CACHE_PIN", "**:keep"),
    ];
    let read = cache(
        "maxsize: 10GB, minfree: 1%, maxage: 2d, pin: [\"a:b\", \"c:d\"]",
        &variables,
    );
    assert_eq!(read.maxsize, Some(Space::Percent(50)));
    assert_eq!(read.minfree, Space::Bytes(1_000_000_000));
    assert_eq!((read.highwatermark, read.lowwatermark), (80, 60));
    assert_eq!(read.maxage, Some(Duration::from_hours(24)));
    let pins: Vec<&str> = read.pin.iter().map(oci::Glob::as_str).collect();
    assert_eq!(pins, ["**:keep"]);
    let read = cache("pin: [\"a:b\"]", &[("REGISTRY_CACHE_PIN_1", "quay.io/**")]);
    assert_eq!((read.pin.len(), read.pin[1].as_str()), (2, "quay.io/**"));
    let error = without_file(&[("REGISTRY_CACHE_MAXSIZE", "most")]).unwrap_err();
    assert!(
        error.errors[0].starts_with("REGISTRY_CACHE_MAXSIZE: cache.maxsize: \"most\""),
        "{error}"
    );
}

#[test]
fn images_are_fetched_at_the_times_and_for_the_platforms_listed() {
    assert_eq!(warm("", &[]), Vec::new());
    let entry = format!(
        "{{schedule: \"0 3 * * *\", images: [docker.io/library/nginx:1.*, docker.io/nginx, \"r.example:5000/a/b@{DIGEST}\"], platforms: [linux/amd64]}}"
    );
    let read = warm(&entry, &[]);
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].schedule, "0 3 * * *");
    let images: Vec<String> = read[0].images.iter().map(ToString::to_string).collect();
    assert_eq!(
        images,
        [
            "docker.io/library/nginx:1.*".to_owned(),
            "docker.io/nginx:latest".to_owned(),
            format!("r.example:5000/a/b@{DIGEST}"),
        ]
    );
    assert_eq!(read[0].platforms[0].to_string(), "linux/amd64");
    let read = warm(
        "{schedule: \"*/5 8-17 * * MON-FRI\", images: docker.io/a/b}",
        &[],
    );
    assert!(read[0].platforms.is_empty());
}

#[test]
fn wrong_schedules_are_told() {
    let begins = |schedule: &str| {
        format!(
            ".schedule: \"{schedule}\" is not a schedule of five fields (minute hour day month weekday): "
        )
    };
    for (schedule, why) in [
        ("0 0 3 * * *", Some("it has 6")),
        ("@daily", Some("it has 1")),
        ("0 0 31 2 *", Some("no time fits it")),
        ("60 * * * *", None),
        ("a b c d e", None),
    ] {
        let told = wrong_warm(&format!(
            "{{schedule: \"{schedule}\", images: [docker.io/a/b]}}"
        ));
        let reason = told.strip_prefix(&begins(schedule));
        let reason = reason.unwrap_or_else(|| panic!("{told}"));
        assert!(why.is_none_or(|why| why == reason), "{told}");
    }
    assert_eq!(
        wrong_warm("{images: [docker.io/a/b]}"),
        ": schedule is missing: it says when, like \"0 3 * * *\" for three o'clock (UTC)"
    );
}

#[test]
fn wrong_images_are_told() {
    for (image, why) in [
        ("nginx", "no mirror stands in front"),
        ("quay.io/a/b", "no mirror is named \"quay.io\""),
        (
            "docker.io/A/b",
            "repository name \"docker.io/A/b\" is invalid",
        ),
        ("docker.io/a/b:", "a pattern is empty"),
        ("docker.io/a/b:x/y", "\"x/y\" can fit no tag"),
        ("docker.io/a/**:x", "repository name \"a/**\" is invalid"),
    ] {
        let told = wrong_warm(&format!(
            "{{schedule: \"0 3 * * *\", images: [\"{image}\"]}}"
        ));
        assert_eq!(
            told,
            format!(
                ".images[0]: \"{image}\" is not an image like docker.io/library/debian:12: {why}"
            )
        );
    }
    let both = wrong_warm(&format!(
        "{{schedule: \"0 3 * * *\", images: [\"docker.io/a:1@{DIGEST}\"]}}"
    ));
    assert!(
        both.ends_with("a tag and a digest; only one of the two can be meant"),
        "{both}"
    );
    let digest = wrong_warm("{schedule: \"0 3 * * *\", images: [\"docker.io/a/b@sha256:0\"]}");
    assert!(digest.starts_with(".images[0]: "), "{digest}");
    assert_eq!(
        wrong_warm("{schedule: \"0 3 * * *\"}"),
        ": images is missing: it lists what is fetched, like docker.io/library/debian:12"
    );
    assert_eq!(
        wrong_warm("{schedule: \"0 3 * * *\", images: [docker.io/a/b], platforms: [arm]}"),
        ".platforms[0]: \"arm\" is not a platform like linux/amd64 or linux/arm/v7"
    );
}

#[test]
fn variables_override_what_is_fetched() {
    let variables = [
        ("REGISTRY_WARM_0_SCHEDULE", "*/5 * * * *"),
        ("REGISTRY_WARM_0_IMAGES", "docker.io/c/d:v*"),
        ("REGISTRY_WARM_0_PLATFORMS_0", "linux/arm64"),
        ("REGISTRY_WARM_1_SCHEDULE", "0 3 * * *"),
        ("REGISTRY_WARM_1_IMAGES_0", "docker.io/e/f"),
    ];
    let read = warm(
        "{schedule: \"1 1 * * *\", images: [docker.io/a/b], platforms: [linux/amd64]}",
        &variables,
    );
    assert_eq!(read[0].schedule, "*/5 * * * *");
    assert_eq!(read[0].images[0].to_string(), "docker.io/c/d:v*");
    assert_eq!(read[0].platforms[0].to_string(), "linux/arm64");
    assert_eq!(read[1].images[0].to_string(), "docker.io/e/f:latest");
    let built_in = without_file(&variables).unwrap();
    assert_eq!(built_in.warm.len(), 2, "docker.io is built in");
}
