//! Which mirrored content goes: least recently pulled first, as much as is wanted, and whatever is too old. Counts what
//! is really freed: a blob is freed with the last that needs it, and never while somebody else holds it.

/// A blob that mirrored content needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedBytes {
    /// Its bytes; none for one that is not stored.
    pub size: u64,
    /// Whether a local repository holds it, so that evicting never frees it.
    pub local: bool,
    /// Whether it is being read or filled, or leased: what would free it stays for now.
    pub busy: bool,
}

/// What is evicted in one piece: a manifest with all it names, or a blob that no manifest needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachedUnit {
    /// When it was last pulled, or came, in microseconds since 1970.
    pub last_pull: i64,
    /// How long it is kept after that, in microseconds; `None` for as long as there is room.
    pub lifetime: Option<i64>,
    /// Whether it is never chosen.
    pub pinned: bool,
    /// The places of its blobs in the list of all, each once.
    pub blobs: Vec<u32>,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The time, in microseconds since 1970.
    pub now: i64,
    /// Bytes to free, beside what is too old.
    pub bytes: u64,
}

/// One unit to evict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its place in the list of units.
    pub unit: usize,
    /// The places of the blobs that nothing needs once it is gone.
    pub frees: Vec<u32>,
}

/// Who still needs which blob while units are taken away one by one.
pub struct Needs<'a> {
    units: &'a [CachedUnit],
    blobs: &'a [CachedBytes],
    needed_by: Vec<u32>,
    freed: u64,
}

impl<'a> Needs<'a> {
    /// Counts for every blob the units that need it.
    pub fn of(units: &'a [CachedUnit], blobs: &'a [CachedBytes]) -> Self {
        let mut needed_by: Vec<u32> = blobs.iter().map(|blob| u32::from(blob.local)).collect();
        for blob in units.iter().flat_map(|unit| &unit.blobs) {
            needed_by[*blob as usize] += 1;
        }
        Self {
            units,
            blobs,
            needed_by,
            freed: 0,
        }
    }

    /// Takes a unit away, each at most once; `None` when a blob that this would free is busy.
    pub fn take(&mut self, unit: usize) -> Option<Choice> {
        let blobs = &self.units[unit].blobs;
        let last = |blob: &&u32| self.needed_by[**blob as usize] == 1;
        let frees: Vec<u32> = blobs.iter().filter(last).copied().collect();
        if frees.iter().any(|blob| self.blobs[*blob as usize].busy) {
            return None;
        }
        for blob in blobs {
            self.needed_by[*blob as usize] -= 1;
        }
        let sizes = frees.iter().map(|blob| self.blobs[*blob as usize].size);
        self.freed += sizes.sum::<u64>();
        Some(Choice { unit, frees })
    }
}

