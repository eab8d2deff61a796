//! The HTTP client of probes and notifiers: a new connection each time, every stage stamped, everything bounded.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::{HeaderMap, body::Bytes};
use lapwing_core::{
    monitor::{Family, Source},
    observation::Fault,
};
use url::Url;

use crate::{
    Certificate, Net, ProxyUrl, TlsSettings, exchange,
    proxy::{basic_authorization, user_info},
};

/// What is asked.
#[derive(Clone)]
pub struct HttpRequest {
    /// `GET`
    pub method: String,
    pub url: Url,
    /// Sent as they are to the origin of `url`; they replace the default headers of the same name.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Headers of a request that go along when a redirect leads to another origin. All others may hold a secret.
pub const WELCOME_ANYWHERE: [&str; 6] = [
    "accept",
    "accept-language",
    "content-encoding",
    "content-language",
    "content-type",
    "user-agent",
];

/// Which version of HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/2 where the peer offers it (ALPN), otherwise HTTP/1.1.
    #[default]
    Auto,
    Http1,
    /// HTTP/2 alone; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
}

/// How it is asked.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub tls: TlsSettings,
    pub family: Family,
    pub source: Source,
    /// Limit of each name resolution: silence of every resolver for so long is ours, so it should be less than what
    /// the caller allows for the whole (80 % of it). Default 1.6 s.
    pub resolve_timeout: Duration,
    /// Limit of each connect. Default 2 s.
    pub connect_timeout: Duration,
    /// Most bytes of the answer's body that are kept; reading stops there, and the answer says that it is truncated.
    /// Default 1 MiB.
    pub max_body: usize,
    /// Most redirects that are followed; 0 gives the redirect itself as answer. Default 0.
    pub redirects: u32,
    pub version: HttpVersion,
    pub proxy: Option<ProxyUrl>,
    /// The one address that is asked for the host of the first URL.
    pub only: Option<IpAddr>,
    /// Tries the name's other addresses when one cannot be connected (notifiers; a probe asks the first alone).
    pub try_others: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            tls: TlsSettings::default(),
            family: Family::Any,
            source: Source::Any,
            resolve_timeout: Duration::from_millis(1600),
            connect_timeout: Duration::from_secs(2),
            max_body: 1 << 20,
            redirects: 0,
            version: HttpVersion::Auto,
            proxy: None,
            only: None,
            try_others: false,
        }
    }
}

/// Is told about each stage as it begins and ends: `resolve`, `connect`, `tls`, `first_byte`, `transfer`.
/// With redirects the stages come again, and their times add up.
pub trait Stages: Send + Sync {
    /// `stage` begins, and the one before it ends.
    fn enter(&self, stage: &'static str);

    /// The open stage ends.
    fn leave(&self);

    /// The peer showed this certificate, good or bad.
    fn certificate(&self, _: &Certificate) {}
}

impl Stages for () {
    fn enter(&self, _: &'static str) {}
    fn leave(&self) {}
}

/// The answer.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    /// `HTTP/1.1`
    pub version: &'static str,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body was longer than `max_body`.
    pub truncated: bool,
    /// Whom we were connected to (the proxy, where there is one).
    pub peer: SocketAddr,
    /// The URL that answered, after all redirects.
    pub url: Url,
    /// Redirects that were followed.
    pub redirects: u32,
    /// A redirect led from https to http.
    pub downgraded: bool,
    /// The certificate of the peer that answered.
    pub certificate: Option<Certificate>,
}

impl Net {
    /// Asks, follows redirects (RFC 9110 section 15.4) and gives the answer. Dropping the future closes everything.
    ///
    /// User and password in the URL become a Basic authorization. The headers of the request may hold secrets: they go
    /// to the origin of the first URL alone. A redirect to another origin takes along only those that name the client
    /// or describe the body ([`WELCOME_ANYWHERE`]), and what was left behind does not come back. Texts of faults hold host and port, never a path, a query or a header.
    pub async fn http(
        &self,
        request: &HttpRequest,
        settings: &HttpSettings,
        stages: &dyn Stages,
    ) -> Result<HttpResponse, Fault> {
        let mut hop = Hop::first(request, settings.only);
        let (mut followed, mut downgraded) = (0, false);
        loop {
            let answer = Box::pin(exchange::ask(self, &hop, settings, stages)).await?;
            let Some(location) = answer.location else {
                return Ok(HttpResponse {
                    status: answer.status,
                    version: answer.version,
                    headers: answer.headers,
                    body: answer.body,
                    truncated: answer.truncated,
                    peer: answer.peer,
                    url: hop.url,
                    redirects: followed,
                    downgraded,
                    certificate: answer.certificate,
                });
            };
            if followed == settings.redirects {
                return Err(Fault::target(
                    "http.redirects",
                    format!("more than {followed} redirects"),
                ));
            }
            followed += 1;
            let next = target(&hop.url, &location)?;
            downgraded |= hop.url.scheme() == "https" && next.scheme() == "http";
            hop.follow(answer.status, next);
        }
    }
}

/// One request on the way to the answer.
pub(crate) struct Hop {
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) only: Option<IpAddr>,
}

