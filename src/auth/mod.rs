//! Who is asking, and may they. Knows identities and the actions of `oci::Route::access`; it must never
//! look at URL text, bodies or HTTP statuses.

mod caller;

pub use caller::{Caller, Principal, authorize};
