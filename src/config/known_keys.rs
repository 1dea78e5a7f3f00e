//! Walks what was read against the schema: unknown keys, keys without effect, and settings that refuse the start.
//! Looks at no value beyond whether one is set, and never prints one.

use super::catalogue::{AUTH_SETTINGS, STORAGE_SETTINGS, Standing};
use super::problems::Problems;
use super::schema::{Place, nearest, root};
use super::tree::{Entry, Node, Value};

/// What to do about unknown keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Refuse the configuration.
    Refuse,
    /// Warn and leave them out.
    Warn,
}

/// Reports everything in `tree` that is unknown, misshapen, refused or without effect.
pub(super) fn check(tree: &Node, unknown: Unknown, problems: &mut Problems) {
    let mut walk = Walk { unknown, problems };
    walk.node(root(), tree, "");
    walk.one_driver(tree, "storage", STORAGE_SETTINGS);
    walk.one_driver(tree, "auth", AUTH_SETTINGS);
}

struct Walk<'p> {
    unknown: Unknown,
    problems: &'p mut Problems,
}

impl Walk<'_> {
    fn node(&mut self, place: &Place, node: &Node, path: &str) {
        let what = if path.is_empty() {
            "the configuration"
        } else {
            path
        };
        match &node.value {
            Value::Map(entries) if place.is_mapping() => {
                for entry in entries {
                    self.entry(place, entry, path);
                }
            }
            Value::List(items) => {
                if let Some(item) = place.item.as_deref().filter(|item| !item.is_value()) {
                    for (index, element) in items.iter().enumerate() {
                        self.node(item, element, &format!("{path}[{index}]"));
                    }
                } else if place.is_mapping() {
                    self.problems.error(
                        &node.origin,
                        format_args!("{what} is a list; a mapping of keys is expected"),
                    );
                }
            }
            Value::Scalar(text) if !text.is_empty() && place.is_mapping() => {
                self.problems.error(
                    &node.origin,
                    format_args!("{what} is a single value; a mapping of keys is expected"),
                );
            }
            Value::Scalar(text) if !text.is_empty() && is_list_of_sections(place) => {
                self.problems.error(
                    &node.origin,
                    format_args!("{path} is a single value; a list is expected"),
                );
            }
            Value::Map(entries) if !entries.is_empty() && place.item.is_some() => {
                self.problems.error(
                    &node.origin,
                    format_args!("{path} is a mapping; a list is expected"),
                );
            }
            Value::Map(_) | Value::Scalar(_) | Value::Null => {}
        }
    }

    fn entry(&mut self, parent: &Place, entry: &Entry, parent_path: &str) {
        let Entry { key, origin, node } = entry;
        let path = if parent_path.is_empty() {
            key.clone()
        } else {
            format!("{parent_path}.{key}")
        };
        let Some(place) = parent.below(key) else {
            let near = nearest(key, parent.keys.keys().copied());
            let hint = near
                .map(|near| format!(": did you mean {near:?}?"))
                .unwrap_or_default();
            let inside = if parent_path.is_empty() {
                String::new()
            } else {
                format!(" in {parent_path}")
            };
            let text = format!("unknown key {key:?}{inside}{hint}");
            match self.unknown {
                Unknown::Refuse => self.problems.error(origin, text),
                Unknown::Warn => self.problems.warning(origin, text),
            }
            return;
        };
        self.standing(place, entry, &path);
        self.node(place, node, &path);
    }

    fn standing(&mut self, place: &Place, entry: &Entry, path: &str) {
        let item = place.item.as_deref().filter(|item| item.is_value());
        let refused_when_there = match place.standing.or_else(|| item?.standing) {
            Some(Standing::Refused) => false,
            // Its parameters have the same standing; the driver itself is reported, once.
            Some(Standing::RefusedDriver) => path.matches('.').count() == 1,
            Some(Standing::Later) if !entry.node.is_empty() => {
                return self
                    .problems
                    .warning(&entry.origin, format_args!("{path} has no effect yet"));
            }
            Some(Standing::NoEffect) if !entry.node.is_empty() => {
                return self
                    .problems
                    .warning(&entry.origin, format_args!("{path} has no effect"));
            }
            Some(Standing::Supported | Standing::Later | Standing::NoEffect) | None => return,
        };
        let harmless =
            path == "http.net" && matches!(&entry.node.value, Value::Scalar(net) if net == "tcp");
        let parameter = place.standing == Some(Standing::RefusedDriver) && !refused_when_there;
        if harmless
            || parameter
            || (entry.node.is_empty() && !refused_when_there)
            || reported_above(path)
        {
            return;
        }
        // A section of the file filled by a variable is the variable's doing.
        let set = entry.node.first_set();
        let origin = if entry.node.is_empty() {
            &entry.origin
        } else {
            set
        };
        self.problems.error(
            origin,
            format_args!("{path} is not supported yet and Seawall does not start without what it asks for: {}", remedy(path)),
        );
    }

    fn one_driver(&mut self, tree: &Node, section: &str, settings: &[&str]) {
        let Some(node) = tree.get(section) else {
            return;
        };
        let drivers: Vec<&Entry> = node
            .entries()
            .iter()
            .filter(|entry| !settings.contains(&entry.key.as_str()))
            .collect();
        if let [first, second, ..] = drivers.as_slice() {
            let names: Vec<&str> = drivers.iter().map(|entry| entry.key.as_str()).collect();
            let origin = (&first.origin).max(&second.origin);
            self.problems.error(
                origin,
                format_args!("{section} names more than one driver: {}", names.join(", ")),
            );
        }
    }
}

