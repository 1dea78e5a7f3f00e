//! Questions under way: whoever asks what is being asked already waits for that answer, instead of asking the upstream a
//! second time. The question is a task of its own, which goes on when every client has hung up. Never a cache: an answer
//! reaches only those who came before it.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::error::Error;

/// What finds out an answer. Boxed: it holds whole conversations, and those who only join should not carry its size.
pub(super) type Asking<V> = Pin<Box<dyn Future<Output = Result<V, Error>> + Send>>;

type Outcome<V> = Result<V, Arc<Error>>;
type Open<K, V> = HashMap<K, watch::Receiver<Option<Outcome<V>>>>;

/// The questions under way of one sort: `K` says what makes two questions the same, `V` is what is answered.
pub(super) struct Flights<K, V> {
    open: Arc<Mutex<Open<K, V>>>,
}

/// An answer.
pub(super) struct Answer<V> {
    /// What was answered.
    pub outcome: Result<V, Error>,
    /// Whether somebody else had asked.
    pub joined: bool,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            open: Arc::default(),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Returns the answer to `question`: of the one under way, or else of `asking`, which is started then. `joining` is
    /// told of the former at once, and may end the waiting with an error.
    pub(super) async fn ask<D>(
        &self,
        question: K,
        asking: Asking<V>,
        joining: impl FnOnce() -> D,
    ) -> Answer<V>
    where
        D: Future<Output = Error>,
    {
        let (answer, joined) = self.join_or_start(question, asking);
        let outcome = if joined {
            landed_unless(answer, joining()).await
        } else {
            landed(answer).await
        };
        Answer { outcome, joined }
    }

    /// As [`Flights::ask`], but an answer that somebody else got and that is `unfit` for this asker is no answer: then the
    /// question is put again, until it is fit or the asker's own.
    pub(super) async fn ask_unless<D>(
        &self,
        question: K,
        asking: impl Fn() -> Asking<V>,
        joining: impl Fn() -> D,
        unfit: impl Fn(&Result<V, Error>) -> bool,
    ) -> Answer<V>
    where
        D: Future<Output = Error>,
    {
        loop {
            let answer = self.ask(question.clone(), asking(), &joining).await;
            if !(answer.joined && unfit(&answer.outcome)) {
                return answer;
            }
        }
    }

    /// Starts `asking` unless the question is under way. Waits for nothing.
    pub(super) fn start(&self, question: K, asking: Asking<V>) {
        drop(self.join_or_start(question, asking));
    }

    /// Returns the answer to the question if it is under way; `joining` as for [`Flights::ask`].
    pub(super) async fn join<D>(
        &self,
        question: &K,
        joining: impl FnOnce() -> D,
    ) -> Option<Result<V, Error>>
    where
        D: Future<Output = Error>,
    {
        let answer = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.get(question).cloned()
        }?;
        Some(landed_unless(answer, joining()).await)
    }

    fn join_or_start(
        &self,
        question: K,
        asking: Asking<V>,
    ) -> (watch::Receiver<Option<Outcome<V>>>, bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = open.get(&question) {
            return (answer.clone(), true);
        }
        let (sender, answer) = watch::channel(None);
        open.insert(question.clone(), answer.clone());
        drop(open);
        let entry = Entry {
            open: Arc::clone(&self.open),
            question,
        };
        tokio::spawn(async move {
            let outcome = asking.await.map_err(Arc::new);
            // Who comes from here on looks at what is stored, or asks anew.
            drop(entry);
            sender.send_replace(Some(outcome));
        });
        (answer, false)
    }
}

async fn landed<V: Clone>(mut answer: watch::Receiver<Option<Outcome<V>>>) -> Result<V, Error> {
    let outcome = match answer.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone(),
        // The task panicked, or the server stops.
        Err(_) => None,
    };
    match outcome {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.for_follower()),
        None => Err(Error::given_up()),
    }
}

/// Returns the answer, or the error with which the waiting ends before.
async fn landed_unless<V: Clone>(
    answer: watch::Receiver<Option<Outcome<V>>>,
    doubt: impl Future<Output = Error>,
) -> Result<V, Error> {
    tokio::select! {
        biased;
        outcome = landed(answer) => outcome,
        error = doubt => Err(error),
    }
}

/// Removes the question from the table, also when its task panics.
struct Entry<K: Eq + Hash, V> {
    open: Arc<Mutex<Open<K, V>>>,
    question: K,
}

