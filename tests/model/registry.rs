//! What a registry is, in sets and times and without a database: an independent telling of the rules of
//! membership, tags, leases and collection. It knows nothing of how the server does it.

use std::collections::{BTreeMap, BTreeSet};

/// How long "exists" protects, in microseconds.
const LEASE: i64 = 3_600_000_000;

/// A digest, as text.
pub(super) type Digest = String;

/// What a collection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loose {
    Blob,
    Manifest,
}

/// The facts of a manifest that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Config and layers.
    pub(super) needs: Vec<Digest>,
    /// The manifests an index lists.
    pub(super) children: Vec<Digest>,
    pub(super) subject: Option<Digest>,
}

/// One local repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) members: BTreeSet<Digest>,
    pub(super) manifests: BTreeMap<Digest, Facts>,
    pub(super) tags: BTreeMap<String, Digest>,
}

/// All local repositories.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub(super) repositories: BTreeMap<&'static str, Repository>,
    /// What has bytes.
    pub(super) live: BTreeSet<Digest>,
    leases: BTreeMap<Digest, i64>,
    /// What may be taken, and since when nothing new speaks for it.
    loose: BTreeMap<(&'static str, Loose, Digest), i64>,
}

impl Repository {
    fn names(&self, digest: &str) -> bool {
        let names = |facts: &Facts| {
            let mut all = facts.needs.iter().chain(&facts.children);
            all.any(|named| named == digest)
        };
        self.manifests.values().any(names)
    }

    fn lists_as_child(&self, digest: &str) -> bool {
        let mut indexes = self.manifests.values();
        indexes.any(|facts| facts.children.iter().any(|child| child == digest))
    }

    /// Returns whether something but the rule that untagged manifests stay keeps the manifest.
    fn keeps(&self, digest: &str) -> bool {
        let subject = self
            .manifests
            .get(digest)
            .and_then(|facts| facts.subject.as_ref());
        self.tags.values().any(|tagged| tagged == digest)
            || self.lists_as_child(digest)
            || subject.is_some_and(|subject| self.manifests.contains_key(subject))
    }
}

