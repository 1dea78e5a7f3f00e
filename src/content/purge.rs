//! Purging mirrored content by pattern: what an operator names goes at once, with what only it needed. Pins do not hold
//! against it; leases and readers do.

use std::collections::{BTreeSet, HashMap};

use oci::{Glob, Tag, split_tag};

use super::cached::Cached;
use super::error::Error;
use super::evict::EvictReport;
use super::store::Content;
use crate::policy::eviction::{Choice, Needs};

/// What a pattern means for everything mirrored.
#[derive(Default)]
struct Fits {
    /// Units that go.
    units: BTreeSet<usize>,
    /// Tags that go although their manifest stays.
    tags: Vec<(usize, String)>,
}

/// A pattern over `<mirror>/<repository>:<tag>`.
struct Pattern {
    image: Glob,
    /// Fits the repositories of which all goes, tagged or not.
    whole: Option<Glob>,
}

impl Pattern {
    fn new(pattern: &Glob) -> Self {
        let (name, tag) = split_tag(pattern.as_str());
        let is_whole = matches!(tag, None | Some("*" | "**"));
        Self {
            image: pattern.clone(),
            whole: is_whole.then(|| Glob::parse(name).ok()).flatten(),
        }
    }

    fn fits_whole(&self, repository: &str) -> bool {
        self.whole
            .as_ref()
            .is_some_and(|whole| whole.matches(repository))
    }
}

impl Content {
    /// Frees the mirrored content that fits `pattern`, over `<mirror>/<repository>:<tag>`, at once: tags that fit go, and
    /// manifests that have no other tag, with their children and referrers. A pattern without a tag, or that ends in `:*`,
    /// takes what has no tag in these repositories as well. Leases and readers are respected; pins are not.
    ///
    /// # Errors
    /// Storage errors; what was freed before stays freed.
    pub async fn purge(&self, pattern: &Glob) -> Result<EvictReport, Error> {
        let _turn = self.evicting.lock().await;
        self.write_pulls_or_warn().await;
        let cached = self.gather_cached().await?;
        let pattern = Pattern::new(pattern);
        let (mut cached, fits) = tokio::task::spawn_blocking(move || {
            let fits = cached.fitting(&pattern);
            (cached, fits)
        })
        .await?;
        for (unit, tag) in &fits.tags {
            let repository = cached.repositories.get(&cached.names[*unit].repository);
            if let (Some(repository), Ok(tag)) = (repository, Tag::parse(tag)) {
                self.reserve
                    .with(|| async { Ok(self.metadata.evict_tag(&repository.name, &tag).await?) })
                    .await?;
            }
        }
        let mut needs = Needs::of(&cached.units, &cached.blobs);
        let taken = fits.units.iter().map(|unit| needs.take(*unit));
        let choices: Vec<Choice> = taken.flatten().collect();
        // Whoever pulls it meanwhile fetches it again.
        for choice in &choices {
            cached.units[choice.unit].last_pull = i64::MAX;
        }
        let (mut report, gone) = self.take_away(&cached, choices).await?;
        report.kept = fits.units.len().saturating_sub(gone) as u64;
        report.left_over_bound = report.kept > 0;
        Ok(report)
    }
}

impl Cached {
    fn fitting(&self, pattern: &Pattern) -> Fits {
        let mut fits = Fits::default();
        for (unit, name) in self.names.iter().enumerate() {
            let repository = self.pattern_name(name.repository);
            let whole = pattern.fits_whole(&repository);
            let fitting =
                |tag: &&String| whole || pattern.image.matches(&format!("{repository}:{tag}"));
            let tags: Vec<&String> = name.tags.iter().filter(fitting).collect();
            if tags.len() < name.tags.len() {
                fits.tags
                    .extend(tags.into_iter().map(|tag| (unit, tag.clone())));
            } else if whole || !tags.is_empty() {
                fits.units.insert(unit);
            }
        }
        self.add_dependent(&mut fits.units);
        fits
    }

    /// Adds what is there only for `going`: children without tags whose parents all go, and referrers without tags.
    fn add_dependent(&self, going: &mut BTreeSet<usize>) {
        let mut parents: HashMap<usize, Vec<usize>> = HashMap::new();
        for parent in 0..self.units.len() {
            for child in self.children(parent) {
                parents.entry(child).or_default().push(parent);
            }
        }
        let referrers = self.referrers();
        let mut next: Vec<usize> = going.iter().copied().collect();
        while let Some(unit) = next.pop() {
            let key = (self.names[unit].repository, *self.names[unit].digest());
            let referring = referrers.get(&key).into_iter().flatten().copied();
            let dependent: Vec<usize> = self.children(unit).chain(referring).collect();
            for unit in dependent {
                let parents = parents.get(&unit).map_or(&[][..], Vec::as_slice);
                let needed = parents.iter().any(|parent| !going.contains(parent));
                if self.names[unit].tags.is_empty() && !needed && going.insert(unit) {
                    next.push(unit);
                }
            }
        }
    }
}