impl<K: Eq + Hash, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.question);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::Flights;
    use crate::mirror::error::Error;

    fn patient() -> impl Future<Output = Error> {
        pending()
    }

    #[tokio::test]
    async fn who_joins_may_give_up_without_ending_the_question() {
        let flights: Flights<&str, u32> = Flights::default();
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let asking = async move {
            opened.notified().await;
            Ok(7)
        };
        let first = flights.ask("tag", Box::pin(asking), || ready(Error::given_up()));
        tokio::pin!(first);
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        let asking = Box::pin(async { Ok(8) });
        let second = flights.ask("tag", asking, || ready(Error::given_up()));
        assert!(second.await.outcome.is_err());
        let third = flights.join(&"tag", || ready(Error::given_up()));
        assert!(matches!(third.await, Some(Err(_))));
        gate.notify_one();
        assert!(matches!(first.await.outcome, Ok(7)));
    }

    #[tokio::test]
    async fn sixty_four_who_ask_at_once_cost_one_question_and_share_its_answer() {
        let flights: Flights<&str, usize> = Flights::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let joins = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let all = join_all((0..64).map(|_| {
            let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
            let asking = async move {
                gate.notified().await;
                Ok(asked.fetch_add(1, Ordering::SeqCst))
            };
            let joins = Arc::clone(&joins);
            flights.ask("tag", Box::pin(asking), move || {
                joins.fetch_add(1, Ordering::SeqCst);
                patient()
            })
        }));
        tokio::pin!(all);
        assert!(futures_util::poll!(all.as_mut()).is_pending());
        assert_eq!(joins.load(Ordering::SeqCst), 63, "told before the answer");
        gate.notify_one();
        let answers = all.await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let led = answers.iter().filter(|answer| !answer.joined).count();
        assert_eq!(led, 1);
        assert!(answers.iter().all(|answer| matches!(answer.outcome, Ok(0))));
    }

    #[tokio::test]
    async fn who_comes_after_the_answer_asks_anew() {
        let flights: Flights<&str, u32> = Flights::default();
        for wanted in [1, 2] {
            let answer = flights
                .ask("tag", Box::pin(async move { Ok(wanted) }), patient)
                .await;
            assert!(!answer.joined);
            assert!(matches!(answer.outcome, Ok(told) if told == wanted));
        }
        assert!(flights.join(&"tag", patient).await.is_none());
    }

    #[tokio::test]
    async fn who_joins_answers_that_are_not_for_it_asks_until_the_answer_is_its_own() {
        let flights: Flights<&str, u32> = Flights::default();
        let start = || {
            let (gate, opened) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (waits, tells) = (Arc::clone(&gate), Arc::clone(&opened));
            let asking = async move {
                waits.notified().await;
                tells.notify_one();
                Err(Error::given_up())
            };
            flights.start("tag", Box::pin(asking));
            (gate, opened)
        };
        let mut under_way = start();
        let own = || Box::pin(async { Ok(7_u32) }) as super::Asking<u32>;
        let client = flights.ask_unless("tag", own, patient, Result::is_err);
        tokio::pin!(client);
        for _ in 0..3 {
            assert!(futures_util::poll!(client.as_mut()).is_pending());
            under_way.0.notify_one();
            under_way.1.notified().await;
            // The next check begins before the client hears of this one.
            under_way = start();
        }
        under_way.0.notify_one();
        under_way.1.notified().await;
        let answer = client.await;
        assert!(!answer.joined);
        assert!(matches!(answer.outcome, Ok(7)));
    }

    #[tokio::test]
    async fn a_question_goes_on_when_its_asker_hangs_up() {
        let flights: Flights<&str, u32> = Flights::default();
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        {
            let asking = async move {
                opened.notified().await;
                Ok(7)
            };
            let asker = flights.ask("tag", Box::pin(asking), patient);
            tokio::pin!(asker);
            assert!(futures_util::poll!(asker.as_mut()).is_pending());
        }
        let second = flights.ask("tag", Box::pin(async { Ok(8) }), patient);
        tokio::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        gate.notify_one();
        assert!(matches!(second.await.outcome, Ok(7)));
    }

    #[tokio::test]
    async fn a_question_that_panics_fails_and_does_not_block_the_next() {
        let flights: Flights<&str, u32> = Flights::default();
        let answer = flights
            .ask("tag", Box::pin(async { panic!("a defect") }), patient)
            .await;
        assert!(matches!(answer.outcome, Err(Error::Content(_))));
        let answer = flights.ask("tag", Box::pin(async { Ok(1) }), patient).await;
        assert!(matches!(answer.outcome, Ok(1)));
    }
}
