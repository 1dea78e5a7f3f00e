//! Which digests are being read, filled or stored in this process, so that nothing is reclaimed under somebody's hands: a
//! reclaim claims a digest only while nobody holds it, and who wants to hold it then waits until the claim is decided.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::Digest;
use tokio::sync::Notify;

/// Leases that could not be written are remembered for so many digests; beyond, everything counts as leased.
const MOST_UNWRITTEN: usize = 10_000;

/// Who uses which digest.
#[derive(Clone, Debug, Default)]
pub(super) struct InUse(Arc<Uses>);

#[derive(Debug, Default)]
struct Uses {
    state: Mutex<State>,
    decided: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Digest, usize>,
    claimed: HashSet<Digest>,
    /// Leases the disk had no room for, by digest: until when, in microseconds since 1970.
    unwritten: HashMap<Digest, i64>,
    /// Until when everything is leased, because too many could not be written.
    all_until: i64,
}

/// A digest that is not reclaimed while this lives.
#[derive(Debug)]
pub(super) struct Hold {
    uses: Arc<Uses>,
    digest: Digest,
}

/// Digests that nobody begins to use while this lives.
#[derive(Debug)]
pub(super) struct Claim {
    uses: Arc<Uses>,
    digests: Vec<Digest>,
}

impl Uses {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// Holds `digest`, waiting while a reclaim of it is being decided.
    pub(super) async fn hold(&self, digest: &Digest) -> Hold {
        loop {
            let decided = self.0.decided.notified();
            tokio::pin!(decided);
            // From here on no decision is missed.
            decided.as_mut().enable();
            if let Some(hold) = self.try_hold(digest) {
                return hold;
            }
            decided.await;
        }
    }

    fn try_hold(&self, digest: &Digest) -> Option<Hold> {
        let mut state = self.0.state();
        if state.claimed.contains(digest) {
            return None;
        }
        *state.held.entry(*digest).or_default() += 1;
        Some(Hold {
            uses: Arc::clone(&self.0),
            digest: *digest,
        })
    }

    /// Claims `digests` for a reclaim; `None` when somebody holds one, or another reclaim has it.
    pub(super) fn claim(&self, digests: &BTreeSet<Digest>) -> Option<Claim> {
        let mut state = self.0.state();
        let taken =
            |digest: &Digest| state.held.contains_key(digest) || state.claimed.contains(digest);
        if digests.iter().any(taken) {
            return None;
        }
        state.claimed.extend(digests);
        Some(Claim {
            uses: Arc::clone(&self.0),
            digests: digests.iter().copied().collect(),
        })
    }

    /// Tells whether somebody holds `digest`.
    pub(super) fn is_held(&self, digest: &Digest) -> bool {
        self.0.state().held.contains_key(digest)
    }

    /// Tells whether nobody holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.state().held.is_empty()
    }

    /// Remembers a lease until `until` that the disk had no room for.
    pub(super) fn note_unwritten_lease(&self, digest: &Digest, until: i64) {
        let mut state = self.0.state();
        if state.unwritten.len() < MOST_UNWRITTEN || state.unwritten.contains_key(digest) {
            state.unwritten.insert(*digest, until);
        } else {
            state.all_until = state.all_until.max(until);
        }
    }

    /// Tells whether `digest` has such a lease at `now`, in microseconds since 1970.
    pub(super) fn has_unwritten_lease(&self, digest: &Digest, now: i64) -> bool {
        let mut state = self.0.state();
        if state.all_until > now {
            return true;
        }
        match state.unwritten.get(digest) {
            Some(until) if *until > now => true,
            Some(_) => {
                state.unwritten.remove(digest);
                false
            }
            None => false,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.uses.state();
        if let Some(holders) = state.held.get_mut(&self.digest) {
            *holders -= 1;
            if *holders == 0 {
                state.held.remove(&self.digest);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.uses.state();
        for digest in &self.digests {
            state.claimed.remove(digest);
        }
        drop(state);
        self.uses.decided.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use oci::{Algorithm, Digest};

    use super::InUse;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    #[tokio::test]
    async fn what_one_of_several_holds_is_not_claimed_until_the_last_lets_go() {
        let uses = InUse::default();
        let both = BTreeSet::from([digest("a"), digest("b")]);
        let first = uses.hold(&digest("a")).await;
        let second = uses.hold(&digest("a")).await;
        drop(first);
        assert!(uses.claim(&both).is_none());
        drop(second);
        let claim = uses.claim(&both);
        assert!(claim.is_some());
        assert!(uses.claim(&BTreeSet::from([digest("b")])).is_none());
    }

    #[tokio::test]
    async fn who_wants_to_hold_waits_for_the_decision() {
        let uses = InUse::default();
        let claim = uses.claim(&BTreeSet::from([digest("a")])).expect("free");
        let wanted = digest("a");
        let holding = uses.hold(&wanted);
        tokio::pin!(holding);
        assert!(futures_util::poll!(holding.as_mut()).is_pending());
        let _other = uses.hold(&digest("b")).await;
        drop(claim);
        drop(holding.await);
        assert!(!uses.is_held(&wanted));
    }

    #[test]
    fn a_lease_that_could_not_be_written_holds_until_it_would_have_ended() {
        let uses = InUse::default();
        uses.note_unwritten_lease(&digest("a"), 10);
        assert!(uses.has_unwritten_lease(&digest("a"), 9));
        assert!(!uses.has_unwritten_lease(&digest("a"), 10));
        assert!(!uses.has_unwritten_lease(&digest("b"), 9));
    }
}
