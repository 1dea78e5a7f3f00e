//! What the content room does by itself: writing when things were pulled, keeping mirrored content within its bound, and
//! collecting what nothing holds any more, ending uploads that nobody goes on with. All of it ends with the server; whatever is
//! interrupted is finished at the next start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::evict::EvictRequest;
use super::store::Content;
use crate::clock::micros;

/// How long a pull may wait to be written.
const WRITE_PULLS_WITHIN: Duration = Duration::from_secs(1);

/// How often the bound is looked at without being asked: pushes fill the disk too, and their clients try again soon.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often content is looked through for what is too old, at most and at least.
const AGES_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// The pause of this task, which looks for everything that is due, after an eviction that could not free enough or failed.
const KEEPER_PAUSE: Duration = Duration::from_secs(5);

/// Everything is summed again after so many looks: the running number only counts what this process did.
const SUM_EVERY: u32 = 720;

/// What runs beside the requests, until it is stopped.
pub struct Background {
    content: Arc<Content>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Background {
    /// Starts it over `content`.
    pub fn start(content: &Arc<Content>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let (writer, until) = (Arc::clone(content), stopped.clone());
        tasks.spawn(async move { writer.keep_writing_pulls(until).await });
        let (collector, mut collects_until) = (Arc::clone(content), stopped.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = is_stopped(&mut collects_until) => {}
                () = collector.keep_collecting() => {}
            }
        });
        let (keeper, mut until) = (Arc::clone(content), stopped);
        tasks.spawn(async move {
            tokio::select! {
                () = is_stopped(&mut until) => {}
                () = keeper.keep_bounded() => {}
            }
        });
        let (tidy, mut until) = (Arc::clone(content), stop.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = is_stopped(&mut until) => {}
                () = tidy.keep_ending_leftovers() => {}
            }
        });
        let (purger, mut until) = (Arc::clone(content), stop.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = is_stopped(&mut until) => {}
                () = purger.keep_purging_uploads() => {
                    // Nothing is ever purged.
                }
            }
        });
        Self {
            content: Arc::clone(content),
            stop,
            tasks,
        }
    }

    /// Ends it and writes the last pulls. Call it when nothing pulls any more and before the database is closed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        if let Err(error) = self.content.flush_pulls().await {
            tracing::warn!(%error, "could not write the last pulls");
        }
    }
}

/// Waits until it is to end.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    // An error means that whoever could stop it is gone.
    drop(stopped.wait_for(|stop| *stop).await);
}

impl Content {
    async fn keep_writing_pulls(&self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = is_stopped(&mut stopped) => return,
                () = self.pulls.some.notified() => {}
            }
            tokio::select! {
                () = is_stopped(&mut stopped) => return,
                () = tokio::time::sleep(WRITE_PULLS_WITHIN) => {}
            }
            // Never broken off: what is taken is written.
            if let Err(error) = self.flush_pulls().await {
                tracing::warn!(%error, "could not write when content was last pulled");
            }
        }
    }

    async fn keep_bounded(&self) {
        match self.finish_left_claims().await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "finished deletions that a stop left behind"),
            Err(error) => {
                tracing::warn!(%error, "could not finish deletions that a stop left behind")
            }
        }
        let alone = self.evicting.lock().await;
        if let Err(error) = self.sum_stored(None).await {
            tracing::warn!(%error, "could not sum what is stored");
        }
        drop(alone);
        let mut looks = 0;
        let mut last_ages = self.metadata.now();
        loop {
            self.count_quarantined().await;
            let now = self.metadata.now();
            let ages = self
                .ages_every()
                .is_some_and(|every| now.saturating_sub(last_ages) >= every);
            if ages {
                last_ages = now;
            }
            if ages || looks >= SUM_EVERY || self.is_crowded().await {
                looks = 0;
                match self.evict(EvictRequest::Due).await {
                    // What is left is pinned or in use: looking again at once would only read all rows again.
                    Ok(report) if report.left_over_bound => tokio::time::sleep(KEEPER_PAUSE).await,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "could not evict mirrored content");
                        tokio::time::sleep(KEEPER_PAUSE).await;
                    }
                }
            }
            tokio::select! {
                () = self.rooms.wanted.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => looks += 1,
            }
        }
    }

    /// Returns how often content is looked through for what is too old, in microseconds: often enough for the shortest
    /// lifetime, and not for every minute of a long one.
    fn ages_every(&self) -> Option<i64> {
        let lifetimes = self.settings.lifetimes.values().copied();
        let shortest = lifetimes
            .chain(self.settings.cache.maxage)
            .filter(|most| !most.is_zero())
            .min()?;
        let every = (shortest / 20).clamp(AGES_EVERY.0, AGES_EVERY.1);
        Some(micros(every))
    }
}
