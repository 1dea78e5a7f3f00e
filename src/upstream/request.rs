//! One request to an upstream: over its endpoints in order, each with the token dance.
//!
//! The next endpoint is asked only when one is in trouble, never when it said no.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::VIA;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::asking::{Manner, Patience};
use super::authorization::Authorizer;
use super::body::Received;
use super::challenge::challenges;
use super::client::{EndpointStanding, Standing};
use super::endpoint::{Endpoint, Exchange, Failed};
use super::error::Error;
use super::health::{Health, Verdict};
use super::outgoing::{Outgoing, Proof};
use super::round::Round;
use super::slots::Slots;
use super::via::{InstanceId, Via};
use crate::config::Timeouts;
use crate::telemetry::Kind;

/// What is asked, whichever endpoint answers.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) method: Method,
    /// The repository's name at the upstream.
    pub(super) repository: String,
    /// A printed route.
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) proof: Proof,
}

impl Call {
    /// Returns a call that finds out as much of an endpoint and brings no body that could be left out.
    pub(super) fn as_probe(&self) -> Self {
        let mut probe = self.clone();
        probe.headers.remove(http::header::RANGE);
        match self.kind {
            Kind::Manifest | Kind::Blob => probe.method = Method::HEAD,
            Kind::Tags | Kind::Referrers | Kind::Token => {}
        }
        probe
    }
}

/// For whom a call is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    /// The way the asker's request has come.
    pub(super) via: &'a Via,
    pub(super) manner: Manner,
    pub(super) patience: Patience,
}

/// An answer that is the upstream's word: any status but those of an endpoint in trouble.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) received: Received,
    pub(super) asked: Asked,
}

/// Who was asked for what, before any redirect.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) url: Url,
    endpoint: usize,
}

impl Answer {
    /// Returns the answer when its status is one of `expected`.
    ///
    /// # Errors
    /// What the status means.
    pub(super) fn expect(self, expected: &[StatusCode]) -> Result<Self, Error> {
        let status = self.received.status();
        if expected.contains(&status) {
            return Ok(self);
        }
        let unexpected = || Error::protocol(format!("status {}", status.as_u16()));
        Err(Error::of_status(status, self.received.headers()).unwrap_or_else(unexpected))
    }
}

/// The endpoints of one mirror, how they stand, and what authorises requests to them.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) authorizer: Authorizer,
    pub(super) health: Arc<Health>,
    pub(super) slots: Slots,
    pub(super) timeout: Timeouts,
    pub(super) instance: InstanceId,
}

impl Requests {
    /// Returns the answer of the first endpoint that is not in trouble.
    ///
    /// # Errors
    /// The first endpoint's trouble when all are, and at once an answer that cannot be used.
    pub(super) async fn send(
        self: &Arc<Self>,
        call: &Call,
        errand: &Errand<'_>,
    ) -> Result<Answer, Error> {
        // In a box without a type of its own: it is the deepest part of every pull, and the compiler limits how
        // deep the types of all that waits for it may lie in each other.
        let round: BoxFuture<'_, Result<Answer, Error>> =
            Box::pin(Round::new(self, call, errand).run());
        round.await
    }

    /// Returns the answer to the page after the one `asked`, at the same endpoint. Of `next`, which
    /// the upstream chose, only path and query count.
    ///
    /// # Errors
    /// As [`Requests::send`], for this one endpoint.
    pub(super) async fn send_next(
        &self,
        call: &Call,
        via: &Via,
        asked: &Asked,
        next: &Url,
    ) -> Result<Answer, Error> {
        let mut url = asked.url.clone();
        url.set_path(next.path());
        url.set_query(next.query());
        let slot = self.slots.take(call.kind, Patience::Waits).await?;
        let attempt = self.health.begin(asked.endpoint, call.kind);
        let (result, verdict) = self.ask(asked.endpoint, call, via, url).await;
        attempt.conclude(verdict);
        let mut answer = result?;
        answer.received.slot = Some(slot);
        Ok(answer)
    }

