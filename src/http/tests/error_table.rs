//! The error table as people read it: `docs/errors.md` is printed from the one table in `error`, and
//! this test fails when they differ. Run it with `UPDATE_DOCS=1` to print the page anew.

use oci::{Algorithm, Digest, DigestError, ManifestError, RepositoryName, RouteError, UploadId};

use super::super::error::Failure;
use crate::registry::{Error, Refusal, UpstreamError};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");

const HEAD: &str = "# Errors\n\n\
    What a client can get, printed from the table in `src/http/error.rs`. The body is \
    `{\"errors\":[{\"code\",\"message\"}]}`; names and digests here are examples.\n\n\
    | status | code | message |\n|---|---|---|\n";

fn upstream(error: UpstreamError) -> Failure {
    Failure::Registry(Error::Upstream {
        upstream: "docker.io".to_owned(),
        error,
    })
}

fn refused(why: Refusal) -> Failure {
    Failure::Registry(Error::Refused {
        name: "library/secrets".to_owned(),
        upstream: "docker.io".to_owned(),
        why,
    })
}

fn route(error: RouteError) -> Failure {
    Failure::Route(error)
}

fn value() -> String {
    "…".to_owned()
}

fn routes() -> Vec<Failure> {
    vec![
        route(RouteError::NotFound),
        route(RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
        route(RouteError::NameInvalid { value: value() }),
        route(RouteError::TagInvalid { value: value() }),
        route(RouteError::DigestInvalid(DigestError::Malformed {
            value: value(),
        })),
        route(RouteError::DigestInvalid(DigestError::Missing)),
        route(RouteError::UnsupportedAlgorithm {
            value: "md5".to_owned(),
        }),
        route(RouteError::UploadUnknown { value: value() }),
        route(RouteError::PageNumberInvalid { value: value() }),
        route(RouteError::EncodedPath { value: value() }),
        route(RouteError::TooLong { bytes: 65_536 }),
        Failure::Denied,
        Failure::ContentEncoding("gzip".to_owned()),
        Failure::ManifestTooLarge { limit: 4 << 20 },
        Failure::PageTooLarge {
            asked: 5000,
            most: 1000,
        },
        Failure::BadContentRange("content range \"…\" is invalid".to_owned()),
        Failure::BodyBroken,
        Failure::Busy,
        Failure::Loop,
        Failure::RangeOutside { size: 1024 },
    ]
}

fn contents() -> Vec<Failure> {
    let digest = Digest::of(Algorithm::Sha256, b"");
    let other = Digest::of(Algorithm::Sha256, b"x");
    let name = || "team/app".to_owned();
    let id = || UploadId::parse("0f8fad5b-d9cb-469f-a165-70867728950e").expect("an id");
    let reference = || "1.0".to_owned();
    let errors = vec![
        Error::Preparing { what: value() },
        Error::NameUnknown { name: name() },
        Error::NamespaceUnknown {
            name: name(),
            namespace: "registry.example".to_owned(),
        },
        Error::ManifestUnknown {
            name: name(),
            reference: reference(),
        },
        Error::UnknownBesideUpstream {
            name: name(),
            reference: reference(),
            warning: value(),
        },
        Error::BlobUnknown {
            name: name(),
            digest,
        },
        Error::UploadUnknown {
            name: name(),
            id: id().to_string(),
        },
        Error::TooManyUploads { most: 1000 },
        Error::OffsetConflict {
            id: id(),
            offset: 1024,
        },
        Error::BodyBroken,
        Error::SizeInvalid {
            stated: 10,
            received: 9,
        },
        Error::DigestMismatch {
            stated: digest,
            actual: other,
        },
        Error::ManifestInvalid(ManifestError::Schema1),
        Error::MissingReferences {
            first: vec![digest],
            total: 7,
        },
        Error::ReferenceSize {
            digest,
            stated: 10,
            actual: 9,
        },
        Error::ReadOnly,
        Error::DeleteDisabled,
        Error::StorageFull,
        Error::Unavailable { reason: value() },
        Error::Damaged { digest },
    ];
    errors.into_iter().map(Failure::Registry).collect()
}

fn mirrors() -> Vec<Failure> {
    let name = RepositoryName::parse("docker.io/library/nginx").expect("a name");
    let reason = || "connection refused".to_owned();
    vec![
        Failure::Registry(Error::Mirrored {
            name: name.clone(),
            upstream: "docker.io".to_owned(),
        }),
        Failure::Registry(Error::Shadows {
            name,
            upstream: "docker.io".to_owned(),
        }),
        refused(Refusal::Denied {
            pattern: "library/secret*".to_owned(),
        }),
        refused(Refusal::NotAllowed {
            allowed: vec!["team/**".to_owned()],
        }),
        upstream(UpstreamError::Denied { status: 401 }),
        upstream(UpstreamError::Denied { status: 403 }),
        upstream(UpstreamError::RateLimited { retry_after: None }),
        upstream(UpstreamError::Unavailable { reason: reason() }),
        upstream(UpstreamError::TimedOut {
            reason: "an answer".to_owned(),
        }),
        upstream(UpstreamError::Protocol {
            reason: "an HTML page".to_owned(),
        }),
        upstream(UpstreamError::Loop),
        upstream(UpstreamError::Busy {
            retry_after_secs: 1,
        }),
        upstream(UpstreamError::NoSpare),
    ]
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let all = routes().into_iter().chain(contents()).chain(mirrors());
    for failure in all {
        let (status, code) = failure.classify();
        let (status, code) = (status.as_u16(), code.as_str());
        let message = failure.message().replace('|', "\\|");
        page.push_str(&format!("| {status} | {code} | {message} |\n"));
    }
    page
}

#[test]
fn the_page_of_errors_is_what_clients_get() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(PAGE).expect("docs/errors.md is there");
    assert!(
        written == page,
        "docs/errors.md is stale: run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn no_message_is_long_or_holds_a_path() {
    for failure in routes().into_iter().chain(contents()).chain(mirrors()) {
        let message = failure.message();
        assert!(message.len() < 1000, "{message}");
        assert!(
            !message.contains("/var") && !message.contains("SELECT"),
            "{message}"
        );
    }
}
