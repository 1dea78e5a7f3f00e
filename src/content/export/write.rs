//! Bringing link files to what was planned, a piece at a time. A link that says something which is neither remembered nor
//! wanted was written by somebody else, and is left.

use std::io;

use blobstore::links::{LinkContent, LinkFile, LinkPlace, RepositoryLinks};
use metadata::{Link, LinkName};
use oci::{Digest, Tag};

use super::report::ExportConflict;

/// What is at the place of a link.
#[derive(Debug, PartialEq, Eq)]
enum There {
    /// Nothing, or nothing that says anything.
    Nothing,
    /// A digest.
    Said(Digest),
}

/// What has to be done with links that are wanted.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Those to write.
    pub(super) write: Vec<Link>,
    /// Those that say it already, of which nothing is remembered.
    pub(super) remember: Vec<Link>,
    /// Those that somebody else wrote.
    pub(super) conflicts: Vec<ExportConflict>,
}

const CONFLICT: &str = "Distribution wrote something else here since: import it first";

/// Returns where a link lies; `None` for what has no file of its own.
fn place(name: &LinkName) -> Option<LinkPlace<'_>> {
    match name {
        LinkName::Layer(digest) => Some(LinkPlace::Layer(digest)),
        LinkName::Revision(digest) => Some(LinkPlace::Revision(digest)),
        LinkName::Tag(tag) => Some(LinkPlace::Current(tag)),
        LinkName::Kept(_) => None,
    }
}

fn there(file: Option<LinkFile>) -> There {
    match file.map(|file| file.content) {
        Some(LinkContent::Digest(digest)) => There::Said(digest),
        Some(LinkContent::Empty | LinkContent::Torn | LinkContent::Unsupported { .. }) | None => {
            There::Nothing
        }
    }
}

/// Looks what has to be done so that `wanted` is there.
pub(super) fn look(
    links: &RepositoryLinks,
    wanted: Vec<(Link, Option<Digest>)>,
) -> io::Result<Due> {
    let mut due = Due::default();
    for (link, known) in wanted {
        let Some(place) = place(&link.name) else {
            continue;
        };
        match there(links.read(place)?) {
            There::Said(said)
                if said == link.target || (known.is_none() && is_same_layer(&link, &said)) =>
            {
                if known != Some(said) {
                    due.remember.push(Link {
                        target: said,
                        ..link
                    });
                }
            }
            There::Said(said) if known != Some(said) => due.conflicts.push(ExportConflict {
                path: links.path_of(place),
                reason: CONFLICT.to_owned(),
            }),
            There::Said(_) | There::Nothing => due.write.push(link),
        }
    }
    Ok(due)
}

/// Whether a layer's link says another digest of what may be the same bytes, which Distribution checked when it wrote it.
fn is_same_layer(link: &Link, said: &Digest) -> bool {
    match &link.name {
        LinkName::Layer(name) => name.algorithm() != said.algorithm() && link.target == *name,
        LinkName::Revision(_) | LinkName::Tag(_) | LinkName::Kept(_) => false,
    }
}

/// Writes links, in their order.
pub(super) fn write(links: &RepositoryLinks, due: &[Link]) -> io::Result<()> {
    for link in due {
        if let LinkName::Tag(tag) = &link.name {
            links.write(LinkPlace::Index(tag, &link.target), &link.target)?;
        }
        if let Some(place) = place(&link.name) {
            links.write(place, &link.target)?;
        }
    }
    Ok(())
}

/// Removes links, in their order; returns those that are gone and those that somebody else wrote.
pub(super) fn remove(
    links: &RepositoryLinks,
    gone: Vec<Link>,
) -> io::Result<(Vec<LinkName>, u64, Vec<ExportConflict>)> {
    let (mut removed, mut files, mut conflicts) = (Vec::new(), 0, Vec::new());
    for link in gone {
        let Some(place) = place(&link.name) else {
            continue;
        };
        let file = links.read(place)?;
        let is_file = file.is_some();
        match there(file) {
            There::Said(said) if said != link.target => conflicts.push(ExportConflict {
                path: links.path_of(place),
                reason: CONFLICT.to_owned(),
            }),
            There::Said(_) | There::Nothing => {
                links.remove(place)?;
                files += u64::from(is_file);
                removed.push(link.name);
            }
        }
    }
    Ok((removed, files, conflicts))
}

/// Removes what the indexes of `tags` say of manifests that are gone.
pub(super) fn remove_from_indexes(
    links: &RepositoryLinks,
    tags: &[Tag],
    gone: &[Digest],
) -> io::Result<()> {
    for tag in tags {
        for digest in links.index(tag)? {
            if gone.contains(&digest) {
                links.remove(LinkPlace::Index(tag, &digest))?;
            }
        }
    }
    Ok(())
}
