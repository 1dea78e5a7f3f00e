//! The catalogue as a tree that files and variable names are walked against.
//! Knows which keys may stand where and what is near a misspelt one; it must never look at values.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::catalogue::{Standing, VARIABLE_ALIASES, table};

/// One place in a configuration: a section, a list, a map of free names, or a value.
#[derive(Default)]
pub(super) struct Place {
    /// What Seawall does about a value here; none for a section that only holds others.
    pub(super) standing: Option<Standing>,
    /// The keys that may stand below.
    pub(super) keys: BTreeMap<&'static str, Place>,
    /// What a key of the user's choice leads to.
    pub(super) any_name: Option<Box<Place>>,
    /// What an element is, when this is a list.
    pub(super) item: Option<Box<Place>>,
    /// Whether anything at all may stand below.
    pub(super) free: bool,
    /// Other names of keys below in `REGISTRY_*` variables; an empty key is this place itself.
    pub(super) aliases: Vec<(&'static str, &'static str)>,
}

impl Place {
    /// Returns whether nothing can stand below: a plain value, or a driver without parameters.
    pub(super) fn is_value(&self) -> bool {
        self.keys.is_empty() && self.any_name.is_none() && self.item.is_none() && !self.free
    }

    /// Returns whether keys stand below: a section or a map of free names.
    pub(super) fn is_mapping(&self) -> bool {
        !self.keys.is_empty() || self.any_name.is_some()
    }

    /// Returns whether this is a list of plain values.
    pub(super) fn is_list_of_values(&self) -> bool {
        self.item.as_deref().is_some_and(Place::is_value)
    }

    /// Returns the place a key of a file leads to.
    pub(super) fn below(&self, key: &str) -> Option<&Place> {
        self.keys.get(key).or(self.any_name.as_deref())
    }

    fn entry(&mut self, step: &'static str) -> &mut Place {
        match step {
            "[]" => self.item.get_or_insert_default(),
            "*" => self.any_name.get_or_insert_default(),
            "**" => {
                self.free = true;
                self
            }
            key => self.keys.entry(key).or_default(),
        }
    }

    fn at(&mut self, path: &'static str) -> &mut Place {
        let mut place = self;
        for part in path.split('.') {
            let key = part.trim_end_matches("[]");
            place = place.entry(key);
            for _ in 0..(part.len() - key.len()) / 2 {
                place = place.entry("[]");
            }
        }
        place
    }
}

static ROOT: LazyLock<Place> = LazyLock::new(|| {
    let mut root = Place::default();
    for (standing, paths) in table() {
        for path in *paths {
            root.at(path).standing = Some(*standing);
        }
    }
    for (parent, alias, key) in VARIABLE_ALIASES {
        root.at(parent).aliases.push((alias, key));
    }
    root
});

/// Returns the root of every configuration.
pub(super) fn root() -> &'static Place {
    &ROOT
}

/// Returns the candidate nearest to `word`, if one is near enough to be meant.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (edits(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns how many single edits (insert, delete, replace, swap of neighbours) lead from one word to the other.
pub(super) fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest, root};

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        assert_eq!(edits("auht", "auth"), 1);
        assert_eq!(edits("htpp", "http"), 1);
        assert_eq!(edits("aut", "auth"), 1);
        assert!(edits("storage", "auth") > 3);
    }

    #[test]
    fn the_nearest_key_is_found_and_a_stranger_has_none() {
        let keys = || root().keys.keys().copied();
        assert_eq!(nearest("htpp", keys()), Some("http"));
        assert_eq!(nearest("mirors", keys()), Some("mirrors"));
        assert_eq!(nearest("frobnicate", keys()), None);
        assert_eq!(nearest("x", keys()), None);
    }

    #[test]
    fn lists_free_names_and_sections_are_told_apart() {
        let http = root().below("http").expect("http is a section");
        assert!(http.is_mapping());
        assert!(http.below("addr").expect("addr is a key").is_value());
        let header = http
            .below("headers")
            .and_then(|headers| headers.below("X-Any"));
        assert!(header.expect("any header name").item.is_some());
        assert!(
            root()
                .below("mirrors")
                .expect("mirrors is a list")
                .item
                .is_some()
        );
    }
}
