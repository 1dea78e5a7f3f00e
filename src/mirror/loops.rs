//! Mirrors that wait for each other: each has joined what the other asks. `Via` shows a loop to whoever asks on, not to
//! whoever joins; so a request that came through another mirror and waits for somebody else's answer asks on as well,
//! once, when the answer takes its time.

use std::future::Future;
use std::time::Duration;

use oci::Page;

use super::error::{Error, trouble};
use super::missing::Thing;
use super::remotes::{Mirror, Target};
use crate::upstream::{self, Manner};

/// How long an answer may take before. In a ring each mirror but one waits so long: three are through within a second.
const UNSUSPECTED: Duration = Duration::from_millis(300);

impl Mirror {
    /// Counts a request for `thing` that waits for an answer under way. What is returned ends only with a loop.
    pub(super) fn joined<'a>(
        &self,
        target: &'a Target,
        thing: &'a Thing,
    ) -> impl Future<Output = Error> + Send + use<'a> {
        self.metrics.joined(&target.remote.label);
        target.led_back(thing)
    }
}

impl Target {
    /// Returns the error of a request for `thing` that waits, through other mirrors, for itself; of any other request it
    /// never ends. Nothing is asked for who comes straight from a client.
    pub(super) async fn led_back(&self, thing: &Thing) -> Error {
        if !self.via.begins_here() {
            tokio::time::sleep(UNSUSPECTED).await;
            // Boxed: it is a whole conversation, which hardly ever takes place.
            if let Err(looped @ upstream::Error::Loop) = Box::pin(self.probe(thing)).await {
                return trouble(self, looped);
            }
        }
        std::future::pending().await
    }

    /// Asks for `thing` by the way the request has come.
    async fn probe(&self, thing: &Thing) -> Result<(), upstream::Error> {
        // Insistently: what is waited for may be the one request that finds out whether the upstream is well again.
        let (asking, path) = (self.ask().in_manner(Manner::Insistently), &self.path);
        match thing {
            Thing::Manifest(reference) => asking.head_manifest(path, reference).await.map(drop),
            Thing::Blob(digest) => asking.head_blob(path, digest).await.map(drop),
            Thing::Referrers(digest) => asking.referrers(path, digest).await.map(drop),
            Thing::Tags => {
                let page = Page {
                    n: Some(1),
                    last: None,
                };
                asking.tags(path, &page).await.map(drop)
            }
        }
    }
}
