//! The identity behind one request and the single question asked of it. Every `registry` function takes
//! a [`Caller`]; nothing else in the program decides who someone is.

use std::fmt;
use std::net::IpAddr;

use oci::{Action, Resource};

/// A principal as it is stored: `anonymous`, or `realm:subject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(String);

impl Principal {
    /// Returns the principal of a request without credentials.
    pub fn anonymous() -> Self {
        Self("anonymous".to_owned())
    }

    /// Returns the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who makes a request, from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The identity.
    pub principal: Principal,
    /// The address of the peer; `None` for Seawall's own work.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// Returns the caller of a request without credentials from `address`.
    pub fn anonymous(address: IpAddr) -> Self {
        Self {
            principal: Principal::anonymous(),
            address: Some(address),
        }
    }
}

/// Tells whether `caller` may do every one of `wanted`.
///
/// No authentication driver is configurable yet (a configuration that asks for one is refused at start),
/// so everyone may do everything; the gate asks all the same, with the parsed resource.
pub fn authorize(_caller: &Caller, _wanted: &[(Resource, Action)]) -> bool {
    true
}
