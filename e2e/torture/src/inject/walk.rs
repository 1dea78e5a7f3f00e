//! The walk: every kind of request once, one after the other, so that a failure falls into one of them.

use std::fmt;
use std::path::Path;

use crate::client::{Client, Trouble};
use crate::random::Random;
use crate::server::Server;
use crate::work::Worker;

/// What happened on a walk.
#[derive(Debug, Default)]
pub(super) struct Struck {
    /// The call that failed, and its path.
    pub(super) failed: Option<String>,
    /// The request that ran when it did.
    step: &'static str,
    /// Whether that request was told to have succeeded.
    pub(super) succeeded: bool,
    /// Answers that are wrong whatever happens to a disk.
    pub(super) wrong: Vec<String>,
    /// Requests that did not succeed.
    troubles: Vec<String>,
}

/// The client that walks.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) worker: Worker,
}

const STEPS: [&str; 7] = [
    "push",
    "second push",
    "move of a tag",
    "pull",
    "deletion of a tag",
    "deletion of a manifest",
    "deletion of a blob",
];

impl Walk {
    pub(super) fn new(random: &Random) -> Self {
        Self {
            worker: Worker::new("walker", random),
        }
    }

    /// Goes the whole walk, and on after a failure.
    pub(super) async fn go(
        &mut self,
        client: &Client,
        server: &Server,
        home: &Path,
    ) -> Result<Struck, String> {
        let mut struck = Struck::default();
        for step in STEPS {
            let printed = server.screen().len();
            let done = self.step(step, client).await;
            let failed = match &server.faults {
                // A server that has ended tells nothing more; the caller sees that.
                Some(faults) => faults.told().await.ok().and_then(|told| told.failed),
                None => None,
            };
            if struck.failed.is_none() && failed.is_some() {
                struck.failed = failed;
                struck.step = step;
                // What the server does by itself may fail beside the request, and is logged.
                let screen = server.screen();
                let beside = screen
                    .get(printed..)
                    .is_some_and(|text| text.contains("could not "));
                struck.succeeded = done.is_ok() && !beside;
            }
            match done {
                Ok(()) => {}
                Err(Trouble::Failed(answer)) => {
                    struck.troubles.push(answer.to_string());
                    struck.wrong.extend(answer.fault(home));
                }
                // A body that ends early is what a failing disk may do to a read; that it is not taken for a whole one
                // is the client's business and was just shown.
                Err(Trouble::Broken(what)) => struck.troubles.push(what),
                Err(Trouble::Wrong(what)) => {
                    struck.troubles.push(what.clone());
                    struck.wrong.push(what);
                }
            }
        }
        Ok(struck)
    }

    async fn step(&mut self, step: &str, client: &Client) -> Result<(), Trouble> {
        let worker = &mut self.worker;
        let repository = worker.repository();
        match step {
            "push" | "second push" => worker.push_image(client, &repository).await,
            "move of a tag" => worker.move_tag(client, &repository).await,
            "pull" => worker.pull(client, &repository).await,
            "deletion of a tag" => worker.delete_tag(client, &repository).await,
            "deletion of a manifest" => worker.delete_manifest(client, &repository).await,
            _ => worker.delete_blob(client, &repository).await,
        }
    }
}

impl Struck {
    /// Returns what did not succeed, on a walk on which all should.
    pub(super) fn problems(&self) -> Vec<String> {
        self.troubles.clone()
    }
}

impl fmt::Display for Struck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.as_deref().unwrap_or("nothing");
        write!(formatter, "{failed} in the {}", self.step)
    }
}
