//! The path grammar from outside: what is printed parses back, what could be read in two ways is
//! refused.

use oci::{
    Action, Algorithm, BlobAction, Digest, ManifestAction, Mount, Page, Reference, RepositoryName,
    Resource, Route, RouteError, Tag, UploadAction, UploadId, UploadStart,
};

const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).expect("a name")
}

fn digests() -> Vec<Digest> {
    [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .map(|algorithm| Digest::of(algorithm, b"x"))
        .collect()
}

fn pages() -> Vec<Page> {
    let lasts = [None, Some("v1"), Some("a&b=c d%/?#+ü")];
    let mut pages = Vec::new();
    for n in [None, Some(0), Some(u64::MAX)] {
        for last in lasts {
            pages.push(Page {
                n,
                last: last.map(str::to_owned),
            });
        }
    }
    pages
}

/// Every shape of route, over names that look like parts of the grammar.
fn routes() -> Vec<Route> {
    let names = [
        "a",
        "library/nginx",
        "blobs/uploads",
        "a/manifests/b",
        "tags/list",
        "x/blobs/y",
        "referrers/x",
        "localhost:5000/app",
        "v2/v2",
    ];
    let mut routes = vec![Route::Base];
    routes.extend(pages().into_iter().map(Route::Catalog));
    for name in names.map(name) {
        for page in pages() {
            routes.push(Route::Tags {
                name: name.clone(),
                page: page.clone(),
            });
            for artifact_type in [None, Some("application/x+json; a=b")] {
                routes.push(Route::Referrers {
                    name: name.clone(),
                    digest: digests()[0],
                    artifact_type: artifact_type.map(str::to_owned),
                    page: page.clone(),
                });
            }
        }
        for digest in digests() {
            routes.extend(routes_of(&name, digest));
        }
    }
    routes
}

fn routes_of(name: &RepositoryName, digest: Digest) -> Vec<Route> {
    let tag = Tag::parse("v1.2_3-x").expect("a tag");
    let mut routes = Vec::new();
    for reference in [Reference::Tag(tag.clone()), Reference::Digest(digest)] {
        for action in [
            ManifestAction::Get,
            ManifestAction::Head,
            ManifestAction::Delete,
            ManifestAction::Put { tags: Vec::new() },
            ManifestAction::Put {
                tags: vec![tag.clone(), Tag::parse("latest").expect("a tag")],
            },
        ] {
            routes.push(Route::Manifest {
                name: name.clone(),
                reference: reference.clone(),
                action,
            });
        }
    }
    for action in [BlobAction::Get, BlobAction::Head, BlobAction::Delete] {
        routes.push(Route::Blob {
            name: name.clone(),
            digest,
            action,
        });
    }
    for action in [
        UploadAction::Status { head: false },
        UploadAction::Status { head: true },
        UploadAction::Append,
        UploadAction::Finish { digest },
        UploadAction::Cancel,
    ] {
        routes.push(Route::Upload {
            name: name.clone(),
            id: UploadId::parse(ID).expect("an id"),
            action,
        });
    }
    for from in [None, Some(crate::name("other/repo"))] {
        for whole in [None, Some(digest)] {
            for algorithm in [None, Some(Algorithm::Sha512)] {
                let start = UploadStart {
                    mount: from.clone().map(|from| Mount {
                        digest,
                        from: Some(from),
                    }),
                    digest: whole,
                    algorithm,
                };
                routes.push(Route::UploadStart {
                    name: name.clone(),
                    start,
                });
            }
        }
    }
    routes
}

fn parse(method: &str, target: &str) -> Result<Route, RouteError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Route::parse(method, path, query)
}

#[test]
fn every_route_parses_back_from_what_it_prints() {
    for route in routes() {
        let printed = route.path_and_query();
        let parsed = parse(route.method().as_str(), &printed);
        assert_eq!(parsed.as_ref(), Ok(&route), "{printed}");
    }
}

#[test]
fn optional_slashes_change_nothing() {
    assert_eq!(parse("GET", "/v2"), Ok(Route::Base));
    let with = parse("POST", "/v2/a/blobs/uploads/");
    assert_eq!(parse("POST", "/v2/a/blobs/uploads"), with);
}

