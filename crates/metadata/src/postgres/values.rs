//! Values between the program and PostgreSQL. The tables hold BIGINT, TEXT and BYTEA only; what a query computes may be
//! a smaller number or a truth value, which travels as 0 or 1.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::Statement;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::error::{Error, Result};
use crate::value::{Row, Value};

type Mistake = Box<dyn StdError + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Mistake> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *kind == Type::INT8 => value.to_sql(kind, out),
            Self::Int(value) if *kind == Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
            Self::Text(value) if *kind == Type::TEXT => value.to_sql(kind, out),
            Self::Blob(value) if *kind == Type::BYTEA => value.to_sql(kind, out),
            Self::Int(_) | Self::Text(_) | Self::Blob(_) => {
                Err(format!("a parameter of another type than {kind}").into())
            }
        }
    }

    // Whether a value fits is decided where it is written: a NULL fits everywhere.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Returns the rows of an answer in the program's terms.
pub(super) fn rows(statement: &Statement, found: &[tokio_postgres::Row]) -> Result<Vec<Row>> {
    let names: Vec<&str> = statement.columns().iter().map(|c| c.name()).collect();
    let columns: Arc<str> = Arc::from(names.join(","));
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let values = (0..row.len()).map(|index| value(row, index));
        rows.push(Row::new(
            values.collect::<Result<Vec<Value>>>()?,
            columns.clone(),
        ));
    }
    Ok(rows)
}

fn value(row: &tokio_postgres::Row, index: usize) -> Result<Value> {
    let column = &row.columns()[index];
    let kind = column.type_();
    let read = if *kind == Type::INT8 {
        row.try_get::<_, Option<i64>>(index).map(Value::from)
    } else if *kind == Type::INT4 {
        let number = row.try_get::<_, Option<i32>>(index);
        number.map(|value| value.map(i64::from).into())
    } else if *kind == Type::BOOL {
        let truth = row.try_get::<_, Option<bool>>(index);
        truth.map(|value| value.map(i64::from).into())
    } else if *kind == Type::TEXT {
        row.try_get::<_, Option<&str>>(index).map(Value::from)
    } else if *kind == Type::BYTEA {
        row.try_get::<_, Option<&[u8]>>(index).map(Value::from)
    } else {
        return Err(Error::corrupt(format!(
            "{} is of type {kind}",
            column.name()
        )));
    };
    read.map_err(|error| Error::corrupt(format!("{} cannot be read: {error}", column.name())))
}
