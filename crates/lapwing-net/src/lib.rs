//! How Lapwing reaches out: resolver, the one connect gate, TLS configurations, HTTP client with phase stamps.
//!
//! Invariant: an error returned by the call itself before a packet left is ours ([`Fault::Ours`]); one that arrives
//! later on the socket is the target's ([`Fault::Target`]).

mod certificate;
mod connect;
mod dns;
mod error;
mod exchange;
mod extension;
mod http;
mod pem;
mod proxy;
mod resolve;
mod system;
#[cfg(test)]
mod testkit;
mod tls;
mod watch;

pub use certificate::Certificate;
pub use connect::{Policy, raise_descriptor_limit};
pub use error::{Moment, fault_of};
pub use http::{HttpRequest, HttpResponse, HttpSettings, HttpVersion, Stages, WELCOME_ANYWHERE};
pub use hyper::HeaderMap;
pub use pem::TlsConfigError;
pub use proxy::{BadProxy, ProxyUrl, basic_authorization};
pub use tls::{ClientCert, Tls, TlsFailure, TlsSettings};
pub use tokio_rustls::client::TlsStream;
pub use url::Url;

use std::{net::SocketAddr, sync::Arc};

use lapwing_core::{observation::Fault, time::Clock};

use extension::Extensions;
use resolve::Resolver;
use system::Files;
use tls::TlsCache;

/// The way to the network, shared by all probes and notifiers. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    clock: Arc<dyn Clock>,
    policy: Policy,
    resolver: Arc<Resolver>,
    tls: Arc<TlsCache>,
    extensions: Arc<Extensions>,
}

impl Net {
    /// Uses the system's resolver configuration, which is read when the first name is resolved.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let resolver = Resolver::from_files(clock.clone(), Files::default());
        Self::with(clock, resolver)
    }

    /// Asks these name servers alone (UDP, then TCP for long answers): no `/etc/resolv.conf`, no `/etc/hosts`.
    pub fn with_resolvers(clock: Arc<dyn Clock>, servers: Vec<SocketAddr>) -> Self {
        let resolver = Resolver::fixed(clock.clone(), servers);
        Self::with(clock, resolver)
    }

    fn with(clock: Arc<dyn Clock>, resolver: Resolver) -> Self {
        let tls = TlsCache::new(clock.clone());
        Self {
            clock,
            policy: allow_all,
            resolver: Arc::new(resolver),
            tls: Arc::new(tls),
            extensions: Arc::default(),
        }
    }

    /// Puts `policy` before every connect and every UDP socket of this `Net` and its clones made from now on, except
    /// those to the name servers of this machine's own configuration.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a policy")]
fn allow_all(_: SocketAddr) -> Result<(), Fault> {
    Ok(())
}
