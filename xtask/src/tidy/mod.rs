//! `cargo xtask tidy`: the house rules that neither rustc nor clippy can see.
//! Each rule is one file; a rule takes a parsed file and returns what is wrong with it. None may change a file.

mod arrows;
mod docs;
mod globs;
mod rooms;
mod run;
mod sizes;
mod source;
mod tokens;

pub(crate) use run::run;
