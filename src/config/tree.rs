//! A configuration as read, before it is typed: nodes that remember the line or the variable they came from.
//! Values may be secrets, so nodes have no `Debug` and nothing here prints one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a key or value was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A line of the configuration file, counted from one.
    File {
        /// The file as the user named it.
        file: Arc<Path>,
        /// The line, counted from one.
        line: u64,
    },
    /// An environment variable.
    Variable(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What a node holds. Scalars stay text as written, so `0.10` and `007` are not mangled before their type is known.
#[derive(Clone)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) node: Node,
}

/// A step from a node to one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key, compared without regard to case.
    Key(String),
    /// An element of a list, counted from zero.
    Index(usize),
}

impl Node {
    /// Returns the value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// Returns the entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    /// Returns whether nothing is set here: null, empty text, or only such things below.
    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(text) => text.is_empty(),
            Value::List(items) => items.iter().all(Node::is_empty),
            Value::Map(entries) => entries.iter().all(|entry| entry.node.is_empty()),
        }
    }

    /// Returns where the first value that is set below this node was written.
    pub(super) fn first_set(&self) -> &Origin {
        let below = match &self.value {
            Value::Null | Value::Scalar(_) => None,
            Value::List(items) => items.iter().find(|item| !item.is_empty()),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| &entry.node)
                .find(|node| !node.is_empty()),
        };
        below.map_or(&self.origin, Node::first_set)
    }

    /// Turns `storage: filesystem` and its like into a mapping with that one driver, without parameters.
    pub(super) fn expand_shorthand(&mut self) {
        if let Value::Scalar(driver) = &self.value
            && !driver.is_empty()
        {
            let node = Node {
                value: Value::Null,
                origin: self.origin.clone(),
            };
            let entry = Entry {
                key: driver.clone(),
                origin: self.origin.clone(),
                node,
            };
            self.value = Value::Map(vec![entry]);
        }
    }

    /// Returns the value of a key for change, creating it, and this mapping, where they are missing.
    ///
    /// # Errors
    /// Returns what stands in the way when this is neither a mapping nor empty.
    pub(super) fn key_mut(&mut self, key: &str, origin: &Origin) -> Result<&mut Node, String> {
        if matches!(self.value, Value::Null) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else {
            return Err(format!(
                "{} is not a mapping, so nothing can be set below it",
                self.origin
            ));
        };
        let found = entries
            .iter()
            .position(|entry| entry.key.eq_ignore_ascii_case(key));
        let index = found.unwrap_or_else(|| {
            let node = Node {
                value: Value::Null,
                origin: origin.clone(),
            };
            entries.push(Entry {
                key: key.to_owned(),
                origin: origin.clone(),
                node,
            });
            entries.len() - 1
        });
        Ok(&mut entries[index].node)
    }

    /// Returns the node at the end of `steps` for change, creating what is missing on the way.
    ///
    /// # Errors
    /// Returns the reason when a value stands in the way or an index leaves a gap in a list.
    pub(super) fn at_mut(&mut self, steps: &[Step], origin: &Origin) -> Result<&mut Node, String> {
        let mut node = self;
        for step in steps {
            node = match step {
                Step::Key(key) => node.key_mut(key, origin)?,
                Step::Index(index) => node.item_mut(*index, origin)?,
            };
        }
        Ok(node)
    }

    fn item_mut(&mut self, index: usize, origin: &Origin) -> Result<&mut Node, String> {
        if matches!(self.value, Value::Null) {
            self.value = Value::List(Vec::new());
        }
        let Value::List(items) = &mut self.value else {
            return Err(format!(
                "{} is not a list, so it has no element {index}",
                self.origin
            ));
        };
        if index > items.len() {
            return Err(format!(
                "index {index} leaves a gap: the list has {} elements, so the next index is {}",
                items.len(),
                items.len()
            ));
        }
        if index == items.len() {
            items.push(Node {
                value: Value::Null,
                origin: origin.clone(),
            });
        }
        Ok(&mut items[index])
    }
}