/// Returns whether a list stands here for which no single value can stand.
fn is_list_of_sections(place: &Place) -> bool {
    place.item.as_deref().is_some_and(|item| !item.is_value())
}

/// Returns whether a section above `path` is refused as a whole and reported there.
fn reported_above(path: &str) -> bool {
    [
        "auth.rules[",
        "http.tls.",
        "middleware.",
        "policy.",
        "validation.manifests.",
    ]
    .iter()
    .any(|section| path.starts_with(section))
}

fn remedy(path: &str) -> &'static str {
    match path.split('.').next() {
        Some("storage") => "use the filesystem driver",
        Some("auth") => "remove it, and let something in front of Seawall authenticate",
        Some("http") if path == "http.net" => "use tcp",
        Some("http") => "remove it, and let something in front of Seawall speak TLS",
        Some("metadata") => "remove it, and the metadata lies beside the blobs",
        _ => "remove it, if the registry is safe without it",
    }
}

#[cfg(test)]
mod tests {
    use super::{Unknown, check};
    use crate::config::problems::Problems;
    use crate::config::tree::Origin;
    use crate::config::yaml::parse;

    fn report(text: &str, unknown: Unknown) -> (Vec<String>, Vec<String>) {
        let origin = |line: u64| Origin::File {
            file: std::path::Path::new("c.yml").into(),
            line,
        };
        let mut tree = parse(text, &origin).unwrap_or_else(|error| panic!("{}", error.reason));
        for section in ["storage", "auth"] {
            if tree.get(section).is_some() {
                tree.key_mut(section, &origin(0))
                    .expect("the root is a mapping")
                    .expand_shorthand();
            }
        }
        let mut problems = Problems::default();
        check(&tree, unknown, &mut problems);
        match problems.finish() {
            Ok(warnings) => (Vec::new(), warnings),
            Err(error) => (error.errors, error.warnings),
        }
    }