    /// Returns how the upstream stands.
    pub(super) fn standing(&self) -> Standing {
        let healthy = self.health.healthy();
        let standing = |(endpoint, healthy): (&Endpoint, &bool)| EndpointStanding {
            url: endpoint.configured().to_string(),
            healthy: *healthy,
        };
        Standing {
            healthy: healthy.contains(&true),
            endpoints: self.endpoints.iter().zip(&healthy).map(standing).collect(),
            ratelimit_remaining: self.health.quota_left(),
        }
    }

    /// Returns the URL of `call` at the endpoint at `position`.
    pub(super) fn url(&self, position: usize, call: &Call) -> Url {
        self.endpoints[position].url(&call.path_and_query)
    }

    /// Asks one endpoint; tells what came of it and what that says about the endpoint.
    pub(super) async fn ask(
        &self,
        position: usize,
        call: &Call,
        via: &Via,
        url: Url,
    ) -> (Result<Answer, Error>, Verdict) {
        let deadline = self.timeout.total.map(|total| Instant::now() + total);
        let asking = Box::pin(self.ask_until(position, call, via, url, deadline));
        let result = match deadline {
            Some(deadline) => timeout_at(deadline, asking).await.unwrap_or_else(|_| {
                let reason = "no answer in time".to_owned();
                Err(Error::TimedOut { reason }.into())
            }),
            None => asking.await,
        };
        match result {
            Ok(answer) => (Ok(answer), Verdict::Answered),
            Err(failed) => {
                let verdict = failed.verdict();
                (Err(failed.error), verdict)
            }
        }
    }

    /// Asks one endpoint, and once more with credentials read anew when it refuses those it was shown.
    async fn ask_until(
        &self,
        position: usize,
        call: &Call,
        via: &Via,
        url: Url,
        deadline: Option<Instant>,
    ) -> Result<Answer, Failed> {
        let mut headers = call.headers.clone();
        headers.insert(VIA, via.onward(&self.instance));
        let outgoing = Outgoing {
            kind: call.kind,
            method: call.method.clone(),
            repository: call.repository.clone(),
            url: url.clone(),
            headers,
            authorization: None,
            form: None,
            proof: call.proof,
            deadline,
        };
        let logins = &self.authorizer.logins;
        let generation = logins.generation(position);
        let mut shown = None;
        let mut result = self.ask_authorized(position, &outgoing, &mut shown).await;
        if is_refusal(&result) && logins.renew(position, generation).await {
            result = self.ask_authorized(position, &outgoing, &mut shown).await;
        }
        let Exchange { received, at_home } = result?;
        match Error::of_status(received.status(), received.headers()) {
            Some(error) if error.ends_the_attempt() => Err(Failed { error, at_home }),
            _ => Ok(Answer {
                received,
                asked: Asked {
                    url,
                    endpoint: position,
                },
            }),
        }
    }

    /// Sends a request with what authorises it, and once more when its challenge can be met. `shown` is what was
    /// shown to no avail before, and afterwards what was shown last.
    async fn ask_authorized(
        &self,
        position: usize,
        outgoing: &Outgoing,
        shown: &mut Option<HeaderValue>,
    ) -> Result<Exchange, Failed> {
        let endpoint = &self.endpoints[position];
        let authorizer = &self.authorizer;
        let mut outgoing = outgoing.clone();
        let repository = outgoing.repository.clone();
        let foreseen = authorizer.foresee(endpoint, &repository, shown.as_ref());
        outgoing.authorization = foreseen.await?;
        shown.clone_from(&outgoing.authorization);
        let exchange = endpoint.exchange(outgoing.clone()).await?;
        if exchange.received.status() != StatusCode::UNAUTHORIZED || !exchange.at_home {
            return Ok(exchange);
        }
        let offered = challenges(exchange.received.headers());
        let met = authorizer.answer(endpoint, &repository, offered, shown.as_ref());
        let Some(authorization) = met.await? else {
            return Ok(exchange);
        };
        *shown = Some(authorization.clone());
        outgoing.authorization = Some(authorization);
        endpoint.exchange(outgoing).await
    }
}

/// Returns whether the endpoint or its token server refused what it was shown.
fn is_refusal(result: &Result<Exchange, Failed>) -> bool {
    match result {
        Ok(exchange) => {
            let status = exchange.received.status();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
            exchange.at_home && refused.contains(&status)
        }
        Err(failed) => matches!(failed.error, Error::Denied { .. }),
    }
}
