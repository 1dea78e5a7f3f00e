//! What the link files of a repository have to say, decided from its rows and from what is remembered of the files; pure.

use std::collections::{HashMap, HashSet};

use metadata::{Exportable, Known, LinkName};
use oci::Digest;

/// A link that has to be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Which.
    pub(super) name: LinkName,
    /// What it has to say.
    pub(super) target: Digest,
    /// What is remembered of it.
    pub(super) known: Option<Known>,
}

/// What is to be done with a repository's link files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Links that have to be there, in the order in which Distribution writes them.
    pub(super) wanted: Vec<Wanted>,
    /// Links that were there and are to go, what points before what it points to.
    pub(super) gone: Vec<(LinkName, Known)>,
}

/// Returns what is to be done.
pub(super) fn plan(repository: Exportable) -> Plan {
    let Exportable {
        layers,
        manifests,
        tags,
        known,
        ..
    } = repository;
    let held: HashSet<Digest> = layers.iter().copied().collect();
    let mut remembered: HashMap<LinkName, Known> = known.into_iter().collect();
    let mut wanted = Vec::new();
    for name in layers {
        let is_kept = remembered.contains_key(&LinkName::Kept(name));
        let name = LinkName::Layer(name);
        let known = remembered.remove(&name);
        if is_kept && known.is_none() {
            continue;
        }
        // Another digest of the same bytes stays as Distribution wrote it for as long as the repository holds it.
        let target = match (&name, known) {
            (_, Some(known)) if held.contains(&known.target) => known.target,
            (LinkName::Layer(digest), _) => *digest,
            (LinkName::Revision(_) | LinkName::Tag(_) | LinkName::Kept(_), _) => continue,
        };
        wanted.push(Wanted {
            name,
            target,
            known,
        });
    }
    let revisions = manifests
        .into_iter()
        .map(|digest| (LinkName::Revision(digest), digest));
    let tags = tags
        .into_iter()
        .map(|(tag, digest)| (LinkName::Tag(tag), digest));
    for (name, target) in revisions.chain(tags) {
        let known = remembered.remove(&name);
        wanted.push(Wanted {
            name,
            target,
            known,
        });
    }
    let mut gone: Vec<(LinkName, Known)> = remembered
        .into_iter()
        .filter(|(name, _)| !matches!(name, LinkName::Kept(_)))
        .collect();
    gone.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    Plan { wanted, gone }
}

#[cfg(test)]
mod tests {
    use metadata::{Exportable, Known, LinkName};
    use oci::{Algorithm, Digest, Tag};

    use super::{Wanted, plan};

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    fn link(name: LinkName, target: &Digest) -> (LinkName, Known) {
        (name, Known::settled(*target))
    }

    fn wanted(name: LinkName, target: Digest, known: Option<Digest>) -> Wanted {
        let known = known.map(Known::settled);
        Wanted {
            name,
            target,
            known,
        }
    }

    #[test]
    fn what_is_there_is_wanted_in_distributions_order_and_what_is_not_goes_the_other_way_round() {
        let (layer, manifest, gone) = (digest("layer"), digest("manifest"), digest("gone"));
        let tag = |name: &str| LinkName::Tag(Tag::parse(name).expect("a tag"));
        let known = vec![
            link(LinkName::Layer(gone), &gone),
            link(LinkName::Revision(gone), &gone),
            link(tag("gone"), &gone),
            link(tag("moved"), &gone),
        ];
        let plan = plan(Exportable {
            layers: vec![layer],
            manifests: vec![manifest],
            tags: vec![(Tag::parse("moved").expect("a tag"), manifest)],
            known,
            ..Exportable::default()
        });
        let wanted = vec![
            wanted(LinkName::Layer(layer), layer, None),
            wanted(LinkName::Revision(manifest), manifest, None),
            wanted(tag("moved"), manifest, Some(gone)),
        ];
        assert_eq!(plan.wanted, wanted);
        let names: Vec<LinkName> = plan.gone.into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [tag("gone"), LinkName::Revision(gone), LinkName::Layer(gone)]
        );
    }

    #[test]
    fn a_layer_that_distribution_names_twice_keeps_its_second_name_while_the_first_is_held() {
        let (first, second) = (digest("layer"), Digest::of(Algorithm::Sha512, b"layer"));
        let targets = |layers: Vec<Digest>| -> Vec<Digest> {
            let plan = plan(Exportable {
                layers,
                known: vec![link(LinkName::Layer(second), &first)],
                ..Exportable::default()
            });
            plan.wanted.iter().map(|link| link.target).collect()
        };
        assert_eq!(targets(vec![first, second]), [first, first]);
        assert_eq!(targets(vec![second]), [second]);
    }

    #[test]
    fn what_is_only_kept_is_no_link_of_ours() {
        let kept = digest("of the first schema");
        let plan = plan(Exportable {
            layers: vec![kept],
            known: vec![link(LinkName::Kept(kept), &kept)],
            ..Exportable::default()
        });
        assert_eq!((plan.wanted.len(), plan.gone.len()), (0, 0));
    }
}
