//! What holds for the whole room.

mod error_table;