    #[test]
    fn all_unknown_keys_are_told_at_once_with_line_and_nearest_key() {
        let text = "version: 0.1\nhtpp:\n  addr: x\nstorage:\n  filesystem:\n    rootdir: /x\nmirrors:\n  - name: a\n    endpoint: [b]\n";
        let (errors, _) = report(text, Unknown::Refuse);
        assert_eq!(
            errors,
            [
                "c.yml:2: unknown key \"htpp\": did you mean \"http\"?",
                "c.yml:6: unknown key \"rootdir\" in storage.filesystem",
                "c.yml:9: unknown key \"endpoint\" in mirrors[0]: did you mean \"endpoints\"?",
            ]
        );
    }

    #[test]
    fn unknown_keys_can_be_warnings() {
        let (errors, warnings) = report("htpp: {}\n", Unknown::Warn);
        assert!(errors.is_empty());
        assert_eq!(
            warnings,
            ["c.yml:1: unknown key \"htpp\": did you mean \"http\"?"]
        );
    }

    #[test]
    fn keys_of_later_days_and_keys_without_meaning_warn_once_each() {
        let text = "http:\n  secret: s3cret\n  h2c: {enabled: true}\nnotifications:\n  endpoints:\n    - url: http://x\n      headers: {A: [b, c]}\nhealth: {}\n";
        let (errors, warnings) = report(text, Unknown::Refuse);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            warnings,
            [
                "c.yml:2: http.secret has no effect",
                "c.yml:3: http.h2c.enabled has no effect yet",
                "c.yml:6: notifications.endpoints[0].url has no effect yet",
                "c.yml:7: notifications.endpoints[0].headers.A has no effect yet",
            ]
        );
    }

    #[test]
    fn what_protects_or_misplaces_is_refused_and_named() {
        for (text, named) in [
            ("auth: {htpasswd: {realm: r, path: /p}}", "auth.htpasswd"),
            ("auth: silly", "auth.silly"),
            ("auth: {rules: [{who: [a]}]}", "auth.rules"),
            ("http: {tls: {certificate: /c, key: /k}}", "http.tls"),
            ("http: {net: unix}", "http.net"),
            ("middleware: {storage: [{name: redirect}]}", "middleware"),
            ("policy: {repository: {classes: [image]}}", "policy"),
            (
                "validation: {manifests: {urls: {allow: [x]}}}",
                "validation.manifests",
            ),
            ("storage: {s3: {bucket: b, region: r}}", "storage.s3"),
            ("storage: inmemory", "storage.inmemory"),
            ("storage: {inmemory: }", "storage.inmemory"),
            ("metadata: {url: 'postgres://h/d'}", "metadata.url"),
        ] {
            let (errors, _) = report(text, Unknown::Refuse);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(
                errors[0].starts_with(&format!("c.yml:1: {named} is not supported yet")),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn empty_protecting_sections_are_fine() {
        let text = "auth: {}\nhttp: {tls: {certificate: \"\", clientcas: []}, net: tcp}\nmiddleware: {storage: []}\npolicy:\nvalidation: {manifests: {urls: {allow: []}}}\nstorage: filesystem\n";
        assert_eq!(report(text, Unknown::Refuse), (Vec::new(), Vec::new()));
    }

    #[test]
    fn two_storage_drivers_are_refused() {
        let (errors, _) = report(
            "storage:\n  filesystem: {}\n  inmemory: {}\n",
            Unknown::Refuse,
        );
        assert_eq!(
            errors[1],
            "c.yml:3: storage names more than one driver: filesystem, inmemory"
        );
    }

    #[test]
    fn a_value_where_keys_belong_is_refused_without_printing_it() {
        let (errors, _) = report(
            "proxy: hunter2\nmirrors: {name: x}\nhttp: [1]\nwarm: x\n",
            Unknown::Refuse,
        );
        assert_eq!(
            errors,
            [
                "c.yml:1: proxy is a single value; a mapping of keys is expected",
                "c.yml:2: mirrors is a mapping; a list is expected",
                "c.yml:3: http is a list; a mapping of keys is expected",
                "c.yml:4: warm is a single value; a list is expected",
            ]
        );
    }
}