/// Returns what to evict, in this order.
pub fn choose(units: &[CachedUnit], blobs: &[CachedBytes], wanted: &Wanted) -> Vec<Choice> {
    let mut needs = Needs::of(units, blobs);
    let candidates = units.iter().enumerate().filter(|(_, unit)| !unit.pinned);
    let mut oldest_first: Vec<(i64, usize)> = candidates
        .map(|(place, unit)| (unit.last_pull, place))
        .collect();
    oldest_first.sort_unstable();
    let mut chosen = Vec::new();
    for (last_pull, place) in oldest_first {
        let age = wanted.now.saturating_sub(last_pull);
        let expired = units[place].lifetime.is_some_and(|most| age >= most);
        if expired || needs.freed < wanted.bytes {
            chosen.extend(needs.take(place));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{CachedBytes, CachedUnit, Wanted, choose};

    fn bytes(size: u64) -> CachedBytes {
        CachedBytes {
            size,
            ..CachedBytes::default()
        }
    }

    fn unit(last_pull: i64, blobs: &[u32]) -> CachedUnit {
        CachedUnit {
            last_pull,
            blobs: blobs.to_vec(),
            ..CachedUnit::default()
        }
    }

    /// Returns the units that are chosen to free `bytes` at the instant 1000, in order.
    fn chosen(units: &[CachedUnit], blobs: &[CachedBytes], bytes: u64) -> Vec<usize> {
        let wanted = Wanted { now: 1000, bytes };
        let chosen = choose(units, blobs, &wanted);
        chosen.iter().map(|choice| choice.unit).collect()
    }

    #[test]
    fn the_least_recently_pulled_goes_first_and_no_more_than_is_wanted() {
        let blobs = [bytes(10), bytes(10), bytes(10)];
        let units = [unit(30, &[0]), unit(10, &[1]), unit(20, &[2])];
        assert!(chosen(&units, &blobs, 0).is_empty());
        assert_eq!(chosen(&units, &blobs, 1), [1]);
        assert_eq!(chosen(&units, &blobs, 11), [1, 2]);
        assert_eq!(chosen(&units, &blobs, 1000), [1, 2, 0]);
    }

    #[test]
    fn a_shared_blob_is_freed_with_the_last_that_needs_it() {
        let blobs = [bytes(100), bytes(1), bytes(1), bytes(1)];
        let units = [unit(1, &[0, 1]), unit(2, &[0, 2]), unit(3, &[3])];
        let wanted = Wanted {
            now: 1000,
            bytes: 2,
        };
        let choices = choose(&units, &blobs, &wanted);
        let frees: Vec<_> = choices.iter().map(|choice| choice.frees.clone()).collect();
        assert_eq!(frees, [vec![1], vec![0, 2]], "the second brings far more");
    }

    #[test]
    fn a_blob_of_a_local_repository_or_of_a_pinned_image_is_never_freed() {
        let local = CachedBytes {
            local: true,
            ..bytes(100)
        };
        let blobs = [local, bytes(100), bytes(1)];
        let pinned = CachedUnit {
            pinned: true,
            ..unit(0, &[1])
        };
        let units = [pinned, unit(1, &[0, 1, 2])];
        let wanted = Wanted {
            now: 1000,
            bytes: 1000,
        };
        let choices = choose(&units, &blobs, &wanted);
        assert_eq!(choices.len(), 1, "the pinned one stays");
        assert_eq!(choices[0].frees, [2]);
    }

    #[test]
    fn what_would_free_a_busy_blob_stays_and_what_only_shares_it_goes() {
        let busy = CachedBytes {
            busy: true,
            ..bytes(100)
        };
        let blobs = [busy, bytes(1), bytes(1)];
        let units = [unit(1, &[0, 1]), unit(2, &[0, 2])];
        assert_eq!(chosen(&units, &blobs, 1000), [0], "the base is still read");
        let alone = [unit(1, &[0])];
        assert!(chosen(&alone, &blobs, 1000).is_empty());
    }

    #[test]
    fn what_nobody_pulled_for_its_lifetime_goes_even_where_there_is_room() {
        let blobs = [bytes(1), bytes(1), bytes(1)];
        let lives = |last_pull, lifetime| CachedUnit {
            lifetime: Some(lifetime),
            ..unit(last_pull, &[0])
        };
        let units = [lives(400, 601), lives(400, 600), lives(900, 50)];
        assert_eq!(chosen(&units, &blobs, 0), [1, 2]);
    }

    #[test]
    fn a_hundred_thousand_blobs_are_counted_once_each() {
        let blobs: Vec<_> = (0..100_000).map(|_| bytes(1)).collect();
        let units: Vec<_> = (0..25_000)
            .map(|place| {
                let own = place * 4;
                unit(i64::from(place), &[own, own + 1, own + 2, own + 3])
            })
            .collect();
        let wanted = Wanted {
            now: 0,
            bytes: 50_000,
        };
        let choices = choose(&units, &blobs, &wanted);
        assert_eq!(choices.len(), 12_500);
    }
}
