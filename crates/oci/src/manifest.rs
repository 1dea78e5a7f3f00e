//! Manifests, read for their facts: what they are, what they refer to. The bytes are kept elsewhere
//! and never written anew. What is ambiguous or could confuse a client is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::json;
use crate::media_type::{
    OCI_INDEX, OCI_MANIFEST, essence, is_image_manifest, is_index, is_schema1, is_well_formed,
};
use crate::quote::quote;

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// A config and layers.
    Image,
    /// A list of manifests.
    Index,
}

/// How a manifest refers to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceKind {
    /// The config of an image.
    Config,
    /// A layer of an image.
    Layer,
    /// A manifest in an index.
    Child,
}

impl ReferenceKind {
    /// Returns the number that stands for the kind in stored rows.
    pub fn code(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::Layer => 2,
            Self::Child => 3,
        }
    }

    /// Returns the kind of a stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Config),
            2 => Some(Self::Layer),
            3 => Some(Self::Child),
            _ => None,
        }
    }
}

/// Something a manifest needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestReference {
    /// How it refers to it.
    pub kind: ReferenceKind,
    /// What it is; with `urls` it may live elsewhere and need not be here.
    pub descriptor: Descriptor,
}

/// The facts of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub kind: ManifestKind,
    /// Its type.
    pub media_type: String,
    /// The type of the artifact, as listed by the referrers API: its own, else for images the type of
    /// the config.
    pub artifact_type: Option<String>,
    /// The type of the config, for images.
    pub config_media_type: Option<String>,
    /// The manifest it says something about.
    pub subject: Option<Descriptor>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it needs, in its order.
    pub references: Vec<ManifestReference>,
}

/// Why bytes are no usable manifest; the text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not one unambiguous JSON object.
    #[error("manifest is not valid JSON: {reason}")]
    Json {
        /// What is wrong and where.
        reason: String,
    },
    /// Docker's first format.
    #[error(
        "manifests of schema version 1 are not supported; push the image with a current client"
    )]
    Schema1,
    /// `schemaVersion` is not 2.
    #[error("manifest has schemaVersion {found}, not 2")]
    SchemaVersion {
        /// What it has.
        found: String,
    },
    /// Not a type that is stored.
    #[error("manifest media type \"{value}\" is not supported")]
    UnsupportedType {
        /// The type, cut and escaped.
        value: String,
    },
    /// Neither `Content-Type` nor the manifest says what it is.
    #[error("manifest has no media type: set Content-Type or mediaType")]
    NoType,
    /// `Content-Type` and the manifest disagree.
    #[error("manifest has mediaType \"{inside}\" but was sent as \"{outside}\"")]
    TypeMismatch {
        /// What the manifest says.
        inside: String,
        /// What the request says.
        outside: String,
    },
    /// `manifests` beside `layers` or `config`.
    #[error("manifest is ambiguous: it has both \"manifests\" and \"{other}\"")]
    Ambiguous {
        /// The field that does not belong.
        other: &'static str,
    },
    /// A key that clients written in Go read as another field: they compare keys without case.
    #[error("manifest key \"{key}\" can be read as \"{field}\"")]
    Folded {
        /// The key, cut and escaped.
        key: String,
        /// The field.
        field: &'static str,
    },
    /// A field is missing or of a wrong form.
    #[error("manifest field {field} is invalid: {reason}")]
    Field {
        /// Which, with its position.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

impl Manifest {
    /// Reads the facts of `bytes`, sent as `content_type`.
    ///
    /// # Errors
    /// [`ManifestError`], naming what is wrong.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let outside = content_type.map(essence).filter(|value| !value.is_empty());
        if outside.is_some_and(is_schema1) {
            return Err(ManifestError::Schema1);
        }
        let value = json::parse(bytes).map_err(|reason| ManifestError::Json { reason })?;
        let Value::Object(object) = value else {
            return Err(ManifestError::Json {
                reason: "it is not an object".to_owned(),
            });
        };
        refuse_folded(&object, &MANIFEST_FIELDS)?;
        check_schema_version(&object)?;
        let media_type = media_type(&object, outside)?;
        let kind = if is_index(&media_type) {
            ManifestKind::Index
        } else {
            ManifestKind::Image
        };
        refuse_ambiguous(&object)?;
        let references = match kind {
            ManifestKind::Image => image_references(&object)?,
            ManifestKind::Index => list(&object, "manifests", ReferenceKind::Child)?,
        };
        let config_media_type = references
            .iter()
            .find(|reference| reference.kind == ReferenceKind::Config)
            .map(|config| config.descriptor.media_type.clone());
        let own_type = text(&object, "artifactType")?.filter(|value| !value.is_empty());
        Ok(Self {
            kind,
            artifact_type: own_type.or_else(|| config_media_type.clone()),
            media_type,
            config_media_type,
            subject: subject(&object)?,
            annotations: annotations(&object)?,
            references,
        })
    }
}

/// The fields that say what a manifest is and needs.
const MANIFEST_FIELDS: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
];

/// The fields that say what a descriptor points to.
const DESCRIPTOR_FIELDS: [&str; 5] = ["mediaType", "digest", "size", "urls", "data"];

