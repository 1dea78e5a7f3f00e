//! Listening: addresses, the accept loop with its cap, and the drain at the end.
//! It must never spin when the process is out of file descriptors, nor leave a client without an
//! answer while there is one to spare.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::connection::{self, Handler, Limits, PeerInfo, Stage};
use super::socket::{LocalSocket, SocketFile};

/// How long the accept loop waits when the process or the machine is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most bytes that wait in the kernel before they are sent. By itself Linux says that a socket
/// takes more only when a third of its buffer, which may be megabytes, is free: a slow client would
/// look like one that takes nothing. Smaller values cost system calls on fast connections.
#[cfg(target_os = "linux")]
pub(super) const UNSENT_BYTES: u32 = 64 * 1024;

/// Connections over the cap that are being told so; more are dropped without a word.
const REFUSALS: usize = 64;
/// The time a refused client has to read its answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(super) const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Type: application/json\r\nContent-Length: 69\r\n\r\n\
    {\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"too many connections\"}]}\n";

/// Opens listeners for `:port` (every interface, IPv6 and IPv4, or IPv4 alone where IPv6 is off) or
/// `host:port` (the first of the host's addresses that can be had, IPv4 first).
///
/// # Errors
/// Says which address could not be listened on and why; `InvalidInput` when it is not an address.
pub fn bind(address: &str) -> io::Result<Vec<StdListener>> {
    let listeners = match split_address(address) {
        Some(("", port)) => bind_everywhere(port),
        Some((host, port)) => bind_host(host, port).map(|listener| vec![listener]),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "write it as host:port or :port",
        )),
    };
    listeners.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']')?, port)),
        None if host.contains(':') => None, // a bare IPv6 address: where would its port begin?
        None => Some((host, port)),
    }
}

fn bind_everywhere(port: u16) -> io::Result<Vec<StdListener>> {
    let both = match StdListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) if is_ipv6_off(&error) => {
            return Ok(vec![StdListener::bind((Ipv4Addr::UNSPECIFIED, port))?]);
        }
        Err(error) => return Err(error),
    };
    // Where net.ipv6.bindv6only is set, IPv4 needs a listener of its own; elsewhere it is taken.
    match StdListener::bind((Ipv4Addr::UNSPECIFIED, both.local_addr()?.port())) {
        Ok(ipv4) => Ok(vec![both, ipv4]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(vec![both]),
        Err(error) => Err(error),
    }
}

fn is_ipv6_off(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_host(host: &str, port: u16) -> io::Result<StdListener> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    StdListener::bind(addresses.as_slice())
}

/// A running server. Dropping it stops everything at once; [`Server::drain`] is the polite way.
#[derive(Debug)]
pub struct Server {
    stage: watch::Sender<Stage>,
    addresses: Vec<SocketAddr>,
    socket: Option<SocketFile>,
}

impl Server {
    /// Starts accepting on the current Tokio runtime.
    ///
    /// # Errors
    /// When a listener cannot be handed to the runtime.
    pub fn start(
        listeners: Vec<StdListener>,
        handler: Handler,
        limits: Limits,
    ) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(StdListener::local_addr)
            .collect::<Result<_, _>>()?;
        let listeners = listeners
            .into_iter()
            .map(|listener| {
                listener.set_nonblocking(true)?;
                let at = listener.local_addr()?.ip().to_canonical();
                Ok((TcpListener::from_std(listener)?, at))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (stage, stages) = watch::channel(Stage::Serving);
        let accept = move |cx: &mut Context<'_>| poll_accept(&listeners, cx);
        tokio::spawn(accept_loop(accept, handler, affordable(limits), stages));
        Ok(Self {
            stage,
            addresses,
            socket: None,
        })
    }

    /// Starts accepting on a Unix socket, whose file goes when the server stops. Its connections are
    /// counted on their own: clients of the network keep nobody out here.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub fn start_local(socket: LocalSocket, handler: Handler, limits: Limits) -> io::Result<Self> {
        let LocalSocket { listener, file } = socket;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let (stage, stages) = watch::channel(Stage::Serving);
        let accept = move |cx: &mut Context<'_>| {
            let accepted = listener.poll_accept(cx);
            accepted.map_ok(|(stream, _)| (stream, PeerInfo::Socket))
        };
        tokio::spawn(accept_loop(accept, handler, affordable(limits), stages));
        Ok(Self {
            stage,
            addresses: Vec::new(),
            socket: Some(file),
        })
    }

    /// Returns the addresses listened on, with the port the system chose where it was 0; none for a
    /// Unix socket.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, closes idle connections at once and lets running requests finish for up to
    /// `time`, then cuts what is left. Returns how many connections were cut.
    pub async fn drain(mut self, time: Duration) -> usize {
        drop(self.socket.take());
        self.stage.send_replace(Stage::Draining);
        if timeout(time, self.stage.closed()).await.is_ok() {
            return 0;
        }
        let cut = self.stage.receiver_count();
        self.stage.send_replace(Stage::Cut);
        self.stage.closed().await;
        cut
    }
}

fn affordable(limits: Limits) -> Limits {
    Limits {
        connections: connection_cap(limits.connections, open_files()),
        ..limits
    }
}

/// Returns the soft limit on open files, `None` when there is none.
fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Returns how many connections to serve. A request may hold a file or an upstream connection open
/// beside its own, so connections get half of the descriptors.
pub(super) fn connection_cap(wanted: usize, open_files: Option<u64>) -> usize {
    let affordable = open_files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    wanted.min(affordable).clamp(1, Semaphore::MAX_PERMITS)
}

pub(super) fn poll_accept(
    listeners: &[(TcpListener, IpAddr)],
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, PeerInfo)>> {
    for (listener, at) in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(accepted.map(|(stream, addr)| {
                // Without it small answers may wait for the peer's delayed acknowledgement; a
                // socket that refuses an option still works.
                let _ = stream.set_nodelay(true);
                #[cfg(target_os = "linux")]
                let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
                let peer = PeerInfo::Tcp {
                    addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()),
                    listener: *at,
                };
                (stream, peer)
            }));
        }
    }
    Poll::Pending
}

/// Accepts until the stage changes. What accepts is a parameter, so that a test can fail it.
pub(super) async fn accept_loop<IO>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(IO, PeerInfo)>>,
    handler: Handler,
    limits: Limits,
    mut stages: watch::Receiver<Stage>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut is_failing = false;
    let mut is_full = false;
    let connection_stages = stages.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stages.wait_for(|stage| *stage != Stage::Serving) => return,
            accepted = poll_fn(&mut poll_accept) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if !is_failing {
                    tracing::error!(%error, "cannot accept connections, trying on");
                }
                is_failing = true;
                tokio::select! {
                    biased;
                    _ = stages.wait_for(|stage| *stage != Stage::Serving) => return,
                    () = sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        is_failing = false;
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            is_full = false;
            let served = connection::serve(
                stream,
                peer,
                Arc::clone(&handler),
                limits,
                connection_stages.clone(),
            );
            tokio::spawn(async move {
                served.await;
                drop(place);
            });
            continue;
        }
        if !is_full {
            tracing::warn!(
                limit = limits.connections,
                "too many connections, refusing more"
            );
        }
        is_full = true;
        if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::spawn(async move {
                // Whether the client took its time or broke off, the connection ends.
                let _ = timeout(REFUSAL_TIME, refuse(stream)).await;
                drop(place);
            });
        }
    }
}

/// Errors that Linux reports at accept but that belong to the connection that was not accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Tells a client that there is no place for it, and hears it out so that it can read that.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
