//! Listing what refers to a manifest (distribution-spec, "Listing Referrers"). Never 404: nothing
//! refers to what is unknown.

use oci::{Descriptor, Digest};

use super::error::{Error, content_error, mirror_error};
use super::resolve::{Place, Resolved};
use super::service::Registry;
use super::tags::list_result;
use crate::auth::Caller;
use crate::telemetry::Kind;

/// Descriptors in one answer; with annotations this stays below the 4 MiB that clients take.
const PAGE: usize = 500;

/// Bytes of descriptors in one answer.
const PAGE_BYTES: usize = 3 << 20;

/// A page of referrers.
#[derive(Debug)]
pub struct ReferrersAnswer {
    /// Their descriptors.
    pub descriptors: Vec<Descriptor>,
    /// The `last` of the next page, if there is one.
    pub next: Option<Digest>,
    /// Why a mirrored list is the one known here, for the `Warning` header.
    pub stale: Option<String>,
    /// Whether the list is of a mirrored repository.
    pub mirrored: bool,
}

/// Returns the part of the referrers of `subject` in `at` that `page` asks for.
///
/// # Errors
/// The upstream's answer, storage errors.
pub async fn referrers(
    registry: &Registry,
    _caller: &Caller,
    at: &Resolved,
    subject: &Digest,
    page: ReferrersPage<'_>,
) -> Result<ReferrersAnswer, Error> {
    let artifact_type = page.artifact_type;
    let most = page.most.map_or(PAGE, |most| most.clamp(1, PAGE));
    let (listed, stale, mirrored) = match &at.place {
        Place::Local => {
            let listed = registry
                .content
                .referrers(
                    &at.repository,
                    subject,
                    artifact_type,
                    page.after.as_ref(),
                    most + 1,
                )
                .await;
            let listed = listed.map_err(|error| content_error(error, &at.asked, None))?;
            (listed, None, false)
        }
        Place::Mirror { target, .. } => {
            let found = registry.mirror.referrers(target, subject).await;
            let result = list_result(&found, |found| found.stale.is_some());
            registry.mirror.count(target, Kind::Referrers, result, 0);
            let found = found.map_err(|error| {
                mirror_error(error, &at.asked, || Error::NameUnknown {
                    name: at.asked.to_string(),
                })
            })?;
            let listed = one_page(found.descriptors, artifact_type, page.after, most + 1);
            (listed, found.stale, true)
        }
    };
    let (descriptors, next) = fit(listed, most);
    Ok(ReferrersAnswer {
        descriptors,
        next,
        stale,
        mirrored,
    })
}

/// Which part of the list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferrersPage<'a> {
    /// Only those of this type.
    pub artifact_type: Option<&'a str>,
    /// After this digest.
    pub after: Option<Digest>,
    /// At most so many.
    pub most: Option<usize>,
}

fn one_page(
    mut all: Vec<Descriptor>,
    artifact_type: Option<&str>,
    after: Option<Digest>,
    most: usize,
) -> Vec<Descriptor> {
    all.sort_by_key(|descriptor| descriptor.digest.to_row());
    all.dedup_by_key(|descriptor| descriptor.digest);
    all.into_iter()
        .filter(|descriptor| {
            artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
                && after.is_none_or(|after| descriptor.digest.to_row() > after.to_row())
        })
        .take(most)
        .collect()
}

/// Cuts a list that may be one longer than `most`, and before it grows past what clients take.
fn fit(mut listed: Vec<Descriptor>, most: usize) -> (Vec<Descriptor>, Option<Digest>) {
    let mut bytes = 0;
    let mut keep = 0;
    for descriptor in &listed {
        bytes += serde_json::to_vec(descriptor).map_or(0, |json| json.len());
        if keep == most || (keep > 0 && bytes > PAGE_BYTES) {
            break;
        }
        keep += 1;
    }
    let more = keep < listed.len();
    listed.truncate(keep);
    let next = listed.last().filter(|_| more).map(|last| last.digest);
    (listed, next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oci::{Algorithm, Descriptor, Digest};

    use super::fit;

    fn descriptor(number: u32, annotation: usize) -> Descriptor {
        let note = ("note".to_owned(), "x".repeat(annotation));
        Descriptor {
            media_type: oci::media_type::OCI_MANIFEST.to_owned(),
            size: 2,
            digest: Digest::of(Algorithm::Sha256, &number.to_be_bytes()),
            urls: Vec::new(),
            annotations: BTreeMap::from([note]),
            artifact_type: None,
            platform: None,
            data: None,
        }
    }

    #[test]
    fn a_page_ends_before_clients_refuse_its_size() {
        let listed = (0..10).map(|number| descriptor(number, 1 << 20)).collect();
        let (page, next) = fit(listed, 500);
        assert_eq!(page.len(), 2);
        assert_eq!(next, Some(page[1].digest));
    }

    #[test]
    fn one_descriptor_is_always_given_so_that_paging_ends() {
        let listed = (0..2).map(|number| descriptor(number, 4 << 20)).collect();
        let (page, next) = fit(listed, 500);
        assert_eq!(page.len(), 1);
        assert!(next.is_some());
    }

    #[test]
    fn the_last_page_has_no_next() {
        let listed = (0..3).map(|number| descriptor(number, 1)).collect();
        assert!(fit(listed, 3).1.is_none());
    }
}