#[test]
fn an_encoded_colon_is_a_colon_and_nothing_else_is_decoded() {
    let digest = digests()[0].to_string();
    let encoded = format!("/v2/a/blobs/{}", digest.replace(':', "%3A"));
    assert_eq!(
        parse("GET", &encoded),
        parse("GET", &format!("/v2/a/blobs/{digest}"))
    );
    for path in [
        "/v2/a%2Fb/tags/list",
        "/v2/a/../b/tags/list",
        "/v2/./a/tags/list",
        "/v2//a/tags/list",
        "/v2/%2e%2e/tags/list",
        "/v2/a/tags%2flist",
        "/v2/a%00/tags/list",
        "/v2/a/manifests/%41",
        "//v2/",
        "/v2/a//tags/list",
        "/../v2/",
    ] {
        let refused = parse("GET", path);
        assert!(
            matches!(refused, Err(RouteError::EncodedPath { .. })),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn each_wrong_part_is_named_by_its_error() {
    for (method, target, expected) in [
        ("GET", "/v2/A/tags/list", "repository name \"A\" is invalid"),
        ("GET", "/v2/a/manifests/-x", "tag \"-x\" is invalid"),
        (
            "GET",
            "/v2/a/blobs/sha256:1",
            "digest \"sha256:1\" is malformed",
        ),
        (
            "GET",
            "/v2/a/tags/list?n=x",
            "n=\"x\" is not a number of entries",
        ),
        (
            "GET",
            "/v2/a/tags/list?n=-1",
            "n=\"-1\" is not a number of entries",
        ),
        (
            "GET",
            "/v2/a/tags/list?n=99999999999999999999",
            "is not a number of entries",
        ),
        (
            "PUT",
            &format!("/v2/a/blobs/uploads/{ID}"),
            "the digest parameter is missing",
        ),
        ("GET", "/v2/a/blobs/uploads/x", "upload \"x\" is unknown"),
        (
            "POST",
            "/v2/a/blobs/uploads/?digest-algorithm=md5",
            "\"md5\" is not supported",
        ),
        ("PATCH", "/v2/a/manifests/x", "only GET, HEAD, PUT, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "only POST"),
        ("POST", "/v2/", "only GET, HEAD"),
        ("GET", "/v2/a", "no such endpoint"),
        ("GET", "/v1/", "no such endpoint"),
        ("GET", "/v2x/", "no such endpoint"),
    ] {
        let refused = parse(method, target).expect_err(target).to_string();
        assert!(refused.contains(expected), "{target}: {refused}");
    }
}

#[test]
fn huge_paths_are_refused_without_being_repeated() {
    let path = format!("/v2/{}/tags/list", "a/".repeat(32_000));
    assert!(matches!(
        parse("GET", &path),
        Err(RouteError::TooLong { .. })
    ));
    let name = format!("/v2/{}/tags/list", "a".repeat(4_000));
    let refused = parse("GET", &name).expect_err("too long").to_string();
    assert!(refused.len() < 300, "{refused}");
}

#[test]
fn unknown_and_repeated_parameters_do_no_harm() {
    let plain = parse("GET", "/v2/a/tags/list?n=5");
    assert_eq!(
        parse("GET", "/v2/a/tags/list?ns=docker.io&n=5&n=6&_state=x"),
        plain
    );
    let stray = format!("/v2/a/blobs/uploads/{ID}?digest=nonsense");
    assert!(parse("GET", &stray).is_ok());
}

#[test]
fn what_a_route_needs_is_all_of_it() {
    let digest = digests()[0];
    let mount = parse(
        "POST",
        &format!("/v2/to/blobs/uploads/?mount={digest}&from=from"),
    );
    let needed = mount.expect("a mount").access();
    assert_eq!(
        needed,
        [
            (Resource::Repository(name("to")), Action::Push),
            (Resource::Repository(name("from")), Action::Pull),
        ]
    );
    assert!(Route::Base.access().is_empty());
    for route in routes() {
        let named = route.repository().is_some();
        assert!(!named || !route.access().is_empty(), "{route:?}");
    }
}
