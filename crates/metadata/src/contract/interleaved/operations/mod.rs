//! The writing operations, each at least once and as it meets the others in the scenario.

mod content;
mod jobs;
mod tags;
mod upkeep;
mod uploads;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use super::scenario::Facts;
use crate::{Metadata, Result};

/// What an operation is answered.
pub(super) type Answer = Pin<Box<dyn Future<Output = String> + Send>>;

/// A call that writes.
pub(super) struct Operation {
    /// The function of [`Metadata`].
    pub(super) method: &'static str,
    /// What it is about here.
    pub(super) what: &'static str,
    /// Does it.
    pub(super) run: fn(Metadata, Arc<Facts>) -> Answer,
}

impl Operation {
    /// Returns how the operation is named in a report.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.method, self.what)
    }
}

/// An operation: the method, what it is about, what the arguments call the facts, the arguments.
macro_rules! operation {
    ($method:ident, $what:literal, $facts:ident, [$($argument:expr),* $(,)?]) => {
        $crate::contract::interleaved::operations::Operation {
            method: stringify!($method),
            what: $what,
            run: |metadata, $facts| {
                Box::pin(async move {
                    let answer = metadata.$method($($argument),*).await;
                    $crate::contract::interleaved::operations::told(answer)
                })
            },
        }
    };
}
pub(super) use operation;

/// Returns all of them.
pub(super) fn all() -> Vec<Operation> {
    let mut all = content::operations();
    all.extend(tags::operations());
    all.extend(uploads::operations());
    all.extend(jobs::operations());
    all.extend(upkeep::operations());
    all
}

/// Returns an answer as text, without the keys of rows: they are given in the order of arrival.
fn told<T: Debug>(answer: Result<T>) -> String {
    let text = match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("error: {error}"),
    };
    let mut without = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = ["id: ", "RepositoryId("]
        .iter()
        .filter_map(|key| Some(rest.find(key)? + key.len()))
        .min()
    {
        without.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    without + rest
}

/// Returns the functions in the sources below `folder` that open a writing transaction.
fn writers(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        // The engines and the tests; `database` is where `write` itself is.
        let apart = [
            "sqlite",
            "postgres",
            "contract",
            "database.rs",
            "engine_tests.rs",
        ];
        if apart.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            found.extend(writers(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source is text");
        let mut function = String::new();
        for line in text.lines() {
            let line = line.trim_start();
            if let Some((_, after)) = line.split_once("fn ")
                && ["fn", "pub", "async", "const"]
                    .iter()
                    .any(|word| line.starts_with(word))
            {
                let end = after.find(['(', '<']).unwrap_or(after.len());
                function = after[..end].to_owned();
            }
            if line.contains("self.write(") || line.contains("metadata.write(") {
                found.insert(function.clone());
            }
        }
    }
    found
}

#[test]
fn every_writing_operation_is_listed() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let writers = writers(&sources);
    assert!(
        writers.contains("push_manifest"),
        "the search finds what is there: {writers:?}"
    );
    let listed: BTreeSet<String> = all()
        .iter()
        .map(|operation| operation.method.to_owned())
        .collect();
    let missing: Vec<&String> = writers.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "these write and are not interleaved with the others: {missing:?}; list them in crates/metadata/src/contract/interleaved/operations"
    );
}
