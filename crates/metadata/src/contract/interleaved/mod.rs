//! Every two writing operations at once: whatever statement the first one has come to when the second one runs, the database
//! and both answers are as if one had run after the other. `operations` lists them all, and a test fails when one is missing.

#[cfg(feature = "postgres")]
mod on_postgres;
mod on_sqlite;
mod operations;
mod scenario;
mod tables;
mod verdict;
