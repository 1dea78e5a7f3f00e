//! Pure decisions: facts in, verdict out. Nothing here may do I/O or ask what time it is; the time is
//! an argument.

pub mod eviction;
pub mod freshness;
pub mod negotiation;
pub mod repositories;
