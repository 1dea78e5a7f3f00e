//! Typed reading of checked nodes: a section gives its values parsed, or notes what is wrong with place and key.
//! Unset, null and empty mean the same, as in Distribution. Values of secrets are never part of a message.

use super::problems::Problems;
use super::tree::{Node, Origin, Value};

/// A section that may be absent.
pub(super) struct Section<'t> {
    node: Option<&'t Node>,
    path: String,
}

/// One value that is set.
pub(super) struct Field<'t> {
    /// The text as written.
    pub(super) text: &'t str,
    /// Where it was written.
    pub(super) origin: &'t Origin,
    /// Its key, from the root.
    pub(super) path: String,
}

impl Field<'_> {
    /// Returns the parsed value, or notes what is wrong with it.
    pub(super) fn parse<T>(
        &self,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.error(problems, &reason);
                None
            }
        }
    }

    /// Notes what is odd about this value; `text` goes on after its key.
    pub(super) fn warning(&self, problems: &mut Problems, text: &str) {
        problems.warning(self.origin, format_args!("{} {text}", self.path));
    }

    /// Notes what is wrong with this value.
    pub(super) fn error(&self, problems: &mut Problems, reason: &str) {
        problems.error(self.origin, format_args!("{}: {reason}", self.path));
    }
}

impl<'t> Section<'t> {
    /// Returns the whole configuration as a section.
    pub(super) fn root(tree: &'t Node) -> Self {
        Self {
            node: Some(tree),
            path: String::new(),
        }
    }

    /// Returns whether the section is there, even with nothing in it.
    pub(super) fn is_there(&self) -> bool {
        self.node.is_some()
    }

    /// Returns whether null or empty text stands here.
    pub(super) fn is_empty_value(&self) -> bool {
        match self.node.map(|node| &node.value) {
            Some(Value::Null) => true,
            Some(Value::Scalar(text)) => text.is_empty(),
            Some(Value::List(_) | Value::Map(_)) | None => false,
        }
    }

    /// Returns the section below `key`.
    pub(super) fn section(&self, key: &str) -> Section<'t> {
        Section {
            node: self.node.and_then(|node| node.get(key)),
            path: self.path_of(key),
        }
    }

    /// Returns the path of a key below.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Returns the elements of the list below `key`, each as a section.
    pub(super) fn items(&self, key: &str) -> Vec<Section<'t>> {
        let list = self.section(key);
        let Some(Value::List(items)) = list.node.map(|node| &node.value) else {
            return Vec::new();
        };
        let section = |(index, node)| Section {
            node: Some(node),
            path: format!("{}[{index}]", list.path),
        };
        items.iter().enumerate().map(section).collect()
    }

    /// Returns name and section of every entry, for maps of free names.
    pub(super) fn names(&self) -> Vec<(&'t str, Section<'t>)> {
        let entries = self.node.map(Node::entries).unwrap_or_default();
        let named = entries.iter().map(|entry| {
            let section = Section {
                node: Some(&entry.node),
                path: self.path_of(&entry.key),
            };
            (entry.key.as_str(), section)
        });
        named.collect()
    }

    /// Returns this section taken as one value, if one is set.
    pub(super) fn value(&self, problems: &mut Problems) -> Option<Field<'t>> {
        let node = self.node?;
        match &node.value {
            Value::Null => None,
            Value::Scalar(text) if text.is_empty() => None,
            Value::Scalar(text) => Some(Field {
                text,
                origin: &node.origin,
                path: self.path.clone(),
            }),
            Value::List(_) | Value::Map(_) => {
                problems.error(
                    &node.origin,
                    format_args!("{}: a single value is expected", self.path),
                );
                None
            }
        }
    }

    /// Returns this section taken as a list of values, without empty ones; one value alone is a list of one.
    pub(super) fn values(&self, problems: &mut Problems) -> Vec<Field<'t>> {
        let elements = self.elements();
        let values = elements.iter().filter_map(|item| item.value(problems));
        values.collect()
    }

    /// Returns this section taken as a list, each element as a section, empty ones too; anything but null alone is a
    /// list of one.
    pub(super) fn elements(&self) -> Vec<Section<'t>> {
        let Some(node) = self.node else {
            return Vec::new();
        };
        let item = |(index, node)| Section {
            node: Some(node),
            path: format!("{}[{index}]", self.path),
        };
        match &node.value {
            Value::Null => Vec::new(),
            Value::List(items) => items.iter().enumerate().map(item).collect(),
            Value::Scalar(_) | Value::Map(_) => vec![Section {
                node: Some(node),
                path: self.path.clone(),
            }],
        }
    }

    /// Returns the value of a key, if one is set.
    pub(super) fn field(&self, key: &str, problems: &mut Problems) -> Option<Field<'t>> {
        self.section(key).value(problems)
    }

    /// Returns the parsed value of a key, if one is set and right.
    pub(super) fn parse<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.field(key, problems)?.parse(problems, parse)
    }

    /// Returns a switch; false where it is not set.
    pub(super) fn switch(&self, key: &str, problems: &mut Problems) -> bool {
        self.parse(key, problems, switch).unwrap_or_default()
    }

    /// Notes what is wrong with this section as a whole.
    pub(super) fn error(&self, problems: &mut Problems, reason: &str) {
        if let Some(node) = self.node {
            problems.error(&node.origin, format_args!("{}: {reason}", self.path));
        }
    }
}

/// Reads a switch in any spelling of YAML 1.1, which is what Distribution takes.
///
/// # Errors
/// Returns what was expected.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Ok(true),
        "false" | "no" | "n" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}
