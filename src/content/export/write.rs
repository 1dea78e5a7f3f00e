//! Bringing link files to what was planned, a piece at a time. A link that says something which is neither remembered nor
//! wanted was written by somebody else, and is left.

use std::collections::HashSet;
use std::io;

use blobstore::links::{LinkContent, LinkFile, LinkPlace, RepositoryLinks};
use metadata::{Known, LinkName};
use oci::{Digest, Tag};

use super::plan::Wanted;
use super::report::ExportConflict;

/// What is at the place of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// Nothing, or nothing that says anything.
    Nothing,
    /// A digest.
    Said(Digest),
}

/// What has to be done with links that are wanted.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Those to write, with what is to be remembered of them before.
    pub(super) write: Vec<(LinkName, Known)>,
    /// Those that say it already, with what is to be remembered of them.
    pub(super) remember: Vec<(LinkName, Known)>,
    /// Whether something that is remembered is not any more then, so that what is there has to be on the disk first.
    pub(super) flush_first: bool,
    /// Those that somebody else wrote.
    pub(super) conflicts: Vec<ExportConflict>,
}

impl Due {
    /// Notes what is about to be remembered of a link in place of `before`.
    fn replaces(&mut self, before: Option<&Known>, now: &Known) {
        self.flush_first |= before.is_some_and(|before| {
            let previous = before.previous.as_ref();
            !now.covers(&before.target) || previous.is_some_and(|digest| !now.covers(digest))
        });
    }
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
pub(super) fn look(links: &RepositoryLinks, wanted: Vec<Wanted>) -> io::Result<Due> {
    let mut due = Due::default();
    for link in wanted {
        let Some(place) = place(&link.name) else {
            continue;
        };
        let known = link.known;
        match there(links.read(place)?) {
            There::Said(said)
                if said == link.target && known.is_some_and(|it| it.target == said) =>
            {
                // What is not settled was written, but may never have reached the disk.
                due.write.extend(
                    known
                        .filter(|it| it.previous.is_some())
                        .map(|it| (link.name, it)),
                );
            }
            There::Said(said)
                if said == link.target || (known.is_none() && is_same_layer(&link, &said)) =>
            {
                let now = Known {
                    target: said,
                    previous: known.map(|it| it.target),
                };
                due.replaces(known.as_ref(), &now);
                due.remember.push((link.name, now));
            }
            There::Said(said) if !known.is_some_and(|it| it.covers(&said)) => {
                due.conflicts.push(ExportConflict {
                    path: links.path_of(place),
                    reason: CONFLICT.to_owned(),
                });
            }
            there => {
                let now = Known {
                    target: link.target,
                    previous: previous(&link, there),
                };
                due.replaces(known.as_ref(), &now);
                due.write.push((link.name, now));
            }
        }
    }
    Ok(due)
}

/// Returns what the file of a link that is to be written may say until it is on the disk, beside what it is to say.
fn previous(link: &Wanted, there: There) -> Option<Digest> {
    match (there, &link.name) {
        (There::Said(said), _) => Some(said),
        (There::Nothing, LinkName::Tag(_)) => {
            // A tag is two files, and both have to be there before it is settled.
            Some(link.known.map_or(link.target, |known| known.target))
        }
        (There::Nothing, LinkName::Layer(_) | LinkName::Revision(_) | LinkName::Kept(_)) => {
            link.known.map(|known| known.target)
        }
    }
}

/// Whether a layer's link says another digest of what may be the same bytes, which Distribution checked when it wrote it.
fn is_same_layer(link: &Wanted, said: &Digest) -> bool {
    match &link.name {
        LinkName::Layer(name) => name.algorithm() != said.algorithm() && link.target == *name,
        LinkName::Revision(_) | LinkName::Tag(_) | LinkName::Kept(_) => false,
    }
}

/// Writes links, in their order.
pub(super) fn write(links: &RepositoryLinks, due: &[(LinkName, Known)]) -> io::Result<()> {
    for (name, Known { target, .. }) in due {
        if let LinkName::Tag(tag) = name {
            links.write(LinkPlace::Index(tag, target), target)?;
        }
        if let Some(place) = place(name) {
            links.write(place, target)?;
        }
    }
    Ok(())
}

/// Removes links, in their order; returns those that are gone and those that somebody else wrote.
pub(super) fn remove(
    links: &RepositoryLinks,
    gone: Vec<(LinkName, Known)>,
) -> io::Result<(Vec<LinkName>, u64, Vec<ExportConflict>)> {
    let (mut removed, mut files, mut conflicts) = (Vec::new(), 0, Vec::new());
    for (name, known) in gone {
        let Some(place) = place(&name) else {
            continue;
        };
        let file = links.read(place)?;
        let is_file = file.is_some();
        match there(file) {
            There::Said(said) if !known.covers(&said) => conflicts.push(ExportConflict {
                path: links.path_of(place),
                reason: CONFLICT.to_owned(),
            }),
            There::Said(_) | There::Nothing => {
                links.remove(place)?;
                files += u64::from(is_file);
                removed.push(name);
            }
        }
    }
    Ok((removed, files, conflicts))
}

/// Removes what the indexes of `tags` say of manifests that are gone. Any of them may, so all are listed.
pub(super) fn remove_from_indexes(
    links: &RepositoryLinks,
    tags: &[Tag],
    gone: &HashSet<Digest>,
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
