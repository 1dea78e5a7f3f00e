//! The job that fetches images before anybody asks for them. What is here already is not fetched again, and counts as
//! pulled like the rest: what is warmed every night is not evicted for want of clients.

use std::sync::Arc;

use oci::{Digest, Reference, RepositoryName, Tag};

use super::failure::Failure;
use super::live::Tally;
use super::payload::{WarmImages, is_pattern};
use super::view::Progress;
use crate::config::{Platform, WarmReference};
use crate::content::{Content, PullFact};
use crate::mirror::{ImageFetched, ImageProgress, Mirror, Target};

/// One image to fetch.
struct Image {
    target: Target,
    reference: Reference,
}

/// Fetches the images. One that fails does not stop the others.
pub(super) async fn run(
    mirror: &Arc<Mirror>,
    content: &Content,
    wanted: &WarmImages,
    tally: &Tally,
) -> Result<(), Failure> {
    let platforms = wanted.platforms();
    let mut failed = Vec::new();
    let mut images = Vec::new();
    for (text, repository, reference) in wanted.images() {
        match named(mirror, &repository, &reference).await {
            Ok(named) if named.is_empty() => failed.push(format!("{text}: no tag fits")),
            Ok(named) => images.extend(named),
            Err(Failure::Final(reason)) => failed.push(format!("{text}: {reason}")),
            Err(scarce @ Failure::Scarce(_)) => return Err(scarce),
        }
    }
    let total = images.len();
    tally.count(|progress| progress.images_total = total as u64);
    for image in &images {
        match fetch(mirror, image, &platforms, tally).await {
            Ok(manifests) => {
                note_pulls(content, image, &manifests);
                tally.count(|progress| progress.images_done += 1);
            }
            Err(Failure::Final(reason)) => {
                let Image { target, reference } = image;
                let separator = match reference {
                    Reference::Tag(_) => ':',
                    Reference::Digest(_) => '@',
                };
                failed.push(format!("{}{separator}{reference}: {reason}", target.path));
            }
            Err(scarce @ Failure::Scarce(_)) => return Err(scarce),
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        [only] => Err(Failure::Final(only.clone())),
        [first, rest @ ..] => Err(Failure::Final(format!(
            "{first} (and {} more that failed)",
            rest.len()
        ))),
    }
}

/// Returns the images that a line of the job names.
async fn named(
    mirror: &Arc<Mirror>,
    repository: &RepositoryName,
    reference: &WarmReference,
) -> Result<Vec<Image>, Failure> {
    let Some(target) = mirror.image_target(repository) else {
        return Err(Failure::Final("no mirror has that name".to_owned()));
    };
    let tags = match reference {
        WarmReference::Digest(digest) => {
            let reference = Reference::Digest(*digest);
            return Ok(vec![Image { target, reference }]);
        }
        WarmReference::Tags(pattern) if is_pattern(pattern.as_str()) => {
            mirror.matching_tags(&target, pattern).await?
        }
        WarmReference::Tags(tag) => match Tag::parse(tag.as_str()) {
            Ok(tag) => vec![tag],
            Err(error) => return Err(Failure::Final(error.to_string())),
        },
    };
    let image = |tag| Image {
        target: target.clone(),
        reference: Reference::Tag(tag),
    };
    Ok(tags.into_iter().map(image).collect())
}

/// Notes that the image was used, as if a client had pulled all its manifests, the first by the image's tag.
fn note_pulls(content: &Content, image: &Image, manifests: &[Digest]) {
    let Image { target, reference } = image;
    let mut tag = match reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(_) => None,
    };
    for digest in manifests {
        content.note_pull(PullFact {
            repository: target.repository.clone(),
            digest: *digest,
            tag: tag.take(),
        });
    }
}

/// Fetches an image and returns its manifests, the one it is named by first.
async fn fetch(
    mirror: &Arc<Mirror>,
    image: &Image,
    platforms: &[Platform],
    tally: &Tally,
) -> Result<Vec<Digest>, Failure> {
    let before = tally.now();
    let tell = |image: ImageProgress| tally.count(|progress| *progress = sum(before, image));
    let Image { target, reference } = image;
    let fetched = mirror.fetch_image(target, reference, platforms, &tell);
    // The same image may be fetched for several platforms of an index: boxed, because it is a large future.
    let ImageFetched {
        manifests,
        progress,
    } = Box::pin(fetched).await?;
    tell(progress);
    if progress.images == 0 {
        let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        let reason = format!("lists nothing for {}", platforms.join(", "));
        return Err(Failure::Final(reason));
    }
    Ok(manifests)
}

fn sum(before: Progress, image: ImageProgress) -> Progress {
    Progress {
        layers_done: before.layers_done + image.layers_done,
        layers_total: before.layers_total + image.layers_total,
        bytes_done: before.bytes_done + image.bytes_done,
        bytes_total: before.bytes_total.saturating_add(image.bytes_total),
        manifests: before.manifests + image.manifests,
        ..before
    }
}
