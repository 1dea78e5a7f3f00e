//! Which manifest answers a client that names the types it takes (law 4): the stored one, unless the
//! client names other types only and a listed child fits. Pure; it must never rewrite a manifest.

use oci::{Descriptor, Manifest, ReferenceKind, media_type};

/// The platform served to clients that know no index, as every registry does.
const DEFAULT_PLATFORM: (&str, &str) = ("linux", "amd64");

/// The media types a client named in its `Accept` headers.
#[derive(Clone, Debug, Default)]
pub struct Accepted(Vec<String>);

impl Accepted {
    /// Returns the types in the values of the `Accept` headers; parameters and weights are ignored.
    pub fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let types = values
            .flat_map(|value| value.split(','))
            .map(|entry| media_type::essence(entry).to_ascii_lowercase())
            .filter(|entry| !entry.is_empty())
            .take(64);
        Self(types.collect())
    }

    /// Tells whether the client named types, and `stored` is not among them.
    pub fn names_others_only(&self, stored: &str) -> bool {
        !self.0.is_empty() && !self.takes(stored)
    }

    fn takes(&self, stored: &str) -> bool {
        self.0
            .iter()
            .any(|entry| entry == "*/*" || entry == "application/*" || entry == stored)
    }

    /// Returns the child of `index` that fits: of the default platform and of a type the client takes.
    pub fn fitting_child<'a>(&self, index: &'a Manifest) -> Option<&'a Descriptor> {
        index
            .references
            .iter()
            .filter(|reference| reference.kind == ReferenceKind::Child)
            .map(|reference| &reference.descriptor)
            .find(|child| self.takes(&child.media_type) && is_default_platform(child))
    }
}

fn is_default_platform(child: &Descriptor) -> bool {
    child.platform.as_ref().is_some_and(|platform| {
        (platform.os.as_str(), platform.architecture.as_str()) == DEFAULT_PLATFORM
    })
}

#[cfg(test)]
mod tests {
    use oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

    use super::Accepted;

    fn accepted(value: &str) -> Accepted {
        Accepted::parse([value].into_iter())
    }

    #[test]
    fn no_accept_header_and_wildcards_take_everything() {
        assert!(!Accepted::default().names_others_only(OCI_INDEX));
        assert!(!accepted("text/html, */*;q=0.1").names_others_only(OCI_INDEX));
        assert!(!accepted("application/*").names_others_only(OCI_INDEX));
    }

    #[test]
    fn a_client_that_names_the_stored_type_gets_it() {
        let both = format!("{DOCKER_MANIFEST}, {DOCKER_LIST};q=0.5");
        assert!(!accepted(&both).names_others_only(DOCKER_LIST));
        assert!(accepted(&both).names_others_only(OCI_INDEX));
    }

    #[test]
    fn the_child_of_the_default_platform_fits() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let entry = |architecture: &str, digest: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","size":2,"digest":"{digest}","platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
            )
        };
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{},{}]}}"#,
            entry("arm64", &digest.replace("aaaa", "bbbb")),
            entry("amd64", &digest)
        );
        let index = oci::Manifest::parse(index.as_bytes(), Some(OCI_INDEX)).expect("an index");
        let child = accepted(OCI_MANIFEST).fitting_child(&index).expect("fits");
        assert_eq!(child.digest.to_string(), digest);
        assert!(accepted(DOCKER_MANIFEST).fitting_child(&index).is_none());
    }
}