impl Registry {
    pub(super) fn of(names: &[&'static str]) -> Self {
        let empty = |name: &&'static str| (*name, Repository::default());
        Self {
            repositories: names.iter().map(empty).collect(),
            ..Self::default()
        }
    }

    pub(super) fn at(&self, name: &str) -> &Repository {
        &self.repositories[name]
    }

    fn at_mut(&mut self, name: &str) -> &mut Repository {
        self.repositories.get_mut(name).expect("one of the few")
    }

    fn protect(&mut self, digest: &str, now: i64) {
        let until = self.leases.entry(digest.to_owned()).or_default();
        *until = (*until).max(now + LEASE);
    }

    fn loosen(&mut self, name: &'static str, kind: Loose, digest: &str, since: i64) {
        let at = self
            .loose
            .entry((name, kind, digest.to_owned()))
            .or_insert(since);
        *at = (*at).max(since);
    }

    /// Returns whether any repository needs the bytes.
    pub(super) fn is_held(&self, digest: &str) -> bool {
        self.repositories.values().any(|repository| {
            repository.members.contains(digest)
                || repository.manifests.contains_key(digest)
                || repository.names(digest)
        })
    }

    /// Returns whether some repository that let go of the bytes has yet to be asked about them.
    pub(super) fn waits(&self, digest: &str) -> bool {
        self.loose.keys().any(|(_, _, waiting)| waiting == digest)
    }

    /// A blob is uploaded.
    pub(super) fn commit(&mut self, name: &'static str, digest: &str, now: i64) {
        self.live.insert(digest.to_owned());
        self.protect(digest, now);
        self.at_mut(name).members.insert(digest.to_owned());
        self.loosen(name, Loose::Blob, digest, now);
    }

    pub(super) fn serves(&self, name: &str, digest: &str) -> bool {
        self.live.contains(digest) && self.at(name).members.contains(digest)
    }

    /// Someone who may push is told that it exists, or not.
    pub(super) fn exists(&mut self, digest: &str, now: i64) {
        let until = self.leases.get(digest).copied().unwrap_or_default();
        if until - now < LEASE / 2 {
            self.protect(digest, now);
        }
    }

    /// A blob is mounted; returns whether it was there to be mounted.
    pub(super) fn mount(&mut self, from: &str, to: &'static str, digest: &str, now: i64) -> bool {
        if !self.serves(from, digest) {
            return false;
        }
        self.protect(digest, now);
        self.at_mut(to).members.insert(digest.to_owned());
        self.loosen(to, Loose::Blob, digest, now);
        true
    }

    /// A manifest is pushed; returns whether all it names is there.
    pub(super) fn push(
        &mut self,
        name: &'static str,
        (digest, facts): (&str, &Facts),
        tag: Option<&str>,
        now: i64,
    ) -> bool {
        let here = self.at(name);
        let holds = |needed: &Digest| {
            let is_here = here.members.contains(needed) || here.manifests.contains_key(needed);
            is_here && self.live.contains(needed)
        };
        let whole = facts.needs.iter().all(holds)
            && facts
                .children
                .iter()
                .all(|child| here.manifests.contains_key(child));
        if !whole {
            return false;
        }
        self.live.insert(digest.to_owned());
        for protected in facts.needs.iter().chain(&facts.children) {
            self.protect(protected, now);
        }
        self.protect(digest, now);
        self.at_mut(name)
            .manifests
            .insert(digest.to_owned(), facts.clone());
        match tag {
            Some(tag) => {
                let before = self
                    .at_mut(name)
                    .tags
                    .insert(tag.to_owned(), digest.to_owned());
                if let Some(before) = before.filter(|before| before != digest) {
                    self.loosen(name, Loose::Manifest, &before, now);
                }
            }
            None => self.loosen(name, Loose::Manifest, digest, now),
        }
        true
    }

    pub(super) fn delete_tag(&mut self, name: &'static str, tag: &str, now: i64) -> bool {
        let Some(digest) = self.at_mut(name).tags.remove(tag) else {
            return false;
        };
        self.loosen(name, Loose::Manifest, &digest, now);
        true
    }

    /// A manifest goes, and what it kept may go `since` then.
    pub(super) fn delete_manifest(&mut self, name: &'static str, digest: &str, since: i64) -> bool {
        let here = self.at_mut(name);
        let Some(facts) = here.manifests.remove(digest) else {
            return false;
        };
        here.tags.retain(|_, tagged| tagged != digest);
        let is_referrer = |(_, facts): &(&Digest, &Facts)| facts.subject.as_deref() == Some(digest);
        let referrers: Vec<Digest> = here
            .manifests
            .iter()
            .filter(is_referrer)
            .map(|(d, _)| d.clone())
            .collect();
        for needed in &facts.needs {
            self.loosen(name, Loose::Blob, needed, since);
        }
        for child in facts.children.iter().chain(&referrers) {
            self.loosen(name, Loose::Manifest, child, since);
        }
        self.loosen(name, Loose::Blob, digest, since);
        true
    }

    pub(super) fn delete_blob(&mut self, name: &'static str, digest: &str, now: i64) -> bool {
        if !self.at_mut(name).members.remove(digest) {
            return false;
        }
        self.loosen(name, Loose::Blob, digest, now);
        true
    }

    /// Everything is taken whose `grace` is over, as often as that lets something else go.
    pub(super) fn collect(&mut self, grace: i64, delete_untagged: bool, now: i64) {
        loop {
            // What a collection lets go is due in it, unless something has spoken for it since.
            let since = now - grace;
            let due: Vec<_> = self
                .loose
                .iter()
                .filter(|(_, event)| **event <= since)
                .map(|(what, _)| what.clone())
                .collect();
            let mut changed = false;
            for (name, kind, digest) in due {
                let done = match kind {
                    Loose::Blob => self.review_blob(name, &digest, now),
                    Loose::Manifest => {
                        self.review_manifest(name, &digest, (since, delete_untagged), now)
                    }
                };
                if done {
                    self.loose.remove(&(name, kind, digest));
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn is_leased(&self, digest: &str, now: i64) -> bool {
        self.leases.get(digest).is_some_and(|until| *until > now)
    }

    /// Returns whether the matter is settled.
    fn review_blob(&mut self, name: &'static str, digest: &str, now: i64) -> bool {
        let here = self.at(name);
        if here.names(digest) || here.manifests.contains_key(digest) {
            return true;
        }
        if self.is_leased(digest, now) {
            return false;
        }
        self.at_mut(name).members.remove(digest);
        if !self.is_held(digest) {
            self.live.remove(digest);
            self.leases.remove(digest);
        }
        true
    }

    fn review_manifest(
        &mut self,
        name: &'static str,
        digest: &str,
        (since, delete_untagged): (i64, bool),
        now: i64,
    ) -> bool {
        let here = self.at(name);
        if !here.manifests.contains_key(digest) {
            // Its bytes were kept by what named them, and may go with that. Nothing happens to them by it.
            let bytes = (name, Loose::Blob, digest.to_owned());
            self.loose.entry(bytes).or_insert(since);
            return true;
        }
        if here.keeps(digest) {
            return true;
        }
        if self.is_leased(digest, now) || !delete_untagged {
            return false;
        }
        self.delete_manifest(name, digest, since)
    }
}