impl Hop {
    pub(crate) fn first(request: &HttpRequest, only: Option<IpAddr>) -> Self {
        let HttpRequest {
            method,
            url,
            headers,
            body,
        } = request.clone();
        let mut hop = Self {
            method,
            url,
            headers,
            body: body.into(),
            only,
        };
        if let Some((user, password)) = user_info(&hop.url) {
            if !hop
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            {
                hop.headers.push((
                    "authorization".to_owned(),
                    basic_authorization(&user, &password).expose().to_owned(),
                ));
            }
            without_user(&mut hop.url);
        }
        hop
    }

    /// Makes this the request that a redirect of `status` to `next` asks for.
    fn follow(&mut self, status: u16, next: Url) {
        let to_get = match status {
            303 => self.method != "HEAD",
            301 | 302 => self.method == "POST",
            _ => false,
        };
        if to_get {
            "GET".clone_into(&mut self.method);
            self.body = Bytes::new();
            self.headers
                .retain(|(name, _)| !name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case("content-")));
        }
        if self.url.host() != next.host() {
            self.only = None;
        }
        if !same_origin(&self.url, &next) {
            self.headers
                .retain(|(name, _)| WELCOME_ANYWHERE.iter().any(|w| name.eq_ignore_ascii_case(w)));
        }
        self.url = next;
    }
}

/// Where a redirect from `url` leads.
fn target(url: &Url, location: &[u8]) -> Result<Url, Fault> {
    let bad = || Fault::target("http.redirects", "redirect to an address that cannot be read");
    let location = std::str::from_utf8(location).map_err(|_| bad())?;
    let mut next = url.join(location.trim()).map_err(|_| bad())?;
    if !matches!(next.scheme(), "http" | "https") || !next.has_host() {
        let scheme = lapwing_core::observation::clean(next.scheme(), 20);
        return Err(Fault::target(
            "http.redirects",
            format!("redirect to {scheme}, which is not followed"),
        ));
    }
    without_user(&mut next);
    Ok(next)
}

/// The same host, scheme and port; a step from http to https on the usual ports stays at home too.
fn same_origin(a: &Url, b: &Url) -> bool {
    let upgraded = (a.scheme(), b.scheme()) == ("http", "https") && a.port().is_none() && b.port().is_none();
    let same = a.scheme() == b.scheme() && a.port_or_known_default() == b.port_or_known_default();
    a.host() == b.host() && (same || upgraded)
}

fn without_user(url: &mut Url) {
    // Both fail only for URLs without a host, which hold no user.
    let _host_less = url.set_username("").and_then(|()| url.set_password(None));
}

#[cfg(test)]
mod tests;
