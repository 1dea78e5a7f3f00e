//! Manifests, read for their facts: what they are, what they refer to. The bytes are kept elsewhere
//! and never written anew. What is ambiguous or could confuse a client is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::json;
use crate::media_type::{
    OCI_INDEX, OCI_MANIFEST, essence, is_image_manifest, is_index, is_schema1,
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

impl Manifest {
    /// Returns the manifests that an index lists, in its order.
    pub fn into_children(self) -> Vec<Descriptor> {
        self.references
            .into_iter()
            .filter(|reference| reference.kind == ReferenceKind::Child)
            .map(|reference| reference.descriptor)
            .collect()
    }
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
        // How Go prints a list of nothing.
        Some(Value::Null) => return Ok(Vec::new()),
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
    if !is_usable(&descriptor.media_type) {
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

/// Artifacts carry all kinds of types, so only what could do harm is refused.
fn is_usable(media_type: &str) -> bool {
    (1..=255).contains(&media_type.len()) && !media_type.chars().any(char::is_control)
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
