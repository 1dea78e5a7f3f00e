//! What a link file means, decided from what is in it, where it lies and what lies beside it; pure.

use std::collections::HashSet;

use blobstore::links::{LinkContent, LinkFile};
use oci::Digest;

/// What the link of a blob means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// The digest in it, which may be another one of the same bytes as that of its path.
    Of(Digest),
    /// It tells nothing, so that its path has to.
    ByPath,
}

/// Returns what the link of a blob below the path of `name` means.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn layer(name: &Digest, file: &LinkFile) -> Result<Layer, String> {
    match &file.content {
        LinkContent::Digest(target) if contradicts(name, target) => Err(wrong(target)),
        LinkContent::Digest(target) => Ok(Layer::Of(*target)),
        LinkContent::Empty | LinkContent::Torn => Ok(Layer::ByPath),
        LinkContent::Unsupported { reason } => Err(reason.clone()),
    }
}

/// Returns the manifest that a link below the path of `name` means.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn revision(name: &Digest, file: &LinkFile) -> Result<Digest, String> {
    match &file.content {
        LinkContent::Digest(target) if contradicts(name, target) => Err(wrong(target)),
        LinkContent::Digest(target) => Ok(*target),
        LinkContent::Empty | LinkContent::Torn => Ok(*name),
        LinkContent::Unsupported { reason } => Err(reason.clone()),
    }
}

/// Returns the manifest that a tag points to. Where its link does not tell, it can only be one that it pointed to before
/// (`index`) and that the repository still has (`usable`): a manifest is deleted together with the tags that point to it.
///
/// # Errors
/// Why it cannot be known.
pub(super) fn tag(
    file: &LinkFile,
    index: &[Digest],
    usable: &HashSet<Digest>,
) -> Result<Digest, String> {
    let what = match &file.content {
        LinkContent::Digest(target) => return Ok(*target),
        LinkContent::Empty => "it is empty",
        LinkContent::Torn => "it holds no digest",
        LinkContent::Unsupported { reason } => return Err(reason.clone()),
    };
    let mut left = index.iter().filter(|digest| usable.contains(digest));
    match (left.next(), left.next()) {
        (Some(only), None) => Ok(*only),
        (Some(_), Some(_)) => Err(format!(
            "{what}, and the tag's index names several manifests"
        )),
        (None, _) => Err(format!(
            "{what}, and the tag's index names no manifest that can be used"
        )),
    }
}

/// Whether both cannot be of the same bytes.
fn contradicts(name: &Digest, target: &Digest) -> bool {
    name.algorithm() == target.algorithm() && name != target
}

fn wrong(target: &Digest) -> String {
    format!("it names {target}, which is not the digest of its path")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use blobstore::links::{LinkContent, LinkFile};
    use oci::{Algorithm, Digest};

    use super::{Layer, layer, revision, tag};

    fn file(content: LinkContent) -> LinkFile {
        LinkFile {
            content,
            written_at: 0,
        }
    }

    fn digest(content: &str) -> Digest {
        Digest::of(Algorithm::Sha256, content.as_bytes())
    }

    #[test]
    fn the_content_of_a_link_is_its_truth_and_an_emptied_one_falls_back_to_its_path() {
        let name = Digest::of(Algorithm::Sha512, b"a layer");
        let canonical = file(LinkContent::Digest(digest("a layer")));
        assert_eq!(layer(&name, &canonical), Ok(Layer::Of(digest("a layer"))));
        for content in [LinkContent::Empty, LinkContent::Torn] {
            assert_eq!(layer(&name, &file(content.clone())), Ok(Layer::ByPath));
            assert_eq!(revision(&name, &file(content)), Ok(name));
        }
    }

    #[test]
    fn a_link_that_contradicts_its_path_is_not_used() {
        let other = file(LinkContent::Digest(digest("another")));
        assert!(layer(&digest("a layer"), &other).is_err());
        assert!(revision(&digest("a manifest"), &other).is_err());
    }

    #[test]
    fn an_emptied_tag_is_what_is_left_of_what_it_pointed_to_if_that_is_one() {
        let (old, new, gone) = (digest("old"), digest("new"), digest("gone"));
        let usable = HashSet::from([old, new]);
        let empty = file(LinkContent::Empty);
        assert_eq!(tag(&empty, &[new], &usable), Ok(new));
        assert_eq!(tag(&empty, &[gone, new], &usable), Ok(new));
        for index in [&[][..], &[gone], &[old, new]] {
            assert!(tag(&empty, index, &usable).is_err(), "{index:?}");
        }
        let whole = file(LinkContent::Digest(gone));
        assert_eq!(tag(&whole, &[old], &usable), Ok(gone), "it says so itself");
    }
}
