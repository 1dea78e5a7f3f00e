//! Manifests as clients push them: what is read, what is refused, and what the refusal names.

use oci::media_type::{DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, OCI_INDEX, OCI_MANIFEST};
use oci::{Manifest, ManifestError, ManifestKind, ReferenceKind};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn entry(media_type: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","size":0,"digest":"{DIGEST}"}}"#)
}

fn image(extra: &str) -> String {
    let (config, layer) = (entry("application/x.config"), entry("application/x.layer"));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
}

fn parse(text: &str, content_type: Option<&str>) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes(), content_type)
}

#[test]
fn an_image_needs_its_config_and_layers() {
    let manifest = parse(&image(""), Some(OCI_MANIFEST)).expect("a manifest");
    assert_eq!(manifest.kind, ManifestKind::Image);
    let kinds: Vec<_> = manifest.references.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [ReferenceKind::Config, ReferenceKind::Layer]);
    assert_eq!(
        manifest.artifact_type.as_deref(),
        Some("application/x.config")
    );
}

#[test]
fn an_index_needs_its_children_and_may_be_empty() {
    let child = entry(OCI_MANIFEST);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{child}]}}"#);
    let manifest = parse(&index, Some(OCI_INDEX)).expect("an index");
    assert_eq!(manifest.references[0].kind, ReferenceKind::Child);
    assert_eq!(manifest.artifact_type, None);
    assert!(parse(r#"{"schemaVersion":2,"manifests":[]}"#, None).is_ok());
}

#[test]
fn subject_annotations_and_artifact_type_are_read() {
    let subject = entry(OCI_MANIFEST);
    let extra = format!(r#","subject":{subject},"artifactType":"a/b","annotations":{{"k":"v"}}"#);
    let manifest = parse(&image(&extra), Some(OCI_MANIFEST)).expect("a manifest");
    assert!(manifest.subject.is_some());
    assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
    assert_eq!(manifest.annotations.get("k").map(String::as_str), Some("v"));
}

#[test]
fn types_inside_and_outside_must_agree() {
    let typed = image(&format!(r#","mediaType":"{OCI_MANIFEST}""#));
    assert!(
        parse(
            &typed,
            Some("application/vnd.oci.image.manifest.v1+json; x=y")
        )
        .is_ok()
    );
    assert!(parse(&typed, None).is_ok());
    let refused = parse(&typed, Some(DOCKER_MANIFEST));
    assert!(matches!(refused, Err(ManifestError::TypeMismatch { .. })));
    let refused = parse(&image(""), Some("application/json"));
    assert!(matches!(
        refused,
        Err(ManifestError::UnsupportedType { .. })
    ));
    let inferred = parse(&image(""), None).expect("inferred");
    assert_eq!(inferred.media_type, OCI_MANIFEST);
    assert_eq!(
        parse(r#"{"schemaVersion":2}"#, None),
        Err(ManifestError::NoType)
    );
}

#[test]
fn lists_of_nothing_may_be_null_as_go_prints_them() {
    let config = entry("a/b");
    let image = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null}}"#);
    assert!(parse(&image, Some(OCI_MANIFEST)).is_ok());
    let index = r#"{"schemaVersion":2,"manifests":null}"#;
    assert!(parse(index, Some(OCI_INDEX)).is_ok());
}

#[test]
fn schema_1_is_named_however_it_comes() {
    for (text, content_type) in [
        (r#"{"schemaVersion":1}"#, None),
        (r#"{"schemaVersion":1}"#, Some(OCI_MANIFEST)),
        ("junk", Some(DOCKER_SCHEMA1_SIGNED)),
    ] {
        assert_eq!(parse(text, content_type), Err(ManifestError::Schema1));
    }
}

#[test]
fn what_is_ambiguous_is_refused() {
    let both = image(r#","manifests":[]"#);
    for content_type in [OCI_MANIFEST, OCI_INDEX] {
        let refused = parse(&both, Some(content_type));
        assert!(matches!(refused, Err(ManifestError::Ambiguous { .. })));
    }
    let twice = image(r#","schemaVersion":2"#);
    let refused = parse(&twice, Some(OCI_MANIFEST));
    assert!(matches!(refused, Err(ManifestError::Json { .. })));
}

#[test]
fn keys_that_other_clients_read_as_a_field_are_refused() {
    let good = entry("a/b");
    for extra in [
        r#","Layers":[]"#,
        r#","manifestS":[]"#,
        r#","layerſ":[]"#,
        r#","MEDIATYPE":"x""#,
    ] {
        let refused = parse(&image(extra), Some(OCI_MANIFEST));
        assert!(
            matches!(refused, Err(ManifestError::Folded { .. })),
            "{extra}"
        );
    }
    let layer = good.replace("\"size\"", "\"Digest\":\"x\",\"size\"");
    let text = format!(r#"{{"schemaVersion":2,"config":{good},"layers":[{layer}]}}"#);
    let refused = parse(&text, Some(OCI_MANIFEST));
    assert!(matches!(refused, Err(ManifestError::Folded { .. })));
    let free = image(r#","annotations":{"Config":"x","size":"y"}"#);
    assert!(parse(&free, Some(OCI_MANIFEST)).is_ok());
}

#[test]
fn a_wrong_field_is_named_with_its_position() {
    let good = entry("a/b");
    for (layers, field) in [
        (good.replace("sha256:e3", "sha256:zz"), "layers[1]"),
        (good.replace(":0", ":-1"), "layers[1]"),
        (good.replace(":0", ":99999999999999999999"), "layers[1]"),
        (good.replace(":0", ":9999999999999999999"), "layers[1]"),
        (good.replace("a/b", "a\\u0007b"), "layers[1]"),
        ("7".to_owned(), "layers[1]"),
    ] {
        let text = format!(r#"{{"schemaVersion":2,"config":{good},"layers":[{good},{layers}]}}"#);
        match parse(&text, Some(OCI_MANIFEST)) {
            Err(ManifestError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{layers}: {other:?}"),
        }
    }
    for text in [
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":2,"config":null,"layers":[]}"#,
    ] {
        assert!(parse(text, Some(OCI_MANIFEST)).is_err(), "{text}");
    }
}

#[test]
fn schema_versions_other_than_2_and_non_objects_are_refused() {
    for text in [
        r#"{"schemaVersion":"2"}"#,
        "{}",
        "[]",
        "2",
        "",
        r#"{"schemaVersion":3}"#,
    ] {
        assert!(parse(text, Some(OCI_MANIFEST)).is_err(), "{text}");
    }
}
