//! The engine for several nodes: PostgreSQL over a few sessions that go round. Writers are SERIALIZABLE and run again
//! when the database says that they met another; readers see one state. What is SQLite's alone must never be asked here.

mod clock;
mod engine;
mod failure;
#[cfg(test)]
pub(crate) mod pause;
mod schema;
mod session;
mod sessions;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod values;

pub(crate) use engine::Engine;
pub(crate) use session::Session;
pub use settings::PostgresSettings;
