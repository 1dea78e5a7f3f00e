//! Comparing rows with files and with each other: rows without bytes, bytes without rows, what refers to nothing and what
//! nothing refers to. Beside a running server; nothing is held in memory but a page, and whatever is done about something
//! is asked for once more right before.

use std::collections::VecDeque;
use std::sync::Arc;

use metadata::{
    Certainty, CheckCursor, CheckScope, CheckedBlob, Metadata, NameCursor, NameKind, Unnoted,
    UnnotedKind,
};

use super::damage::{Damage, Look, Seen, open_to_look};
use super::error::Error;
use super::fsck_files::Files;
use super::import::refuse_unimported;
use super::pace::Pace;
use super::problem::{Action, Problem, ProblemKind};
use super::store::Content;

/// How rows and files are compared.
#[derive(Clone, Copy, Debug)]
pub struct FsckRequest {
    /// Whether something is done about what is wrong.
    pub repair: bool,
    /// The most bytes per second that are hashed; 0 for no limit.
    pub rate: u64,
}

/// A walk over all there is.
pub struct Fsck<'c> {
    pub(super) content: &'c Content,
    pub(super) repair: bool,
    pub(super) pace: Pace,
    pub(super) found: VecDeque<Problem>,
    stage: Stage,
}

enum Stage {
    /// Quarantined rows, after this one.
    Quarantined(Option<CheckedBlob>),
    /// Live rows, from here on. After the quarantined ones, or those of this walk would be told twice.
    Rows(CheckCursor),
    /// Stored files.
    Files(Files),
    /// What names others: the kinds left, the last first.
    Names(Vec<NameKind>, Option<NameCursor>),
    /// What the collector has to know of: the kinds left, the last first.
    Unnoted(Vec<UnnotedKind>, Option<Unnoted>),
    /// What uploads left.
    Uploads,
    /// All is looked at.
    Over,
}

impl Content {
    /// Begins to compare rows with files.
    ///
    /// # Errors
    /// Storage errors; also for the root of another program that was not imported to the end: its files have no rows yet.
    pub async fn fsck(&self, request: FsckRequest) -> Result<Fsck<'_>, Error> {
        refuse_unimported(&self.settings.root, &self.metadata).await?;
        Ok(Fsck {
            content: self,
            repair: request.repair,
            pace: Pace::together(request.rate, &self.hashed),
            stage: Stage::Quarantined(None),
            found: VecDeque::new(),
        })
    }
}

