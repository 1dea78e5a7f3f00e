//! The value of a Host field, read a byte at a time (RFC 9112 section 3.2, RFC 3986 section 3.2).
//! It must let through nothing that ends a host: no user, no path, no space, no second value.

use super::framing::Refused;

/// A Host value being read: a name or a bracketed IP address, then perhaps a port.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host {
    Leading,
    Name,
    Address,
    AddressEnd,
    Port,
    Trailing,
}

/// What a Host value turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostValue {
    Empty,
    Given,
}

impl Host {
    /// Takes the next byte of the value.
    pub(super) fn push(self, byte: u8) -> Result<Self, Refused> {
        let is_space = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Host::Leading, _) if is_space => Ok(Host::Leading),
            (Host::Name | Host::AddressEnd | Host::Port | Host::Trailing, _) if is_space => {
                Ok(Host::Trailing)
            }
            (Host::Leading, b'[') => Ok(Host::Address),
            (Host::Address, b']') => Ok(Host::AddressEnd),
            // A zone may stand behind the address, so all that a name may hold (RFC 6874).
            (Host::Address, _) if byte == b':' || is_of_name(byte) => Ok(Host::Address),
            (Host::Name | Host::AddressEnd, b':') => Ok(Host::Port),
            (Host::Leading | Host::Name, _) if is_of_name(byte) => Ok(Host::Name),
            (Host::Port, b'0'..=b'9') => Ok(Host::Port),
            _ => Err(Refused),
        }
    }

    /// Returns what the value is at the end of its line.
    pub(super) fn finish(self) -> Result<HostValue, Refused> {
        match self {
            Host::Leading => Ok(HostValue::Empty),
            Host::Address => Err(Refused),
            Host::Name | Host::AddressEnd | Host::Port | Host::Trailing => Ok(HostValue::Given),
        }
    }
}

/// Unreserved characters, sub-delimiters, and the sign of an encoded byte.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte)
}
