//! What a fake upstream has been told to do wrong, what it holds and what it has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::gate::Gate;

/// The kinds of request an upstream is asked; counted and broken one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Ping,
    Token,
    ManifestHead,
    ManifestGet,
    BlobHead,
    BlobGet,
    Tags,
    Referrers,
    Other,
}

/// One way to misbehave.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answers with this status, these headers and this body instead.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Says nothing at all until the gate opens, then behaves.
    Silence(Gate),
    /// Sends so many bytes of the body, then nothing until the gate opens.
    StallAt(usize, Gate),
    /// Breaks the connection after so many bytes of the body.
    CutAt(usize),
    /// Answers a Range request with the whole body.
    IgnoreRange,
    /// Sends these bytes instead of the right ones.
    Bytes(Bytes),
    /// Sends these headers too, and these bytes instead of the right ones if there are any.
    Headers(Vec<(&'static str, String)>, Option<Bytes>),
    /// Sends so many zeros, however large the blob is, and does not say how many.
    Unannounced(usize),
    /// Redirects to this origin, same path.
    RedirectTo(String),
}

impl Fault {
    /// Returns the fault of answering a bare status.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }
}

/// Who is let in.
#[derive(Clone, Debug)]
pub(crate) enum Admission {
    Everybody,
    /// The Bearer dance: a challenge, a token endpoint, a token.
    Token(TokenRules),
    Basic(String, String),
    /// This bearer token and no other, without any dance.
    Bearer(String),
}

/// How the token endpoint behaves.
#[derive(Clone, Debug)]
pub(crate) struct TokenRules {
    /// The JSON field the token comes in.
    pub(crate) field: &'static str,
    pub(crate) expires_in: Option<u64>,
    /// The origin of the realm; the upstream itself without one.
    pub(crate) realm: Option<String>,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            field: "token",
            expires_in: Some(300),
            realm: None,
        }
    }
}

/// How the upstream answers the referrers endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferrersApi {
    Present,
    NotFound,
    Html,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) via: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: HashMap<String, Bytes>,
    pub(crate) manifests: HashMap<String, (String, Bytes)>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Everything an upstream knows, behind one lock that is never held across an await.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) repositories: HashMap<String, Repository>,
    pub(crate) admission: Admission,
    pub(crate) referrers: ReferrersApi,
    pub(crate) digest_header: bool,
    pub(crate) page_size: usize,
    /// The rate limit and what is left of it, as told with every answer.
    pub(crate) ratelimit: Option<(u64, u64)>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) blob_bytes_sent: u64,
    /// Tokens numbered below this are no longer honoured.
    pub(crate) first_valid_token: u64,
    once: HashMap<Kind, VecDeque<Fault>>,
    always: HashMap<Kind, Fault>,
}

impl Plan {
    pub(crate) fn new() -> Self {
        Self {
            repositories: HashMap::new(),
            admission: Admission::Everybody,
            referrers: ReferrersApi::Present,
            digest_header: true,
            page_size: usize::MAX,
            ratelimit: None,
            seen: Vec::new(),
            blob_bytes_sent: 0,
            first_valid_token: 0,
            once: HashMap::new(),
            always: HashMap::new(),
        }
    }

    pub(crate) fn next(&mut self, kind: Kind, fault: Fault) {
        self.once.entry(kind).or_default().push_back(fault);
    }

    pub(crate) fn always(&mut self, kind: Kind, fault: Fault) {
        self.always.insert(kind, fault);
    }

    pub(crate) fn heal(&mut self) {
        self.once.clear();
        self.always.clear();
    }

    pub(crate) fn take_fault(&mut self, kind: Kind) -> Option<Fault> {
        let next = self.once.get_mut(&kind).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.get(&kind).cloned())
    }
}
