//! What is pushed: blobs and manifests made from random numbers, with digests computed here and not asked of Seawall.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes with their digest; a manifest knows what it names.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
    /// Config and layers, in their order.
    pub(crate) blobs: Vec<Arc<Content>>,
    /// The manifests of an index.
    pub(crate) children: Vec<Arc<Content>>,
}

/// Returns the digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Returns a layer of these bytes.
pub(crate) fn layer(bytes: Vec<u8>) -> Arc<Content> {
    made(bytes, LAYER, Vec::new(), Vec::new())
}

/// Returns the manifest of an image with `layers`; `name` makes its configuration its own.
pub(crate) fn image(name: &str, layers: Vec<Arc<Content>>) -> Arc<Content> {
    let config = json!({"architecture": "amd64", "os": "linux", "created_by": name}).to_string();
    let config = made(config.into_bytes(), CONFIG, Vec::new(), Vec::new());
    let text = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(&config),
        "layers": layers.iter().map(|layer| descriptor(layer)).collect::<Vec<_>>(),
    });
    let blobs = std::iter::once(config).chain(layers).collect();
    made(text.to_string().into_bytes(), MANIFEST, blobs, Vec::new())
}

/// Returns an index of `children`.
pub(crate) fn index(name: &str, children: Vec<Arc<Content>>) -> Arc<Content> {
    let text = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": children.iter().map(|child| descriptor(child)).collect::<Vec<_>>(),
        "annotations": {"name": name},
    });
    made(text.to_string().into_bytes(), INDEX, Vec::new(), children)
}

fn made(
    bytes: Vec<u8>,
    media_type: &'static str,
    blobs: Vec<Arc<Content>>,
    children: Vec<Arc<Content>>,
) -> Arc<Content> {
    Arc::new(Content {
        digest: digest_of(&bytes),
        bytes: bytes.into(),
        media_type,
        blobs,
        children,
    })
}

fn descriptor(content: &Content) -> Value {
    json!({
        "mediaType": content.media_type,
        "digest": content.digest,
        "size": content.bytes.len(),
    })
}
