//! The way a request has come, as `Via` tells it (RFC 9110 section 7.6.3), so that mirrors which lead to
//! each other notice and refuse instead of asking for ever.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use uuid::Uuid;

/// Most stations that a request may have passed; a longer way goes in circles.
const STATIONS_MAX: usize = 64;
/// Longest chain that is passed on, in bytes.
const CHAIN_MAX: usize = 4096;

/// What one running server calls itself in `Via`; another one after every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Returns a name that no other process has.
    pub fn new() -> Self {
        Self(format!("seawall-{}", Uuid::new_v4().simple()).into())
    }
}

impl Default for InstanceId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stations a request has passed before it came here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// As the header says it; empty for what begins here.
    chain: Arc<str>,
    endless: bool,
}

impl Via {
    /// Returns the way of a request that begins here.
    pub fn none() -> Self {
        Self::default()
    }

    /// Returns the way that these `Via` values tell. One too long to be passed on counts as a loop.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut stations: Vec<&str> = Vec::new();
        let mut length = 0;
        for value in values {
            // What is no ASCII names nobody that could be recognised.
            let Ok(value) = std::str::from_utf8(value) else {
                continue;
            };
            for station in value.split(',').map(str::trim) {
                if station.is_empty() || !station.bytes().all(is_plain) {
                    continue;
                }
                length += station.len() + 2;
                if stations.len() == STATIONS_MAX || length > CHAIN_MAX {
                    return Self {
                        chain: Arc::default(),
                        endless: true,
                    };
                }
                stations.push(station);
            }
        }
        Self {
            chain: stations.join(", ").into(),
            endless: false,
        }
    }

    /// Returns whether no other mirror or proxy is known to have passed the request on.
    pub fn begins_here(&self) -> bool {
        self.chain.is_empty() && !self.endless
    }

    /// Returns whether the request was here before, or has come so far that it goes in circles.
    pub fn names(&self, instance: &InstanceId) -> bool {
        let mut stations = self.chain.split(", ");
        self.endless
            || stations.any(|station| {
                // Protocol, name, perhaps a comment.
                station.split_ascii_whitespace().nth(1) == Some(&*instance.0)
            })
    }

    /// Returns the header of a request that goes on from `instance`.
    pub(super) fn onward(&self, instance: &InstanceId) -> HeaderValue {
        let chain = match &*self.chain {
            "" => format!("1.1 {instance}"),
            chain => format!("{chain}, 1.1 {instance}"),
        };
        HeaderValue::try_from(chain).expect("a header value because only plain bytes are kept")
    }
}

fn is_plain(byte: u8) -> bool {
    byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::{InstanceId, STATIONS_MAX, Via};

    fn via(values: &[&str]) -> Via {
        Via::parse(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn a_server_recognises_itself_and_nobody_else() {
        let (own, other) = (InstanceId::new(), InstanceId::new());
        assert_ne!(own, other);
        for text in [
            format!("1.1 {own}"),
            format!("1.1 cache.example:80 (x),1.1   {own} (comment), HTTP/2 b"),
        ] {
            assert!(via(&[&text]).names(&own), "{text}");
            assert!(via(&["1.0 fred", &text]).names(&own), "{text}");
            assert!(!via(&[&text]).names(&other), "{text}");
        }
        assert!(!Via::none().names(&own) && Via::none().begins_here());
        assert!(!via(&["1.1 a"]).begins_here() && via(&[""]).begins_here());
        assert!(!via(&[&format!("1.1 x{own}")]).names(&own));
    }

    #[test]
    fn the_chain_goes_on_with_the_own_name_at_its_end() {
        let own = InstanceId::new();
        assert_eq!(Via::none().onward(&own), format!("1.1 {own}"));
        let chain = via(&["1.1 a,, 1.1 b (c)", "", "1.0 d"]).onward(&own);
        assert_eq!(chain, format!("1.1 a, 1.1 b (c), 1.0 d, 1.1 {own}"));
        let next = via(&[chain.to_str().expect("ASCII")]);
        assert!(next.names(&own));
    }

    #[test]
    fn an_endless_way_counts_as_a_loop_and_what_is_no_text_is_left_out() {
        let own = InstanceId::new();
        let many = vec!["1.1 a"; STATIONS_MAX].join(",");
        assert!(!via(&[&many]).names(&own));
        assert!(via(&[&many, "1.1 b"]).names(&own));
        assert!(via(&[&"x".repeat(5000)]).names(&own));
        let odd = Via::parse([b"1.1 a\xff, 1.1 b".as_slice(), b"1.1 c\x01, 1.1 d"]);
        assert_eq!(odd, via(&["1.1 d"]));
    }
}
