//! Empty databases of every engine, one for each test.

#[cfg(feature = "postgres")]
pub(crate) mod on_postgres;
pub(crate) mod on_sqlite;
