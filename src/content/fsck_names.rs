//! The half of comparing that asks whether names lead anywhere, and whether what no name leads to is known to the collector.

use metadata::{Named, Namer, Unnoted};
use oci::{Manifest, Reference, RepositoryName};

use super::error::Error;
use super::fsck::Fsck;
use super::problem::{Action, Problem, ProblemKind};

impl Fsck<'_> {
    /// Looks at a page of things that name others. Nothing is done about those that lead nowhere: only whoever pushed knows
    /// what is meant.
    pub(super) async fn names(&mut self, page: Vec<Named>) -> Result<(), Error> {
        for named in page {
            if named.is_there || self.is_elsewhere(&named).await? {
                continue;
            }
            let Named { repository, by, .. } = &named;
            let path = match by {
                Namer::Tag(tag) => format!("{repository}:{tag}"),
                Namer::Manifest(parent, _) => format!("{repository}@{parent}"),
                Namer::Repository => repository.to_string(),
            };
            self.found.push_back(Problem {
                digest: Some(named.digest),
                path,
                problem: ProblemKind::Dangling,
                action: Action::None,
            });
        }
        Ok(())
    }

    /// Tells whether a manifest gives URLs for what it names, which need not be here then.
    async fn is_elsewhere(&self, named: &Named) -> Result<bool, Error> {
        let Namer::Manifest(parent, position) = &named.by else {
            return Ok(false);
        };
        let Some(manifest) = self
            .manifest(&named.repository, &Reference::Digest(*parent))
            .await?
        else {
            return Ok(false);
        };
        let place = usize::try_from(*position).unwrap_or(usize::MAX);
        let reference = manifest.references.get(place);
        Ok(reference.is_some_and(|reference| !reference.descriptor.urls.is_empty()))
    }

    /// Returns a manifest that can be read; one that cannot is told elsewhere.
    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        let content = self.content;
        let Some(row) = content.manifest_row(repository, reference).await? else {
            return Ok(None);
        };
        let Ok(bytes) = content.manifest_bytes(&row).await else {
            return Ok(None);
        };
        let manifest = content.read_manifest(&bytes, Some(&row.media_type)).await;
        Ok(manifest.ok())
    }

    /// Looks at a page of what the collector has to know of.
    pub(super) async fn unnoted(&mut self, page: Vec<Unnoted>) -> Result<(), Error> {
        for found in page.into_iter().filter(|found| found.is_unnoted) {
            let path = match &found.name {
                Some(repository) => format!("{repository}@{}", found.digest),
                None => found.digest.to_string(),
            };
            let digest = Some(found.digest);
            let action = if self.repair {
                self.content.metadata.note_for_collection(found).await?;
                Action::Noted
            } else {
                Action::None
            };
            self.found.push_back(Problem {
                digest,
                path,
                problem: ProblemKind::Unreferenced,
                action,
            });
        }
        Ok(())
    }
}
