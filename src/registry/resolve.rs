//! Which repository a request means: once, before the gate. The first rule that fits decides: a path
//! that begins with an upstream's name, `ns=`, a local repository, the default upstream. What a client
//! sends selects among configured upstreams and is never dialled.

use oci::RepositoryName;

use super::error::Error;
use super::service::Registry;
use crate::mirror::{Mirror, Owner, Target, Via};

/// Whether a request reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Pulls and lists.
    Read,
    /// Pushes, uploads and deletes.
    Write,
}

/// How a name came to belong to a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The client named the upstream, by path or by `ns=`.
    Named,
    /// Nobody else has the name, and there is a default upstream beside local repositories.
    Default,
    /// The whole server is a mirror of one upstream (`proxy.remoteurl` alone).
    Proxy,
}

/// Where a repository lives.
#[derive(Clone, Debug)]
pub enum Place {
    /// Here.
    Local,
    /// At an upstream.
    Mirror {
        /// Which, and under what names.
        target: Target,
        /// Why.
        rule: Rule,
    },
}

/// A repository as it was asked for and as it is.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The name in the request.
    pub asked: RepositoryName,
    /// The name in the database.
    pub repository: RepositoryName,
    /// Where it lives.
    pub place: Place,
    /// The `ns=` that selected an upstream, to be told back.
    pub namespace: Option<String>,
}

/// Returns the repository that `name` and `namespace` (the value of `ns=`) mean to a request that has come along `via`.
///
/// # Errors
/// [`Error::NamespaceUnknown`], [`Error::NameUnknown`] for a name too long to be mirrored, and
/// storage errors.
pub async fn resolve(
    registry: &Registry,
    name: &RepositoryName,
    namespace: Option<&str>,
    intent: Intent,
    via: &Via,
) -> Result<Resolved, Error> {
    let mut resolved = select(registry, name, namespace, intent).await?;
    if let Place::Mirror { target, .. } = &mut resolved.place {
        target.via = via.clone();
    }
    Ok(resolved)
}

async fn select(
    registry: &Registry,
    name: &RepositoryName,
    namespace: Option<&str>,
    intent: Intent,
) -> Result<Resolved, Error> {
    let mirror = &registry.mirror;
    if mirror.is_empty() {
        return Ok(local(name));
    }
    if mirror.proxy_only() {
        let target = mirror
            .default_remote()
            .and_then(|remote| Mirror::plain_target(remote, name));
        return mirrored(name, target, Rule::Proxy, None);
    }
    if let Owner::Named(remote, path) = mirror.owner(name) {
        return mirrored(name, Mirror::target(remote, &path), Rule::Named, namespace);
    }
    if let Some(namespace) = namespace {
        if let Some(remote) = mirror.by_name(namespace) {
            let target = Mirror::target(remote, name);
            return mirrored(name, target, Rule::Named, Some(namespace));
        }
        // Somebody's name for this server, as containerd always sends it. It must not reach the
        // default upstream, which would answer for a registry it is not.
        let known =
            intent == Intent::Write || registry.metadata().repository(name).await?.is_some();
        if known {
            return Ok(local(name));
        }
        return Err(Error::NamespaceUnknown {
            name: name.to_string(),
            namespace: namespace.chars().take(128).collect(),
        });
    }
    let Some(remote) = mirror.default_remote() else {
        return Ok(local(name));
    };
    if intent == Intent::Write || registry.is_local(name).await? {
        return Ok(local(name));
    }
    mirrored(name, Mirror::target(remote, name), Rule::Default, None)
}

fn local(name: &RepositoryName) -> Resolved {
    Resolved {
        asked: name.clone(),
        repository: name.clone(),
        place: Place::Local,
        namespace: None,
    }
}

fn mirrored(
    name: &RepositoryName,
    target: Option<Target>,
    rule: Rule,
    namespace: Option<&str>,
) -> Result<Resolved, Error> {
    let target = target.ok_or_else(|| Error::NameUnknown {
        name: name.to_string(),
    })?;
    Ok(Resolved {
        asked: name.clone(),
        repository: target.repository.clone(),
        place: Place::Mirror { target, rule },
        namespace: namespace.map(str::to_owned),
    })
}