/// Refuses keys that fold onto a field without being it, by the simple folding of Go's decoder: case,
/// and the two characters beyond ASCII that fold onto letters.
fn refuse_folded(
    object: &Map<String, Value>,
    fields: &[&'static str],
) -> Result<(), ManifestError> {
    for key in object.keys() {
        let folded = key.replace('\u{17f}', "s").replace('\u{212a}', "k");
        let field = fields
            .iter()
            .find(|field| field.eq_ignore_ascii_case(&folded) && **field != key.as_str());
        if let Some(field) = field {
            return Err(ManifestError::Folded {
                key: quote(key),
                field,
            });
        }
    }
    Ok(())
}

fn check_schema_version(object: &Map<String, Value>) -> Result<(), ManifestError> {
    match object.get("schemaVersion") {
        Some(Value::Number(number)) if number.as_u64() == Some(2) => Ok(()),
        Some(Value::Number(number)) if number.as_u64() == Some(1) => Err(ManifestError::Schema1),
        Some(other) => Err(ManifestError::SchemaVersion {
            found: quote(&other.to_string()),
        }),
        None => Err(ManifestError::SchemaVersion {
            found: "none".to_owned(),
        }),
    }
}

/// The manifest's own `mediaType` and the `Content-Type` must agree; one is enough.
fn media_type(object: &Map<String, Value>, outside: Option<&str>) -> Result<String, ManifestError> {
    let inside = text(object, "mediaType")?.filter(|value| !value.is_empty());
    let outside = outside.map(str::to_owned);
    let chosen = match (inside, outside) {
        (Some(inside), Some(outside)) if inside != outside => {
            return Err(ManifestError::TypeMismatch {
                inside: quote(&inside),
                outside: quote(&outside),
            });
        }
        (Some(inside), _) => inside,
        (None, Some(outside)) => outside,
        (None, None) => match (
            object.contains_key("manifests"),
            object.contains_key("layers"),
        ) {
            (true, false) => OCI_INDEX.to_owned(),
            (false, true) => OCI_MANIFEST.to_owned(),
            (true, true) | (false, false) => return Err(ManifestError::NoType),
        },
    };
    if is_schema1(&chosen) {
        return Err(ManifestError::Schema1);
    }
    if !is_index(&chosen) && !is_image_manifest(&chosen) {
        return Err(ManifestError::UnsupportedType {
            value: quote(&chosen),
        });
    }
    Ok(chosen)
}

fn refuse_ambiguous(object: &Map<String, Value>) -> Result<(), ManifestError> {
    if !object.contains_key("manifests") {
        return Ok(());
    }
    for other in ["layers", "config", "fsLayers"] {
        if object.contains_key(other) {
            return Err(ManifestError::Ambiguous { other });
        }
    }
    Ok(())
}

fn image_references(object: &Map<String, Value>) -> Result<Vec<ManifestReference>, ManifestError> {
    let config = object.get("config").ok_or_else(|| missing("config"))?;
    let mut references = vec![ManifestReference {
        kind: ReferenceKind::Config,
        descriptor: descriptor(config, "config")?,
    }];
    references.extend(list(object, "layers", ReferenceKind::Layer)?);
    Ok(references)
}

fn list(
    object: &Map<String, Value>,
    field: &'static str,
    kind: ReferenceKind,
) -> Result<Vec<ManifestReference>, ManifestError> {
    let entries = match object.get(field) {
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(invalid(field, "it is not a list")),
        None => return Err(missing(field)),
    };
    entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            Ok(ManifestReference {
                kind,
                descriptor: descriptor(entry, &format!("{field}[{at}]"))?,
            })
        })
        .collect()
}

fn subject(object: &Map<String, Value>) -> Result<Option<Descriptor>, ManifestError> {
    match object.get("subject") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => descriptor(value, "subject").map(Some),
    }
}

fn annotations(object: &Map<String, Value>) -> Result<BTreeMap<String, String>, ManifestError> {
    match object.get("annotations") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|error| invalid("annotations", &error.to_string())),
    }
}

fn descriptor(value: &Value, field: &str) -> Result<Descriptor, ManifestError> {
    // Clients of old leave optional fields as null; they mean the same as none.
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        refuse_folded(fields, &DESCRIPTOR_FIELDS)?;
        fields.retain(|_, value| !value.is_null());
    }
    let descriptor: Descriptor =
        serde_json::from_value(value).map_err(|error| invalid(field, &error.to_string()))?;
    if !is_well_formed(&descriptor.media_type) {
        let reason = format!(
            "media type \"{}\" is malformed",
            quote(&descriptor.media_type)
        );
        return Err(invalid(field, &reason));
    }
    if i64::try_from(descriptor.size).is_err() {
        return Err(invalid(field, "size is too large"));
    }
    Ok(descriptor)
}

fn text(object: &Map<String, Value>, field: &'static str) -> Result<Option<String>, ManifestError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(field, "it is not a string")),
    }
}

fn missing(field: &str) -> ManifestError {
    invalid(field, "it is missing")
}

fn invalid(field: &str, reason: &str) -> ManifestError {
    ManifestError::Field {
        field: field.to_owned(),
        reason: reason.chars().take(256).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, ManifestError, ManifestKind, ReferenceKind};
    use crate::media_type::{DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, OCI_INDEX, OCI_MANIFEST};

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
        let extra =
            format!(r#","subject":{subject},"artifactType":"a/b","annotations":{{"k":"v"}}"#);
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
            (good.replace("a/b", "a b"), "layers[1]"),
            ("7".to_owned(), "layers[1]"),
        ] {
            let text =
                format!(r#"{{"schemaVersion":2,"config":{good},"layers":[{good},{layers}]}}"#);
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
}
