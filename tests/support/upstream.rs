//! A registry to mirror from: a real HTTP server on a port of its own that counts what it is asked,
//! misbehaves when told to, dies and comes back at the same address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::images::Content;
use super::upstream_answers::{answer, lock, next_token};
use super::upstream_plan::{Admission, Fault, Kind, Plan, Seen, TokenRules};

pub(crate) use super::upstream_answers::basic;

/// A fake registry.
#[derive(Debug)]
pub(crate) struct FakeUpstream {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    /// Never listens; keeps the port ours while the upstream is dead.
    _reservation: TcpSocket,
    server: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl FakeUpstream {
    /// Starts an empty upstream.
    pub(crate) async fn start() -> Self {
        let upstream = Self::dead();
        upstream.come_back().await;
        upstream
    }

    /// Reserves an address where connections are refused until [`Self::come_back`].
    pub(crate) fn dead() -> Self {
        let reservation = socket();
        reservation
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("the system has a free port");
        Self {
            address: reservation.local_addr().expect("a bound socket has one"),
            plan: Arc::new(Mutex::new(Plan::new())),
            _reservation: reservation,
            server: Mutex::new(None),
        }
    }

    /// Stops: connections break, new ones are refused.
    pub(crate) async fn die(&self) {
        let server = self.server.lock().expect("no story panics here").take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
    }

    /// Starts (again) at the same address with what it held.
    pub(crate) async fn come_back(&self) {
        self.die().await;
        let socket = socket();
        socket
            .bind(self.address)
            .expect("the reservation shares its port");
        let listener = socket.listen(1024).expect("nobody else listens there");
        let server = tokio::spawn(serve(listener, self.plan.clone(), self.url()));
        *self.server.lock().expect("no story panics here") = Some(server);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the plan to change it or to look something up.
    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    /// Takes content in and tags its top.
    pub(crate) fn hold(&self, repository: &str, content: &Content, tags: &[&str]) {
        let mut plan = self.plan();
        let held = plan.repositories.entry(repository.to_owned()).or_default();
        for blob in &content.blobs {
            held.blobs.insert(blob.digest.clone(), blob.bytes.clone());
        }
        for manifest in &content.manifests {
            let entry = (manifest.media_type.clone(), manifest.bytes.clone());
            held.manifests.insert(manifest.digest.clone(), entry);
        }
        for tag in tags {
            let digest = content.top().digest.clone();
            held.tags.insert((*tag).to_owned(), digest);
        }
    }

    /// Forgets a repository.
    pub(crate) fn forget(&self, repository: &str) {
        self.plan().repositories.remove(repository);
    }

    /// Misbehaves so at the next request of that kind (several: one after the other).
    pub(crate) fn next(&self, kind: Kind, fault: Fault) {
        self.plan().next(kind, fault);
    }

    /// Misbehaves so at every request of that kind.
    pub(crate) fn always(&self, kind: Kind, fault: Fault) {
        self.plan().always(kind, fault);
    }

    /// Answers this status to everything but tokens.
    pub(crate) fn refuse_everything(&self, status: u16, headers: &[(&'static str, &str)]) {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        for kind in [
            Kind::Ping,
            Kind::ManifestHead,
            Kind::ManifestGet,
            Kind::BlobHead,
            Kind::BlobGet,
            Kind::Tags,
            Kind::Referrers,
        ] {
            self.always(kind, Fault::Answer(status, headers.clone(), String::new()));
        }
    }

    pub(crate) fn heal(&self) {
        self.plan().heal();
    }

    pub(crate) fn require_tokens(&self, rules: TokenRules) {
        self.plan().admission = Admission::Token(rules);
    }

    /// Stops honouring every token handed out so far.
    pub(crate) fn revoke_tokens(&self) {
        self.plan().first_valid_token = next_token();
    }

    /// Counts the requests of one kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.seen(kind).len()
    }

    /// Counts every request.
    pub(crate) fn total(&self) -> usize {
        self.plan().seen.len()
    }

    /// Returns the requests of one kind in order.
    pub(crate) fn seen(&self, kind: Kind) -> Vec<Seen> {
        let plan = self.plan();
        let of_kind = plan.seen.iter().filter(|seen| seen.kind == kind);
        of_kind.cloned().collect()
    }

    pub(crate) fn blob_bytes_sent(&self) -> u64 {
        self.plan().blob_bytes_sent
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        if let Ok(mut server) = self.server.lock()
            && let Some(server) = server.take()
        {
            server.abort();
        }
    }
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("the system has sockets");
    socket
        .set_reuseport(true)
        .expect("Linux shares ports within one user");
    socket
        .set_reuseaddr(true)
        .expect("an address may be taken again at once");
    socket
}

async fn serve(listener: TcpListener, plan: Arc<Mutex<Plan>>, origin: String) {
    let mut connections = JoinSet::new(); // dropped with this task: its connections break
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (plan, origin) = (plan.clone(), origin.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (plan, origin) = (plan.clone(), origin.clone());
                async move { Ok::<_, Infallible>(answer(&plan, &origin, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
