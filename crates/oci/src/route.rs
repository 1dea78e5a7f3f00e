//! The requests of the distribution-spec ("Endpoints"), parsed once from method and path, and printed
//! back by the upstream client and for `Location` and `Link`. What a route needs to be allowed is a
//! method on it, so that nobody decides by the text of a URL.

use crate::digest::{Algorithm, Digest, DigestError};
use crate::name::{Reference, RepositoryName, Tag, UploadId};
use crate::{route_path, route_query};

/// The methods of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    /// Returns the method that is written `text`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "PUT" => Some(Self::Put),
            "POST" => Some(Self::Post),
            "PATCH" => Some(Self::Patch),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    /// Returns the method as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Is this a registry (end-1).
    Base,
    /// The list of repositories, of Distribution.
    Catalog(Page),
    /// The list of tags (end-8).
    Tags {
        /// The repository.
        name: RepositoryName,
        /// Which part.
        page: Page,
    },
    /// A manifest (end-3, end-7, end-9).
    Manifest {
        /// The repository.
        name: RepositoryName,
        /// Its tag or digest.
        reference: Reference,
        /// What to do.
        action: ManifestAction,
    },
    /// A blob (end-2, end-10).
    Blob {
        /// The repository.
        name: RepositoryName,
        /// The blob.
        digest: Digest,
        /// What to do.
        action: BlobAction,
    },
    /// A new upload, a mount, or a blob in one request (end-4, end-11).
    UploadStart {
        /// The repository.
        name: RepositoryName,
        /// What is asked for.
        start: UploadStart,
    },
    /// An open upload (end-5, end-6, end-13, end-14).
    Upload {
        /// The repository.
        name: RepositoryName,
        /// The upload.
        id: UploadId,
        /// What to do.
        action: UploadAction,
    },
    /// The list of referrers (end-12).
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// What they refer to.
        digest: Digest,
        /// Only those of this type.
        artifact_type: Option<String>,
        /// Which part.
        page: Page,
    },
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub n: Option<u64>,
    /// After this entry.
    pub last: Option<String>,
}

impl Page {
    /// Cuts a list that was asked for with one more than `most`; returns the last of the page when there
    /// is a next one. A page of nothing has no next: it would never end.
    pub fn cut(list: &mut Vec<String>, most: u64) -> Option<String> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if list.len() <= most {
            return None;
        }
        list.truncate(most);
        list.last().cloned()
    }
}

/// What to do with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestAction {
    /// Send it.
    Get,
    /// Send its headers.
    Head,
    /// Store it, and point these tags at it (end-7b).
    Put {
        /// The tags.
        tags: Vec<Tag>,
    },
    /// Delete it.
    Delete,
}

/// What to do with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobAction {
    /// Send it.
    Get,
    /// Send its headers.
    Head,
    /// Delete it.
    Delete,
}

/// What a POST to the uploads asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadStart {
    /// Take the blob from another repository.
    pub mount: Option<Mount>,
    /// The body is the whole blob.
    pub digest: Option<Digest>,
    /// Hash with this algorithm (end-4c).
    pub algorithm: Option<Algorithm>,
}

/// A blob to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The blob.
    pub digest: Digest,
    /// Where from; anywhere, if it is not said.
    pub from: Option<RepositoryName>,
}

/// What to do with an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadAction {
    /// Tell where it stands (GET or HEAD).
    Status {
        /// Whether it was HEAD.
        head: bool,
    },
    /// Append a piece.
    Append,
    /// Append the last piece and close it.
    Finish {
        /// What it must be.
        digest: Digest,
    },
    /// Drop it.
    Cancel,
}

/// What a request is about, for authorisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The list of repositories.
    Catalog,
    /// A repository, by the name in the request.
    Repository(RepositoryName),
    /// The server itself: how it stands and what it does on its own.
    Server,
}

/// What a request does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads.
    Pull,
    /// Writes.
    Push,
    /// Deletes.
    Delete,
    /// Manages.
    Administer,
}

