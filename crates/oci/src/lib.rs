//! Pure types of the OCI specifications: digests, names, manifests, and the path grammar, spelled once
//! for server, upstream client and tests. No I/O, no clock, nothing of this program's rooms.

mod content_range;
mod descriptor;
mod digest;
mod error_code;
mod glob;
mod hasher;
mod json;
mod manifest;
pub mod media_type;
mod name;
mod quote;
mod range;
mod route;
mod route_path;
mod route_query;

pub use content_range::{ContentRange, ContentRangeError};
pub use descriptor::{Descriptor, Platform};
pub use digest::{Algorithm, Digest, DigestError};
pub use error_code::ErrorCode;
pub use glob::{Glob, GlobError};
pub use hasher::Hasher;
pub use manifest::{Manifest, ManifestError, ManifestKind, ManifestReference, ReferenceKind};
pub use name::{NameError, Reference, RepositoryName, Tag, UploadId, split_tag};
pub use range::{RangeOutcome, ResolvedRange, resolve_range};
pub use route::{
    Action, BlobAction, ManifestAction, Method, Mount, Page, Resource, Route, RouteError,
    UploadAction, UploadStart,
};
