//! One call's way over the endpoints: who is asked in which order, who waits, and who finds out whether an
//! endpoint in trouble is well again.
//!
//! An endpoint in trouble is never in a client's way: the next one is asked at once, and where there is none, the
//! last error is told at once while the pause lasts. One that is there, and only failed a request, may serve another
//! one: a client that has nothing else is not refused for what somebody else asked.

use std::sync::Arc;

use super::asking::Manner;
use super::breaker::Outlook;
use super::error::Error;
use super::health::{Attempt, Door};
use super::request::{Answer, Call, Errand, Requests};
use super::slots::Slot;

/// As what an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// As one of many who ask an endpoint that is well.
    OneOfMany,
    /// As the one that finds out whether it is well again.
    Probe,
    /// Although it failed somebody.
    AllTheSame,
}

/// A call on its way.
pub(super) struct Round<'a> {
    requests: &'a Arc<Requests>,
    call: &'a Call,
    errand: &'a Errand<'a>,
    slot: Option<Slot>,
    /// What is the matter with each endpoint.
    troubles: Vec<Option<Error>>,
    /// Endpoints of which it is time to find out.
    due: Vec<usize>,
    /// Endpoints of which somebody else finds out.
    probing: Vec<usize>,
    /// Endpoints that are there and were passed over, because a request of somebody else failed.
    failing: Vec<usize>,
    /// Whether any endpoint was asked.
    asked: bool,
}

impl<'a> Round<'a> {
    /// Begins at the first endpoint.
    pub(super) fn new(requests: &'a Arc<Requests>, call: &'a Call, errand: &'a Errand<'a>) -> Self {
        Self {
            requests,
            call,
            errand,
            slot: None,
            troubles: vec![None; requests.endpoints.len()],
            due: Vec::new(),
            probing: Vec::new(),
            failing: Vec::new(),
            asked: false,
        }
    }

    /// Returns the answer of the first endpoint that is not in trouble.
    ///
    /// # Errors
    /// The first endpoint's trouble when all are; `NoSpare` and `Busy`.
    pub(super) async fn run(mut self) -> Result<Answer, Error> {
        let manner = self.errand.manner;
        if manner == Manner::InBackground && !self.requests.health.spare() {
            return Err(Error::NoSpare);
        }
        for position in 0..self.troubles.len() {
            if let Some(result) = self.ask_if_well(position).await {
                self.probe_in_background();
                return result;
            }
        }
        if manner == Manner::WithFallback {
            self.probe_in_background();
            return Err(self.trouble());
        }
        if manner == Manner::Plain {
            for position in std::mem::take(&mut self.failing) {
                if let Some(result) = self.ask(position, Part::AllTheSame).await {
                    return result;
                }
                self.due.retain(|asked| *asked != position);
                self.probing.retain(|asked| *asked != position);
            }
        }
        loop {
            for position in std::mem::take(&mut self.due) {
                if let Some(result) = self.find_out(position).await {
                    return result;
                }
            }
            if manner == Manner::InBackground {
                return Err(if self.asked {
                    self.trouble()
                } else {
                    Error::NoSpare
                });
            }
            // Whoever finds out may hang up before it knows; then the endpoint is due again, for this one to find out.
            let Some(position) = self.probing.pop() else {
                return Err(self.trouble());
            };
            self.requests.health.probe_over(position).await;
            if let Some(result) = self.ask_if_well(position).await {
                return result;
            }
        }
    }

    /// Asks the endpoint at `position` as its probe, unless somebody else came first.
    async fn find_out(&mut self, position: usize) -> Option<Result<Answer, Error>> {
        self.ask(position, Part::Probe).await
    }

    fn trouble(&mut self) -> Error {
        let trouble = self.troubles.iter_mut().find_map(Option::take);
        trouble.expect("a trouble because there is an endpoint and none answered")
    }

