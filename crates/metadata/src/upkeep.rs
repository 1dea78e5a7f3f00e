//! What is known of the process that holds the database and of its collector: whether the one before it ended in order,
//! until when content of local repositories is not reclaimed, and how the last collection went. One row.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::database::Metadata;
use crate::error::{Error, Result};
use crate::tx::Tx;

/// The state of the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Until when nothing is reclaimed that a local repository ever held, in microseconds since 1970; in the past when
    /// nothing is held back.
    pub hold_until: i64,
    /// Whether an operator stopped the collector.
    pub paused: bool,
    /// Whether an import began and did not come to its end: until then nothing is reclaimed.
    pub importing: bool,
    /// What the caller stored about the last collection.
    pub report: Option<String>,
}

/// `$1` until when to hold back if the process before did not end in order.
pub(crate) const BEGIN: &str = "UPDATE upkeep \
    SET hold_until = CASE WHEN clean = 0 AND hold_until < $1 THEN $1 ELSE hold_until END, clean = 0";

pub(crate) const END: &str = "UPDATE upkeep SET clean = 1";

/// `$1` whether an import is under way from now on.
pub(crate) const IMPORTING: &str = "UPDATE upkeep SET importing = $1";

const READ: &str = "SELECT hold_until, gc_paused, importing, gc_report FROM upkeep";
const PAUSE: &str = "UPDATE upkeep SET gc_paused = $1";
const REPORT: &str = "UPDATE upkeep SET gc_report = $1";

/// How the process that has the database open ends.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Whether this process answers for the end at all.
    is_owner: bool,
    /// Until when somebody relies on what only this process knows.
    relied_on_until: AtomicI64,
}

impl Ending {
    /// Returns that of the process that owns the database.
    pub(crate) fn of_an_owner() -> Self {
        Self {
            is_owner: true,
            relied_on_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Takes note that somebody relies until `until` on what only this process knows.
    pub(crate) fn rely_on_process(&self, until: i64) {
        self.relied_on_until.fetch_max(until, Ordering::SeqCst);
    }

    /// Returns whether an end at `now` is one in order, which has to be written down.
    pub(crate) fn is_in_order(&self, now: i64) -> bool {
        self.is_owner && self.relied_on_until.load(Ordering::SeqCst) <= now
    }
}

impl Metadata {
    /// Returns the state of the collector.
    pub async fn upkeep(&self) -> Result<Upkeep> {
        self.read((), |tx, ()| Box::pin(read(tx))).await
    }

    /// Records whether an operator has stopped the collector.
    pub async fn pause_collector(&self, paused: bool) -> Result<()> {
        self.write(paused, |tx, paused| {
            Box::pin(async move {
                let paused = i64::from(*paused);
                tx.execute(PAUSE, &[paused.into()]).await.map(drop)
            })
        })
        .await
    }

    /// Records how the last collection went, in the caller's words.
    pub async fn store_collector_report(&self, report: String) -> Result<()> {
        self.write(report, |tx, report| {
            Box::pin(async move {
                tx.execute(REPORT, &[report.as_str().into()])
                    .await
                    .map(drop)
            })
        })
        .await
    }
}

/// Returns the state of the collector as the transaction sees it.
pub(crate) async fn read(tx: &mut Tx) -> Result<Upkeep> {
    let row = tx.query_one(READ, &[]).await?;
    let row = row.ok_or_else(|| Error::corrupt("upkeep has no row"))?;
    Ok(Upkeep {
        hold_until: row.i64(0)?,
        paused: row.bool(1)?,
        importing: row.bool(2)?,
        report: row.opt_text(3)?.map(str::to_owned),
    })
}
