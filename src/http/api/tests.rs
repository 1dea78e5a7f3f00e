//! The router beside the OpenAPI document, and what it refuses.

use std::collections::BTreeSet;

use hyper::{Method, StatusCode};
use serde_json::Value;
use utoipa::OpenApi;

use super::jobs::problem;
use super::openapi::Document;
use super::paging::Page;
use super::problem::Problem;
use super::route::{Endpoint, Route};
use super::router::ROOT;

fn parse(method: &Method, target: &str) -> Result<Route, Problem> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Route::parse(method, path, query)
}

fn refusal(method: &Method, target: &str) -> (StatusCode, Option<String>) {
    let response = parse(method, target).expect_err(target).into_response();
    let allow = response.headers().get("allow");
    let allow = allow.map(|allow| allow.to_str().expect("ASCII").to_owned());
    (response.status(), allow)
}

#[test]
fn every_endpoint_is_documented_and_nothing_else_is() {
    let document = serde_json::to_value(Document::openapi()).expect("a document is JSON");
    let paths = document["paths"]
        .as_object()
        .expect("the document has paths");
    let mut documented = BTreeSet::new();
    for (path, operations) in paths {
        for method in operations
            .as_object()
            .expect("a path has operations")
            .keys()
        {
            documented.insert((path.clone(), method.to_uppercase()));
        }
    }
    let mut routed = BTreeSet::new();
    for endpoint in Endpoint::all() {
        for method in endpoint
            .allow()
            .split(", ")
            .filter(|method| *method != "HEAD")
        {
            routed.insert((format!("{ROOT}{}", endpoint.template()), method.to_owned()));
        }
    }
    assert_eq!(documented, routed);
}

#[test]
fn every_documented_path_is_routed_with_its_method_alone() {
    for endpoint in Endpoint::all() {
        let path = endpoint
            .template()
            .replace("{id}", "7")
            .replace("{name}", "team/app")
            .replace("{tag}", "v1");
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ] {
            let is_allowed = endpoint
                .allow()
                .split(", ")
                .any(|allowed| method == allowed);
            if is_allowed {
                parse(&method, &path).expect("an allowed method");
            } else {
                let refused = refusal(&method, &path);
                let allow = Some(endpoint.allow().to_owned());
                assert_eq!(
                    refused,
                    (StatusCode::METHOD_NOT_ALLOWED, allow),
                    "{method} {path}"
                );
            }
        }
    }
}

#[test]
fn the_document_refers_to_nothing_it_does_not_hold() {
    let document = serde_json::to_value(Document::openapi()).expect("a document is JSON");
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() >= 8, "{references:?}");
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "$ref" => {
                        references.insert(text.clone());
                    }
                    field => collect(field, references),
                }
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect(entry, references)),
        _ => {}
    }
}

#[test]
fn a_full_disk_is_told_as_such() {
    let full = problem(crate::jobs::Error::StorageFull).into_response();
    assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE);
}

#[test]
fn paths_are_never_normalised() {
    let wrong = [
        "",
        "/",
        "/mirrors/",
        "//mirrors",
        "/Mirrors",
        "/mirrors/warm/x",
        "/jobs/x",
        "/jobs/-1",
        "/jobs/0",
        "/jobs/007",
        "/jobs/+7",
        "/jobs/99999999999999999999",
        "/jobs/7/",
        "/jobs/%37",
    ];
    for path in wrong {
        assert_eq!(
            refusal(&Method::GET, path),
            (StatusCode::NOT_FOUND, None),
            "{path}"
        );
    }
}

#[test]
fn a_repository_stands_raw_and_ends_where_no_name_goes_on() {
    let found = parse(
        &Method::POST,
        "/repositories/docker.io/library/nginx/-/tags/1.27/restore",
    );
    let Ok(Route::TagRestore(tag)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(tag.repository.as_str(), "docker.io/library/nginx");
    assert_eq!(tag.tag.as_str(), "1.27");
    for (path, status) in [
        ("/repositories", StatusCode::NOT_FOUND),
        ("/repositories/", StatusCode::NOT_FOUND),
        ("/repositories/a/tags/v1/history", StatusCode::NOT_FOUND),
        ("/repositories/a/-/tags/v1", StatusCode::NOT_FOUND),
        ("/repositories/a/-/tags/v1/history/", StatusCode::NOT_FOUND),
        ("/repositories/a/-/tags/v1/history/x", StatusCode::NOT_FOUND),
        ("/repositories/a/-/tags//history", StatusCode::BAD_REQUEST),
        ("/repositories//-/tags/v1/history", StatusCode::BAD_REQUEST),
        ("/repositories/A/-/tags/v1/history", StatusCode::BAD_REQUEST),
        (
            "/repositories/a/-/tags/%76/history",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        assert_eq!(refusal(&Method::GET, path).0, status, "{path}");
    }
    let paged = parse(
        &Method::GET,
        "/repositories/a/-/tags/v1/history?limit=2&cursor=9",
    );
    assert!(matches!(
        paged,
        Ok(Route::TagHistory(
            _,
            Page {
                limit: 2,
                cursor: Some(9)
            }
        ))
    ));
}

#[test]
fn pages_are_read_and_unknown_parameters_refused() {
    let page = |limit, cursor| Route::Jobs(Page { limit, cursor });
    let read = |target| parse(&Method::GET, target).expect("a page");
    assert_eq!(read("/jobs"), page(100, None));
    assert_eq!(read("/jobs?limit=5&cursor=17"), page(5, Some(17)));
    for target in [
        "/jobs?limit=0",
        "/jobs?limit=1001",
        "/jobs?limit=x",
        "/jobs?cursor=x",
        "/jobs?cursor=-1",
        "/jobs?page=2",
        "/jobs/7?limit=5",
        "/mirrors?verbose=1",
    ] {
        assert_eq!(
            refusal(&Method::GET, target).0,
            StatusCode::BAD_REQUEST,
            "{target}"
        );
    }
}