    /// Returns what came of asking the endpoint at `position`; `None` when it is in trouble.
    async fn ask_if_well(&mut self, position: usize) -> Option<Result<Answer, Error>> {
        if !self.is_open(position) {
            return None;
        }
        self.ask(position, Part::OneOfMany).await
    }

    /// Returns whether the endpoint at `position` may be asked now, and remembers why not.
    fn is_open(&mut self, position: usize) -> bool {
        let door = self.requests.health.door(position, self.call.kind);
        if let Door::Breaker(
            Outlook::Resting(Error::Failing { .. })
            | Outlook::Due(Error::Failing { .. })
            | Outlook::Probing(Error::Failing { .. }),
        ) = &door
        {
            self.failing.push(position);
        }
        let error = match door {
            Door::Breaker(Outlook::Closed) => return true,
            Door::Breaker(_) if self.errand.manner == Manner::Insistently => return true,
            Door::Breaker(Outlook::Resting(error)) | Door::Limited(error) => error,
            Door::Breaker(Outlook::Due(error)) => {
                self.due.push(position);
                error
            }
            Door::Breaker(Outlook::Probing(error)) => {
                self.probing.push(position);
                error
            }
        };
        self.troubles[position] = Some(error);
        false
    }

    /// Returns what came of asking the endpoint at `position`; `None` when it is in trouble.
    async fn ask(&mut self, position: usize, part: Part) -> Option<Result<Answer, Error>> {
        let slot = match self.slot.take() {
            Some(slot) => slot,
            None => {
                let slots = &self.requests.slots;
                match slots.take(self.call.kind, self.errand.patience).await {
                    Ok(slot) => slot,
                    Err(busy) => return Some(Err(busy)),
                }
            }
        };
        // While it waited for its turn, others may have learnt that it is in vain.
        let Some(attempt) = self.begin(position, part) else {
            self.slot = Some(slot);
            return None;
        };
        self.asked = true;
        match self.attempt(position, attempt).await {
            Ok(mut answer) => {
                answer.received.slot = Some(slot);
                Some(Ok(answer))
            }
            Err(error) if error.tries_next_endpoint() => {
                self.slot = Some(slot);
                self.troubles[position] = Some(error);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn begin(&mut self, position: usize, part: Part) -> Option<Attempt> {
        let (health, kind) = (&self.requests.health, self.call.kind);
        match part {
            Part::Probe => {
                let attempt = health.begin_probe(position, kind);
                if attempt.is_none() {
                    self.probing.push(position);
                }
                attempt
            }
            Part::AllTheSame => Some(health.begin(position, kind)),
            Part::OneOfMany => self
                .is_open(position)
                .then(|| self.requests.health.begin(position, kind)),
        }
    }

    async fn attempt(&self, position: usize, attempt: Attempt) -> Result<Answer, Error> {
        let (requests, call, via) = (self.requests, self.call, self.errand.via);
        let asking = requests.ask(position, call, via, requests.url(position, call));
        if self.errand.manner != Manner::WithFallback {
            let (result, verdict) = asking.await;
            attempt.conclude(verdict);
            return result;
        }
        // Whoever began later may learn of the trouble earlier, and everyone with something stored is released.
        tokio::select! {
            (result, verdict) = asking => {
                attempt.conclude(verdict);
                result
            }
            error = requests.health.trouble(position) => Err(error),
        }
    }

    /// Finds out about endpoints that are due, in nobody's way.
    fn probe_in_background(&self) {
        for &position in &self.due {
            let kind = self.call.kind;
            let Some(attempt) = self.requests.health.begin_probe(position, kind) else {
                continue;
            };
            let (requests, call) = (Arc::clone(self.requests), self.call.as_probe());
            let via = self.errand.via.clone();
            tokio::spawn(async move {
                let url = requests.url(position, &call);
                let (_, verdict) = requests.ask(position, &call, &via, url).await;
                attempt.conclude(verdict);
            });
        }
    }
}
