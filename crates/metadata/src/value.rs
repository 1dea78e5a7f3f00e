//! Parameters and results of SQL, the same for every engine. Getters check the stored type and name the column
//! they could not read; they never panic on what the database holds.

use std::sync::Arc;

use oci::{Digest, RepositoryName};

use crate::error::{Error, Result};

/// One SQL value. Booleans travel as 0 and 1, instants as microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// A size, an offset or a limit. Engines have no numbers beyond `i64`; no blob is that large, but a manifest can
/// state such a size and a caller such a limit.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Blob(value.to_vec())
    }
}

impl From<&Digest> for Value {
    fn from(value: &Digest) -> Self {
        Self::Blob(value.to_row())
    }
}

impl From<&RepositoryName> for Value {
    fn from(value: &RepositoryName) -> Self {
        Self::Text(value.as_str().to_owned())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of a result.
#[derive(Debug)]
pub(crate) struct Row {
    values: Vec<Value>,
    /// The column names, comma-separated: one allocation for a whole result, read only to word an error.
    columns: Arc<str>,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>, columns: Arc<str>) -> Self {
        Self { values, columns }
    }

    /// Returns the values alone.
    #[cfg(test)]
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Returns every column with its value.
    #[cfg(test)]
    pub(crate) fn cells(&self) -> Vec<(String, Value)> {
        let names = self.columns.split(',').map(str::to_owned);
        names.zip(self.values.iter().cloned()).collect()
    }

    fn wrong(&self, index: usize, expected: &str) -> Error {
        let column = self
            .columns
            .split(',')
            .nth(index)
            .unwrap_or("a column that was not asked for");
        Error::corrupt(format!("{column} is not {expected}"))
    }

    pub(crate) fn opt_i64(&self, index: usize) -> Result<Option<i64>> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Int(value)) => Ok(Some(*value)),
            _ => Err(self.wrong(index, "an integer")),
        }
    }

    pub(crate) fn i64(&self, index: usize) -> Result<i64> {
        self.opt_i64(index)?
            .ok_or_else(|| self.wrong(index, "an integer"))
    }

    /// Returns a size or an offset.
    pub(crate) fn u64(&self, index: usize) -> Result<u64> {
        u64::try_from(self.i64(index)?).map_err(|_| self.wrong(index, "zero or more"))
    }

    pub(crate) fn bool(&self, index: usize) -> Result<bool> {
        Ok(self.i64(index)? != 0)
    }

    pub(crate) fn opt_text(&self, index: usize) -> Result<Option<&str>> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            _ => Err(self.wrong(index, "text")),
        }
    }

    pub(crate) fn text(&self, index: usize) -> Result<&str> {
        self.opt_text(index)?
            .ok_or_else(|| self.wrong(index, "text"))
    }

    pub(crate) fn opt_blob(&self, index: usize) -> Result<Option<&[u8]>> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(None),
            Some(Value::Blob(value)) => Ok(Some(value)),
            _ => Err(self.wrong(index, "bytes")),
        }
    }

    pub(crate) fn blob(&self, index: usize) -> Result<&[u8]> {
        self.opt_blob(index)?
            .ok_or_else(|| self.wrong(index, "bytes"))
    }

    pub(crate) fn opt_digest(&self, index: usize) -> Result<Option<Digest>> {
        let Some(bytes) = self.opt_blob(index)? else {
            return Ok(None);
        };
        Digest::from_row(bytes)
            .map(Some)
            .map_err(|_| self.wrong(index, "a digest"))
    }

    pub(crate) fn digest(&self, index: usize) -> Result<Digest> {
        self.opt_digest(index)?
            .ok_or_else(|| self.wrong(index, "a digest"))
    }

    pub(crate) fn repository_name(&self, index: usize) -> Result<RepositoryName> {
        RepositoryName::parse(self.text(index)?).map_err(|_| self.wrong(index, "a repository name"))
    }

    /// Returns the value that `decode` makes of a small integer, such as a stored enum.
    pub(crate) fn code<T>(&self, index: usize, decode: impl Fn(i64) -> Option<T>) -> Result<T> {
        decode(self.i64(index)?).ok_or_else(|| self.wrong(index, "a value this version knows"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Row, Value};

    #[test]
    fn a_value_of_the_wrong_type_is_corruption_that_names_its_column() {
        let row = Row::new(
            vec![Value::Int(-1), Value::Null, Value::Blob(vec![9])],
            Arc::from("size,name,digest"),
        );
        let message = |error: crate::Error| error.to_string();
        assert_eq!(
            message(row.u64(0).expect_err("negative")),
            "the metadata database is corrupt: size is not zero or more"
        );
        assert_eq!(
            message(row.text(1).expect_err("null")),
            "the metadata database is corrupt: name is not text"
        );
        assert_eq!(
            message(row.digest(2).expect_err("short")),
            "the metadata database is corrupt: digest is not a digest"
        );
        assert!(
            row.i64(3).is_err(),
            "a column past the end is an error, not a panic"
        );
        assert_eq!(row.opt_text(1).expect("null is allowed"), None);
    }
}
