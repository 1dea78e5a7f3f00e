//! What the server has acknowledged, and what is in doubt because no answer came. Each thing has the set of states it may
//! be in: one where an answer was heard, the old and the new one where a change was sent and nothing was heard.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::content::Content;

/// One thing whose state the server keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Tag { repository: String, tag: String },
    Manifest { repository: String, digest: String },
    Blob { repository: String, digest: String },
}

/// The digest that is there, or nothing.
pub(crate) type State = Option<String>;

/// A change that was sent.
pub(crate) type Change = (Key, State);

/// What one client knows about its repositories, which nobody else writes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    states: BTreeMap<Key, BTreeSet<State>>,
    contents: HashMap<String, Arc<Content>>,
    /// Changes sent since [`Ledger::copy_begins`].
    journal: Option<Vec<Change>>,
    /// Whether a collector runs: what no manifest names may then be gone.
    pub(crate) collected: bool,
}

impl Key {
    pub(crate) fn tag(repository: &str, tag: &str) -> Self {
        let (repository, tag) = (repository.to_owned(), tag.to_owned());
        Self::Tag { repository, tag }
    }

    pub(crate) fn manifest(repository: &str, digest: &str) -> Self {
        let (repository, digest) = (repository.to_owned(), digest.to_owned());
        Self::Manifest { repository, digest }
    }

    pub(crate) fn blob(repository: &str, digest: &str) -> Self {
        let (repository, digest) = (repository.to_owned(), digest.to_owned());
        Self::Blob { repository, digest }
    }

    pub(crate) fn repository(&self) -> &str {
        match self {
            Self::Tag { repository, .. }
            | Self::Manifest { repository, .. }
            | Self::Blob { repository, .. } => repository,
        }
    }
}

impl Ledger {
    /// Notes that `changes` are sent: from now on they may be so.
    pub(crate) fn sends(&mut self, changes: &[Change]) {
        for (key, state) in changes {
            self.possible_mut(key).insert(state.clone());
        }
        if let Some(journal) = &mut self.journal {
            journal.extend_from_slice(changes);
        }
    }

    /// Notes that `changes` were acknowledged: nothing else is right any more.
    pub(crate) fn hears(&mut self, changes: &[Change]) {
        for (key, state) in changes {
            *self.possible_mut(key) = BTreeSet::from([state.clone()]);
        }
    }

    /// Notes that `digest`, and with it every tag that named it, was deleted in `repository`.
    pub(crate) fn hears_manifest_deleted(&mut self, repository: &str, digest: &str) {
        self.hears(&[(Key::manifest(repository, digest), None)]);
        for (key, states) in &mut self.states {
            if matches!(key, Key::Tag { .. })
                && key.repository() == repository
                && states.remove(&Some(digest.to_owned()))
            {
                states.insert(None);
            }
        }
    }

    /// Returns the changes that the deletion of a manifest may make.
    pub(crate) fn deletion(&self, repository: &str, digest: &str) -> Vec<Change> {
        let mut changes = vec![(Key::manifest(repository, digest), None)];
        for (key, states) in self.of(repository) {
            if matches!(key, Key::Tag { .. }) && states.contains(&Some(digest.to_owned())) {
                changes.push((key.clone(), None));
            }
        }
        changes
    }

    /// Notes what was found to be so.
    pub(crate) fn finds(&mut self, key: &Key, state: State) {
        if state.is_some() {
            self.states.insert(key.clone(), BTreeSet::from([state]));
        } else {
            self.states.remove(key);
        }
    }

    /// Returns what may be so.
    pub(crate) fn possible(&self, key: &Key) -> BTreeSet<State> {
        let states = self.states.get(key).cloned();
        states.unwrap_or_else(|| BTreeSet::from([None]))
    }

    fn possible_mut(&mut self, key: &Key) -> &mut BTreeSet<State> {
        let states = self.states.entry(key.clone());
        states.or_insert_with(|| BTreeSet::from([None]))
    }

    /// Returns whether the thing is there for certain.
    pub(crate) fn is_there(&self, key: &Key) -> bool {
        !self.possible(key).contains(&None)
    }