/// Why a request is no route; the text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No such path.
    #[error("no such endpoint")]
    NotFound,
    /// No such method on this path.
    #[error("method is not allowed here, only {allow}")]
    MethodNotAllowed {
        /// The methods that are.
        allow: &'static str,
    },
    /// Not a repository name.
    #[error("repository name \"{value}\" is invalid")]
    NameInvalid {
        /// The text, cut and escaped.
        value: String,
    },
    /// Not a tag.
    #[error("tag \"{value}\" is invalid")]
    TagInvalid {
        /// The text, cut and escaped.
        value: String,
    },
    /// Not a digest.
    #[error(transparent)]
    DigestInvalid(#[from] DigestError),
    /// A `digest-algorithm` that is not stored.
    #[error("digest algorithm \"{value}\" is not supported (sha256 and sha512 are)")]
    UnsupportedAlgorithm {
        /// The text, cut and escaped.
        value: String,
    },
    /// Not an id that any upload has.
    #[error("upload \"{value}\" is unknown")]
    UploadUnknown {
        /// The text, cut and escaped.
        value: String,
    },
    /// `n` is no number.
    #[error("n=\"{value}\" is not a number of entries")]
    PageNumberInvalid {
        /// The text, cut and escaped.
        value: String,
    },
    /// An encoded character, a dot segment or an empty segment in the path.
    #[error("path segment \"{value}\" is not allowed: paths are never normalised")]
    EncodedPath {
        /// The segment, cut and escaped.
        value: String,
    },
    /// A path that is longer than any route.
    #[error("path of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Route {
    /// Parses a request for `path`, which begins with `/v2`, undecoded, and `query`.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Self, RouteError> {
        route_path::parse(
            method,
            path,
            &route_query::Query::of(query.unwrap_or_default()),
        )
    }

    /// Returns the repository in the request.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Catalog(_) => None,
            Self::Tags { name, .. }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::UploadStart { name, .. }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }

    /// Returns what the request needs to be allowed; all of it.
    pub fn access(&self) -> Vec<(Resource, Action)> {
        let on = |name: &RepositoryName, action| (Resource::Repository(name.clone()), action);
        match self {
            Self::Base => Vec::new(),
            Self::Catalog(_) => vec![(Resource::Catalog, Action::Pull)],
            Self::Tags { name, .. } | Self::Referrers { name, .. } => vec![on(name, Action::Pull)],
            Self::Manifest { name, action, .. } => match action {
                ManifestAction::Get | ManifestAction::Head => vec![on(name, Action::Pull)],
                ManifestAction::Put { .. } => vec![on(name, Action::Push)],
                ManifestAction::Delete => vec![on(name, Action::Delete)],
            },
            Self::Blob { name, action, .. } => match action {
                BlobAction::Get | BlobAction::Head => vec![on(name, Action::Pull)],
                BlobAction::Delete => vec![on(name, Action::Delete)],
            },
            Self::UploadStart { name, start } => {
                let from = start.mount.as_ref().and_then(|mount| mount.from.as_ref());
                let mut access = vec![on(name, Action::Push)];
                access.extend(from.map(|from| on(from, Action::Pull)));
                access
            }
            Self::Upload { name, .. } => vec![on(name, Action::Push)],
        }
    }

    /// Returns the method.
    pub fn method(&self) -> Method {
        match self {
            Self::Base | Self::Catalog(_) | Self::Tags { .. } | Self::Referrers { .. } => {
                Method::Get
            }
            Self::Manifest { action, .. } => match action {
                ManifestAction::Get => Method::Get,
                ManifestAction::Head => Method::Head,
                ManifestAction::Put { .. } => Method::Put,
                ManifestAction::Delete => Method::Delete,
            },
            Self::Blob { action, .. } => match action {
                BlobAction::Get => Method::Get,
                BlobAction::Head => Method::Head,
                BlobAction::Delete => Method::Delete,
            },
            Self::UploadStart { .. } => Method::Post,
            Self::Upload { action, .. } => match action {
                UploadAction::Status { head: false } => Method::Get,
                UploadAction::Status { head: true } => Method::Head,
                UploadAction::Append => Method::Patch,
                UploadAction::Finish { .. } => Method::Put,
                UploadAction::Cancel => Method::Delete,
            },
        }
    }

    /// Returns the path and query that parse to this route.
    pub fn path_and_query(&self) -> String {
        let path = match self {
            Self::Base => "/v2/".to_owned(),
            Self::Catalog(_) => "/v2/_catalog".to_owned(),
            Self::Tags { name, .. } => format!("/v2/{name}/tags/list"),
            Self::Manifest {
                name, reference, ..
            } => format!("/v2/{name}/manifests/{reference}"),
            Self::Blob { name, digest, .. } => format!("/v2/{name}/blobs/{digest}"),
            Self::UploadStart { name, .. } => format!("/v2/{name}/blobs/uploads/"),
            Self::Upload { name, id, .. } => format!("/v2/{name}/blobs/uploads/{id}"),
            Self::Referrers { name, digest, .. } => format!("/v2/{name}/referrers/{digest}"),
        };
        let query = self.query();
        if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        }
    }

    fn query(&self) -> String {
        let mut printer = route_query::Printer::default();
        match self {
            Self::Catalog(page) | Self::Tags { page, .. } => printer.page(page),
            Self::Referrers {
                artifact_type,
                page,
                ..
            } => {
                printer.optional("artifactType", artifact_type.as_deref());
                printer.page(page);
            }
            Self::Manifest {
                action: ManifestAction::Put { tags },
                ..
            } => {
                for tag in tags {
                    printer.optional("tag", Some(tag.as_str()));
                }
            }
            Self::UploadStart { start, .. } => {
                if let Some(mount) = &start.mount {
                    printer.optional("mount", Some(&mount.digest.to_string()));
                    printer.optional("from", mount.from.as_ref().map(RepositoryName::as_str));
                }
                let digest = start.digest.map(|digest| digest.to_string());
                printer.optional("digest", digest.as_deref());
                printer.optional("digest-algorithm", start.algorithm.map(Algorithm::as_str));
            }
            Self::Upload {
                action: UploadAction::Finish { digest },
                ..
            } => printer.optional("digest", Some(&digest.to_string())),
            Self::Base | Self::Manifest { .. } | Self::Blob { .. } | Self::Upload { .. } => {}
        }
        printer.finish()
    }
}
