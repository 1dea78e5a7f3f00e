//! The listeners of a running server: the registry's, those that the configuration adds, and the socket in
//! the state directory. It must never refuse to start for want of the socket.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;

use crate::config::Config;
use crate::http::server::{Limits, LocalSocket, Server, bind};
use crate::http::{self, Context, Door};

/// Connections that each listener beside the registry's may have: few people manage and watch a server, and
/// descriptors are for those who pull.
const FEW: usize = 256;

/// Everything that takes connections.
pub(super) struct Listeners {
    registry: Server,
    management: Option<Server>,
    debug: Option<Server>,
    socket: Option<Server>,
}

impl Listeners {
    /// Starts taking connections, on `given` instead of `http.addr` where there is one.
    ///
    /// # Errors
    /// The address that cannot be listened on.
    pub(super) fn start(
        config: &Config,
        given: Option<TcpListener>,
        context: Arc<Context>,
    ) -> anyhow::Result<Self> {
        let registry = match given {
            Some(listener) => vec![listener],
            None => bind_as("http.addr", &config.http.addr)?,
        };
        let at_its_own = config.api.addr.as_ref().filter(|_| config.api.enabled);
        let management = bind_if("api.addr", at_its_own)?;
        let debug = bind_if("http.debug.addr", config.debug.addr.as_ref())?;
        let serve = |listeners, door, limits| {
            let handler = http::handler(Arc::clone(&context), door);
            Server::start(listeners, handler, limits)
        };
        let api = config.api.enabled && config.api.addr.is_none();
        let metrics = config.debug.metrics.clone();
        Ok(Self {
            registry: serve(registry, Door::Registry { api }, Limits::default())?,
            management: management
                .map(|listeners| serve(listeners, Door::Management, few()))
                .transpose()?,
            debug: debug
                .map(|listeners| serve(listeners, Door::Debug { metrics }, few()))
                .transpose()?,
            socket: socket(config, &context),
        })
    }

    /// Returns the address the registry is served on.
    pub(super) fn addr(&self) -> SocketAddr {
        self.registry.addresses()[0]
    }

    /// Returns the address of the management API, if it has one of its own.
    pub(super) fn api_addr(&self) -> Option<SocketAddr> {
        self.management.as_ref()?.addresses().first().copied()
    }

    /// Returns the address of the debug listener, if there is one.
    pub(super) fn debug_addr(&self) -> Option<SocketAddr> {
        self.debug.as_ref()?.addresses().first().copied()
    }

    /// Stops accepting and lets running requests finish within `time`. Returns how many connections had
    /// to be cut.
    pub(super) async fn drain(self, time: Duration) -> usize {
        let rest = [self.management, self.debug, self.socket];
        let all = std::iter::once(self.registry).chain(rest.into_iter().flatten());
        let cut = join_all(all.map(|server| server.drain(time))).await;
        cut.into_iter().sum()
    }
}

fn few() -> Limits {
    Limits {
        connections: FEW,
        ..Limits::default()
    }
}

fn bind_if(key: &str, address: Option<&String>) -> anyhow::Result<Option<Vec<TcpListener>>> {
    address.map(|address| bind_as(key, address)).transpose()
}

fn bind_as(key: &str, address: &str) -> anyhow::Result<Vec<TcpListener>> {
    bind(address).with_context(|| key.to_owned())
}

/// Serves the socket, or warns that it cannot be had.
fn socket(config: &Config, context: &Arc<Context>) -> Option<Server> {
    let path = config.storage.socket();
    let handler = http::handler(Arc::clone(context), Door::Socket);
    let served =
        LocalSocket::bind(&path).and_then(|socket| Server::start_local(socket, handler, few()));
    match served {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(
                path = %path.display(),
                %error,
                "there is no local socket, so `seawall mirror` finds no server here; a shorter --data on a local disk helps"
            );
            None
        }
    }
}