    /// Returns everything known of `repository`.
    pub(crate) fn of<'a>(
        &'a self,
        repository: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a BTreeSet<State>)> {
        let all = self.states.iter();
        all.filter(move |(key, _)| key.repository() == repository)
    }

    /// Returns every repository of which something is known.
    pub(crate) fn repositories(&self) -> BTreeSet<String> {
        let all = self.states.keys();
        all.map(|key| key.repository().to_owned()).collect()
    }

    /// Returns the manifests that may be in `repository`.
    pub(crate) fn manifests(&self, repository: &str) -> Vec<Arc<Content>> {
        let possible = self.of(repository).filter_map(|(key, states)| match key {
            Key::Manifest { digest, .. } if states.iter().any(Option::is_some) => {
                self.contents.get(digest).cloned()
            }
            Key::Manifest { .. } | Key::Tag { .. } | Key::Blob { .. } => None,
        });
        possible.collect()
    }

    /// Returns whether a manifest that may be in `repository` names `digest`.
    pub(crate) fn is_named(&self, repository: &str, digest: &str) -> bool {
        self.manifests(repository).iter().any(|manifest| {
            let named = manifest.blobs.iter().chain(&manifest.children);
            named.into_iter().any(|content| content.digest == digest)
        })
    }

    /// Keeps the bytes of `content` and of what it names, for comparing.
    pub(crate) fn knows(&mut self, content: &Arc<Content>) {
        for part in content.blobs.iter().chain(&content.children) {
            self.knows(part);
        }
        self.contents
            .insert(content.digest.clone(), Arc::clone(content));
    }

    pub(crate) fn content(&self, digest: &str) -> Option<Arc<Content>> {
        self.contents.get(digest).cloned()
    }

    /// Forgets the bytes of what is certainly gone.
    pub(crate) fn forgets_gone(&mut self) {
        let kept: BTreeSet<String> = self.states.values().flatten().flatten().cloned().collect();
        self.contents.retain(|digest, _| kept.contains(digest));
    }

    /// Returns how many things are there for certain, and how many are in doubt.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (certain, doubtful): (Vec<_>, Vec<_>) =
            self.states.values().partition(|states| states.len() == 1);
        let there = certain.iter().filter(|states| !states.contains(&None));
        (there.count(), doubtful.len())
    }

    /// Returns what is acknowledged and in doubt at this moment, in which a copy of the disk begins.
    pub(crate) fn copy_begins(&mut self) -> Ledger {
        let now = self.clone();
        self.journal = Some(Vec::new());
        now
    }

    /// Adds to `copied` what was sent until this moment, in which the copy is whole.
    pub(crate) fn copy_ends(&mut self, copied: &mut Ledger) {
        let sent = self.journal.take().unwrap_or_default();
        copied.sends(&sent);
        copied.contents.extend(self.contents.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Key, Ledger};

    fn some(digest: &str) -> Option<String> {
        Some(digest.to_owned())
    }

    #[test]
    fn without_an_answer_old_and_new_are_possible_and_an_answer_decides() {
        let mut ledger = Ledger::default();
        let tag = Key::tag("a", "1");
        ledger.sends(&[(tag.clone(), some("x"))]);
        assert_eq!(ledger.possible(&tag), BTreeSet::from([None, some("x")]));
        ledger.hears(&[(tag.clone(), some("x"))]);
        ledger.sends(&[(tag.clone(), some("y"))]);
        assert_eq!(
            ledger.possible(&tag),
            BTreeSet::from([some("x"), some("y")])
        );
        assert!(ledger.is_there(&tag));
    }

    #[test]
    fn with_a_manifest_go_the_tags_that_name_it() {
        let mut ledger = Ledger::default();
        let (one, two) = (Key::tag("a", "1"), Key::tag("a", "2"));
        ledger.hears(&[
            (Key::manifest("a", "x"), some("x")),
            (one.clone(), some("x")),
            (two.clone(), some("y")),
        ]);
        assert_eq!(ledger.deletion("a", "x").len(), 2);
        ledger.hears_manifest_deleted("a", "x");
        assert_eq!(ledger.possible(&one), BTreeSet::from([None]));
        assert_eq!(ledger.possible(&two), BTreeSet::from([some("y")]));
    }

    #[test]
    fn what_is_sent_while_a_copy_is_made_may_be_in_it() {
        let mut ledger = Ledger::default();
        let tag = Key::tag("a", "1");
        ledger.hears(&[(tag.clone(), some("x"))]);
        let mut copied = ledger.copy_begins();
        ledger.sends(&[(tag.clone(), some("y"))]);
        ledger.hears(&[(tag.clone(), some("y"))]);
        ledger.copy_ends(&mut copied);
        assert_eq!(
            copied.possible(&tag),
            BTreeSet::from([some("x"), some("y")])
        );
        assert_eq!(ledger.possible(&tag), BTreeSet::from([some("y")]));
    }
}
