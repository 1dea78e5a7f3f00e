//! The path grammar, parsed from the right because repository names contain slashes. The raw path is
//! judged and never normalised: what would have to be is refused.

use crate::digest::Digest;
use crate::name::{NameError, Reference, RepositoryName, Tag, UploadId};
use crate::quote::quote;
use crate::route::{
    BlobAction, ManifestAction, Method, Mount, Route, RouteError, UploadAction, UploadStart,
};
use crate::route_query::Query;

/// Longer than any name with any reference.
const LONGEST_PATH: usize = 8 << 10;

const READ: &str = "GET, HEAD";
const READ_DELETE: &str = "GET, HEAD, DELETE";
const READ_WRITE: &str = "GET, HEAD, PUT, DELETE";
const START: &str = "POST";
const UPLOAD: &str = "GET, HEAD, PATCH, PUT, DELETE";

/// Parses a request.
pub(crate) fn parse(method: &str, path: &str, query: &Query) -> Result<Route, RouteError> {
    if path.len() > LONGEST_PATH {
        return Err(RouteError::TooLong { bytes: path.len() });
    }
    let path = plain(path)?;
    let rest = match path.strip_prefix("/v2") {
        Some("" | "/") => return base(method),
        Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NotFound)?,
        None => return Err(RouteError::NotFound),
    };
    if rest == "_catalog" {
        read_only(method)?;
        return Ok(Route::Catalog(query.page()?));
    }
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        [name @ .., "tags", "list"] if !name.is_empty() => tags(method, name, query),
        [name @ .., "manifests", reference] if !name.is_empty() => {
            manifest(method, name, reference, query)
        }
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""]
            if !name.is_empty() =>
        {
            upload_start(method, name, query)
        }
        [name @ .., "blobs", "uploads", id] if !name.is_empty() => upload(method, name, id, query),
        [name @ .., "blobs", digest] if !name.is_empty() => blob(method, name, digest),
        [name @ .., "referrers", digest] if !name.is_empty() => {
            referrers(method, name, digest, query)
        }
        _ => Err(RouteError::NotFound),
    }
}

/// Returns the path with `%3A` as the colon it is; refuses every other encoding, dot segments and
/// empty segments before the last.
fn plain(path: &str) -> Result<String, RouteError> {
    let path = path.replace("%3A", ":").replace("%3a", ":");
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        let empty_inside = segment.is_empty() && at != last;
        if segment.contains('%') || *segment == "." || *segment == ".." || empty_inside {
            return Err(RouteError::EncodedPath {
                value: quote(segment),
            });
        }
    }
    Ok(path)
}

fn base(method: &str) -> Result<Route, RouteError> {
    read_only(method)?;
    Ok(Route::Base)
}

fn read_only(method: &str) -> Result<(), RouteError> {
    match Method::parse(method) {
        Some(Method::Get | Method::Head) => Ok(()),
        _ => Err(RouteError::MethodNotAllowed { allow: READ }),
    }
}

fn tags(method: &str, name: &[&str], query: &Query) -> Result<Route, RouteError> {
    let name = repository(name)?;
    read_only(method)?;
    Ok(Route::Tags {
        name,
        page: query.page()?,
    })
}

fn manifest(
    method: &str,
    name: &[&str],
    reference: &str,
    query: &Query,
) -> Result<Route, RouteError> {
    let name = repository(name)?;
    let reference = Reference::parse(reference).map_err(refused)?;
    let action = match Method::parse(method) {
        Some(Method::Get) => ManifestAction::Get,
        Some(Method::Head) => ManifestAction::Head,
        Some(Method::Put) => ManifestAction::Put {
            tags: query
                .all("tag")
                .map(Tag::parse)
                .collect::<Result<_, _>>()
                .map_err(refused)?,
        },
        Some(Method::Delete) => ManifestAction::Delete,
        Some(Method::Post | Method::Patch) | None => {
            return Err(RouteError::MethodNotAllowed { allow: READ_WRITE });
        }
    };
    Ok(Route::Manifest {
        name,
        reference,
        action,
    })
}

fn blob(method: &str, name: &[&str], digest: &str) -> Result<Route, RouteError> {
    let name = repository(name)?;
    let digest = Digest::parse(digest)?;
    let action = match Method::parse(method) {
        Some(Method::Get) => BlobAction::Get,
        Some(Method::Head) => BlobAction::Head,
        Some(Method::Delete) => BlobAction::Delete,
        Some(Method::Put | Method::Post | Method::Patch) | None => {
            return Err(RouteError::MethodNotAllowed { allow: READ_DELETE });
        }
    };
    Ok(Route::Blob {
        name,
        digest,
        action,
    })
}

fn upload_start(method: &str, name: &[&str], query: &Query) -> Result<Route, RouteError> {
    let name = repository(name)?;
    if Method::parse(method) != Some(Method::Post) {
        return Err(RouteError::MethodNotAllowed { allow: START });
    }
    let from = match query.first("from").filter(|from| !from.is_empty()) {
        Some(from) => Some(RepositoryName::parse(from).map_err(refused)?),
        None => None,
    };
    let mount = query.digest("mount")?.map(|digest| Mount { digest, from });
    Ok(Route::UploadStart {
        name,
        start: UploadStart {
            mount,
            digest: query.digest("digest")?,
            algorithm: query.algorithm()?,
        },
    })
}

fn upload(method: &str, name: &[&str], id: &str, query: &Query) -> Result<Route, RouteError> {
    let name = repository(name)?;
    let id = UploadId::parse(id).map_err(|_| RouteError::UploadUnknown { value: quote(id) })?;
    let action = match Method::parse(method) {
        // A stray `?digest=` changes nothing for a question.
        Some(Method::Get) => UploadAction::Status { head: false },
        Some(Method::Head) => UploadAction::Status { head: true },
        Some(Method::Patch) => UploadAction::Append,
        Some(Method::Put) => UploadAction::Finish {
            digest: query.required_digest("digest")?,
        },
        Some(Method::Delete) => UploadAction::Cancel,
        Some(Method::Post) | None => {
            return Err(RouteError::MethodNotAllowed { allow: UPLOAD });
        }
    };
    Ok(Route::Upload { name, id, action })
}

fn referrers(
    method: &str,
    name: &[&str],
    digest: &str,
    query: &Query,
) -> Result<Route, RouteError> {
    let name = repository(name)?;
    let digest = Digest::parse(digest)?;
    read_only(method)?;
    let artifact_type = query
        .first("artifactType")
        .filter(|value| !value.is_empty());
    Ok(Route::Referrers {
        name,
        digest,
        artifact_type: artifact_type.map(str::to_owned),
        page: query.page()?,
    })
}

fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    RepositoryName::parse(&segments.join("/")).map_err(refused)
}

fn refused(error: NameError) -> RouteError {
    match error {
        NameError::Repository { value } | NameError::TooLong { value } => {
            RouteError::NameInvalid { value }
        }
        NameError::Tag { value } => RouteError::TagInvalid { value },
        NameError::Digest(error) => RouteError::DigestInvalid(error),
        NameError::UploadId { value } => RouteError::UploadUnknown { value },
    }
}
