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

    /// Returns the principal of whoever can open the socket in the state directory.
    pub fn administrator() -> Self {
        Self("socket:administrator".to_owned())
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
    /// The address of the peer; `None` for the local socket and Seawall's own work.
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

    /// Returns who counts towards limits per client: the principal or, without credentials, the address of the peer.
    pub fn client(&self) -> String {
        match self.address {
            Some(address) if self.principal == Principal::anonymous() => {
                address.to_canonical().to_string()
            }
            Some(_) | None => self.principal.to_string(),
        }
    }

    /// Returns the caller of a request that came through the socket in the state directory.
    pub fn administrator() -> Self {
        Self {
            principal: Principal::administrator(),
            address: None,
        }
    }
}

/// Tells whether `caller` may do every one of `wanted`.
///
/// No authentication driver is configurable yet (a configuration that asks for one is refused at start),
/// so everyone may pull, push and delete; only the administrator may manage the server.
pub fn authorize(caller: &Caller, wanted: &[(Resource, Action)]) -> bool {
    wanted.iter().all(|(_, action)| match action {
        Action::Pull | Action::Push | Action::Delete => true,
        Action::Administer => caller.principal == Principal::administrator(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use oci::{Action, Resource};

    use super::{Caller, authorize};

    #[test]
    fn strangers_count_by_their_address_and_others_by_who_they_are() {
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        for address in [Ipv4Addr::new(192, 0, 2, 7).into(), mapped.into()] {
            assert_eq!(Caller::anonymous(address).client(), "192.0.2.7");
        }
        let known = Caller {
            address: Some(Ipv4Addr::LOCALHOST.into()),
            ..Caller::administrator()
        };
        assert_eq!(known.client(), "socket:administrator");
    }

    #[test]
    fn nobody_manages_the_server_but_its_administrator() {
        let stranger = Caller::anonymous(Ipv4Addr::LOCALHOST.into());
        let manage = (Resource::Server, Action::Administer);
        let pull = (Resource::Catalog, Action::Pull);
        assert!(authorize(&stranger, std::slice::from_ref(&pull)));
        assert!(!authorize(&stranger, &[pull, manage.clone()]));
        assert!(authorize(&Caller::administrator(), &[manage]));
    }
}
