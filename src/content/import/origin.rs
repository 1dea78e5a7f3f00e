//! Whose content a root holds, which decides what its repositories are called here and of which kind they are.

use metadata::RepositoryKind;
use oci::RepositoryName;

use crate::config::Mirrors;

/// What wrote a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootOrigin {
    /// A registry that people push to.
    Registry {
        /// The names of the mirrors here, below which nothing local can be reached.
        mirrors: Vec<String>,
    },
    /// A proxy of an upstream.
    Proxy {
        /// The upstream's configured name.
        upstream: String,
        /// Whether its repositories keep their plain names here, or get the upstream's name in front.
        plain: bool,
    },
}

impl RootOrigin {
    /// Returns what the configuration says: with `proxy.remoteurl` Distribution was a proxy.
    pub fn of(mirrors: &Mirrors) -> Self {
        match &mirrors.proxy {
            Some(upstream) => Self::Proxy {
                upstream: upstream.clone(),
                plain: mirrors.proxy_only,
            },
            None => Self::Registry {
                mirrors: mirrors
                    .upstreams
                    .iter()
                    .map(|mirror| mirror.name.clone())
                    .collect(),
            },
        }
    }

    /// Tells whether blobs of the root count as ever held by a local repository.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Registry { .. } => true,
            Self::Proxy { .. } => false,
        }
    }

    /// Returns the name and kind here of the repository `files`, or why it cannot be here.
    pub(super) fn place(
        &self,
        files: &RepositoryName,
    ) -> Result<(RepositoryName, RepositoryKind), String> {
        match self {
            Self::Registry { mirrors } => {
                let first = files.first_component();
                if mirrors.iter().any(|mirror| mirror == first) {
                    return Err(format!(
                        "names that begin with {first} belong to the mirror of that name; move the directory, or take the mirror out of the configuration"
                    ));
                }
                Ok((files.clone(), RepositoryKind::Local))
            }
            Self::Proxy { upstream, plain } => {
                let kind = RepositoryKind::Mirror {
                    upstream: upstream.clone(),
                };
                if *plain {
                    return Ok((files.clone(), kind));
                }
                let name = RepositoryName::join(upstream, files);
                Ok((name.map_err(|error| error.to_string())?, kind))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use metadata::RepositoryKind;
    use oci::RepositoryName;

    use super::RootOrigin;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).expect("a name")
    }

    #[test]
    fn a_proxys_repositories_are_mirrored_ones_plain_or_below_the_name_of_the_upstream() {
        let proxy = |plain| RootOrigin::Proxy {
            upstream: "docker.io".to_owned(),
            plain,
        };
        let kind = RepositoryKind::Mirror {
            upstream: "docker.io".to_owned(),
        };
        let nginx = name("library/nginx");
        assert_eq!(proxy(true).place(&nginx), Ok((nginx.clone(), kind.clone())));
        assert_eq!(
            proxy(false).place(&nginx),
            Ok((name("docker.io/library/nginx"), kind))
        );
    }

    #[test]
    fn a_pushed_repository_is_local_but_not_below_the_name_of_a_mirror() {
        let registry = RootOrigin::Registry {
            mirrors: vec!["docker.io".to_owned()],
        };
        let app = name("team/app");
        assert_eq!(
            registry.place(&app),
            Ok((app.clone(), RepositoryKind::Local))
        );
        let refused = registry.place(&name("docker.io/library/nginx"));
        assert!(refused.is_err_and(|reason| reason.contains("docker.io")));
    }
}