impl Fsck<'_> {
    /// Returns the next problem; none when all is looked at. `checked` hears of every blob that was looked at, with its bytes.
    ///
    /// # Errors
    /// Storage errors, and that the store is not there at all. The walk is over then.
    pub async fn next(
        &mut self,
        checked: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Option<Problem>, Error> {
        loop {
            if let Some(problem) = self.found.pop_front() {
                return Ok(Some(problem));
            }
            if matches!(self.stage, Stage::Over) {
                return Ok(None);
            }
            self.look(checked).await?;
        }
    }

    /// Looks at one more page.
    async fn look(&mut self, checked: &mut (dyn FnMut(u64) + Send)) -> Result<(), Error> {
        let metadata = &self.content.metadata;
        match &mut self.stage {
            Stage::Quarantined(after) => {
                let page = metadata.quarantined(after.as_ref()).await?;
                *after = page.last().cloned();
                if page.is_empty() {
                    self.stage = Stage::Rows(CheckCursor::default());
                }
                for blob in page {
                    let damage = Damage::of_row(blob.damage.as_deref());
                    self.report(&blob, damage.into(), Action::Quarantined);
                    checked(blob.size);
                }
                Ok(())
            }
            Stage::Rows(from) => {
                let everything = CheckScope::Everything;
                let page = metadata.blobs_to_check(everything, *from).await?;
                match page.next {
                    Some(next) => *from = next,
                    None => self.stage = Stage::Files(Files::list(&self.content.store)),
                }
                self.rows(page.blobs, checked).await
            }
            Stage::Files(files) => match files.next().await? {
                Some(page) => self.files(page).await,
                None => {
                    let kinds = NameKind::ALL.into_iter().rev().collect();
                    self.stage = Stage::Names(kinds, None);
                    Ok(())
                }
            },
            Stage::Names(kinds, after) => {
                let Some(kind) = kinds.last().copied() else {
                    self.stage = Stage::Unnoted(kinds_to_note(metadata).await?, None);
                    return Ok(());
                };
                let page = metadata.named(kind, after.take()).await?;
                match page.last() {
                    Some(last) => *after = Some(last.cursor.clone()),
                    None => drop(kinds.pop()),
                }
                self.names(page).await
            }
            Stage::Unnoted(kinds, after) => {
                let Some(kind) = kinds.last().copied() else {
                    self.stage = Stage::Uploads;
                    return Ok(());
                };
                let page = metadata.collectable(kind, after.take()).await?;
                match page.last() {
                    Some(last) => *after = Some(last.clone()),
                    None => drop(kinds.pop()),
                }
                self.unnoted(page).await
            }
            Stage::Uploads => {
                self.stage = Stage::Over;
                self.uploads().await
            }
            Stage::Over => Ok(()),
        }
    }

    async fn rows(
        &mut self,
        blobs: Vec<CheckedBlob>,
        checked: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let content = self.content;
        let (store, root) = (Arc::clone(&content.store), content.settings.root.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let look = |blob: CheckedBlob| {
                let seen = open_to_look(store.as_ref(), &root, &blob)?;
                Ok((blob, seen.err().unwrap_or(Seen::Right)))
            };
            blobs
                .into_iter()
                .map(look)
                .collect::<Result<Vec<_>, Error>>()
        });
        for (blob, seen) in looked.await?? {
            checked(blob.size);
            let problem = match seen {
                Seen::Right => continue,
                Seen::Unreadable(reason) => {
                    tracing::error!(digest = %blob.digest, reason, "a stored blob cannot be read");
                    ProblemKind::Unreadable
                }
                Seen::Damaged(damage) => {
                    self.row(&blob, damage).await?;
                    continue;
                }
            };
            self.report(&blob, problem, Action::None);
        }
        Ok(())
    }

    /// Looks once more at a row that has no bytes, or others.
    async fn row(&mut self, blob: &CheckedBlob, damage: Damage) -> Result<(), Error> {
        if self.repair {
            if self.content.quarantine(blob, damage).await? {
                self.report(blob, damage.into(), Action::Quarantined);
            }
            return Ok(());
        }
        // It may have been replaced or deleted since its row was read.
        let now = self.content.metadata.live_blob(&blob.digest).await?;
        let same = now.is_some_and(|now| (now.id, now.revision) == (blob.id, blob.revision));
        let seen = self
            .content
            .look_at(blob, Look::Size, &mut self.pace)
            .await?;
        if same && seen == Seen::Damaged(damage) {
            self.report(blob, damage.into(), Action::None);
        }
        Ok(())
    }

    /// Tells of a problem with the bytes of a row.
    fn report(&mut self, blob: &CheckedBlob, problem: ProblemKind, action: Action) {
        self.found.push_back(Problem {
            digest: Some(blob.digest),
            path: self.content.path_of(blob),
            problem,
            action,
        });
    }
}

/// Returns the kinds of what the collector has to know of, the last first; none while the last import could not find out
/// what is needed: what seems idle may be needed by what could not be read.
async fn kinds_to_note(metadata: &Metadata) -> Result<Vec<UnnotedKind>, Error> {
    let ended = metadata.ended_import().await?;
    if ended.is_some_and(|ended| ended.certainty == Certainty::Uncertain) {
        return Ok(Vec::new());
    }
    Ok(UnnotedKind::ALL.into_iter().rev().collect())
}
