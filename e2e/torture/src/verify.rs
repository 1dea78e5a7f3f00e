//! Asks a server for everything that is in a ledger and compares: what was acknowledged is there with its very bytes, what
//! is in doubt is whole or absent, and nothing is half.

use std::collections::{BTreeSet, HashSet};

use crate::client::{Client, Trouble};
use crate::ledger::{Key, Ledger, State};

/// A comparison under way.
struct Verification<'a> {
    client: &'a Client,
    ledger: &'a mut Ledger,
    problems: Vec<String>,
    /// Blobs whose bytes were compared, by repository.
    whole: HashSet<(String, String)>,
}

/// Compares the server with `ledger`, which knows afterwards what is so. Returns everything that is wrong.
pub(crate) async fn verify(client: &Client, ledger: &mut Ledger) -> Vec<String> {
    let mut run = Verification {
        client,
        ledger,
        problems: Vec::new(),
        whole: HashSet::new(),
    };
    for repository in run.ledger.repositories() {
        if let Err(trouble) = run.repository(&repository).await {
            run.problems.push(trouble.to_string());
        }
    }
    let problems = run.problems;
    ledger.forgets_gone();
    problems
}

impl Verification<'_> {
    async fn repository(&mut self, repository: &str) -> Result<(), Trouble> {
        let keys: Vec<Key> = self
            .ledger
            .of(repository)
            .map(|(key, _)| key.clone())
            .collect();
        let mut tags = BTreeSet::new();
        for key in &keys {
            let found = match key {
                Key::Tag { tag, .. } => {
                    let found = self.resolve(repository, tag).await?;
                    if found.is_some() {
                        tags.insert(tag.clone());
                    }
                    found
                }
                Key::Manifest { digest, .. } => self.manifest(repository, digest).await?,
                Key::Blob { digest, .. } => self.blob(repository, digest).await?,
            };
            self.compare(key, found);
        }
        let listed = self
            .client
            .get(&format!("/v2/{repository}/tags/list"))
            .await?;
        let listed: BTreeSet<String> = match listed.expect(&[200, 404])? {
            answer if answer.status == 404 => BTreeSet::new(),
            answer => {
                let json = answer.json()?;
                let names = json["tags"].as_array().into_iter().flatten();
                names
                    .filter_map(|name| Some(name.as_str()?.to_owned()))
                    .collect()
            }
        };
        if listed != tags {
            self.problems.push(format!(
                "{repository} lists the tags {listed:?}, and {tags:?} are there"
            ));
        }
        Ok(())
    }

    /// Holds what was found against what may be.
    fn compare(&mut self, key: &Key, found: State) {
        let possible = self.ledger.possible(key);
        let may_be_collected = self.ledger.collected
            && match key {
                Key::Blob { repository, digest } => !self.ledger.is_named(repository, digest),
                Key::Tag { .. } | Key::Manifest { .. } => false,
            };
        let is_right = possible.contains(&found) || (found.is_none() && may_be_collected);
        if !is_right {
            let wanted: Vec<&str> = possible
                .iter()
                .map(|state| state.as_deref().unwrap_or("nothing"))
                .collect();
            let found = found.as_deref().unwrap_or("nothing");
            self.problems.push(format!(
                "{key:?} is {found}, acknowledged was {}",
                wanted.join(" or ")
            ));
        }
        self.ledger.finds(key, found);
    }

    /// Returns the digest a tag resolves to. Its manifest must be there: a tag of nothing is half.
    async fn resolve(&mut self, repository: &str, tag: &str) -> Result<State, Trouble> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.client.get(&path).await?.expect(&[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        let digest = crate::content::digest_of(&answer.body);
        let told = answer.headers.get("docker-content-digest");
        if told.and_then(|told| told.to_str().ok()) != Some(&digest) {
            self.problems
                .push(format!("{path} says {told:?} and serves {digest}"));
        }
        if self.manifest(repository, &digest).await?.is_none() {
            self.problems
                .push(format!("{path} names {digest}, which is not there"));
        }
        Ok(Some(digest))
    }

    /// Returns the digest if the manifest is there, with everything it names.
    async fn manifest(&mut self, repository: &str, digest: &str) -> Result<State, Trouble> {
        if self
            .whole
            .contains(&(repository.to_owned(), digest.to_owned()))
        {
            return Ok(Some(digest.to_owned()));
        }
        let path = format!("/v2/{repository}/manifests/{digest}");
        let answer = self.client.get(&path).await?.expect(&[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        let Some(content) = self.ledger.content(digest) else {
            self.problems.push(format!("{path} was never pushed"));
            return Ok(Some(digest.to_owned()));
        };
        if answer.body != content.bytes {
            self.problems
                .push(format!("{path} has other bytes than were pushed"));
        }
        self.whole
            .insert((repository.to_owned(), digest.to_owned()));
        for blob in &content.blobs {
            if self.blob(repository, &blob.digest).await?.is_none() {
                self.problems
                    .push(format!("{path} names {}, which is not there", blob.digest));
            }
        }
        for child in &content.children {
            if Box::pin(self.manifest(repository, &child.digest))
                .await?
                .is_none()
            {
                self.problems
                    .push(format!("{path} names {}, which is not there", child.digest));
            }
        }
        Ok(Some(digest.to_owned()))
    }

    /// Returns the digest if the blob is there, with its bytes.
    async fn blob(&mut self, repository: &str, digest: &str) -> Result<State, Trouble> {
        let known = (repository.to_owned(), digest.to_owned());
        if self.whole.contains(&known) {
            return Ok(Some(digest.to_owned()));
        }
        let path = format!("/v2/{repository}/blobs/{digest}");
        let answer = self.client.get(&path).await?.expect(&[200, 404])?;
        if answer.status == 404 {
            return Ok(None);
        }
        if crate::content::digest_of(&answer.body) != digest {
            let length = answer.body.len();
            self.problems
                .push(format!("{path} serves {length} bytes of another digest"));
        }
        self.whole.insert(known);
        Ok(Some(digest.to_owned()))
    }
}
