//! One HTTP request on one new connection: `resolve`, `connect`, `tls`, `first_byte`, `transfer`. It keeps no
//! connection, follows no redirect, decodes no body, and leaves nothing running when it is dropped.

use std::{
    error::Error,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{self, HeaderName, HeaderValue},
    http::uri::{Authority, PathAndQuery, Scheme as UriScheme},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use lapwing_core::{observation::Fault, target::Host, time::short};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use url::Url;

use crate::{
    Certificate, HttpSettings, HttpVersion, Net, ProxyUrl, Stages, TlsSettings,
    error::{at, closed},
    http::Hop,
    proxy::Scheme,
    watch::{End, Watched},
};

/// Longest head of an answer, in bytes.
const HEAD_MAX: usize = 64 << 10;
/// Most header fields of an answer.
const FIELDS_MAX: usize = 100;
/// Most bytes before the head of an answer is complete, interim answers (RFC 9110 section 15.2) included. An engine may
/// have read a part of the body by then: of HTTP/1 less than this in one go, of HTTP/2 the window.
const BEFORE_HEAD: usize = 3 * HEAD_MAX;
/// How far an HTTP/2 peer may send ahead of our reading, in bytes.
const WINDOW: u32 = 256 << 10;

/// The answer to one request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) truncated: bool,
    /// Set where the answer is a redirect that is to be followed; the body is then not read.
    pub(crate) location: Option<Vec<u8>>,
    pub(crate) peer: SocketAddr,
    pub(crate) certificate: Option<Certificate>,
}

/// Asks once.
pub(crate) async fn ask(
    net: &Net,
    hop: &Hop,
    settings: &HttpSettings,
    stages: &dyn Stages,
) -> Result<Answer, Fault> {
    let origin = Origin::of(&hop.url)?;
    let (stream, peer) = reach(net, hop, &origin, settings, stages).await?;
    let talk = Talk {
        hop,
        origin: &origin,
        settings,
        stages,
    };
    if !origin.secure {
        let mut answer = talk
            .over(stream, settings.version == HttpVersion::Http2, peer)
            .await?;
        answer.certificate = None;
        return Ok(answer);
    }
    stages.enter("tls");
    let tls = TlsSettings {
        alpn: protocols(settings),
        ..settings.tls.clone()
    };
    let tls = net
        .tls(&tls)
        .map_err(|e| Fault::ours("ours.other", e.to_string()))?;
    let (stream, certificate) = match net.handshake(stream, &origin.host, &tls).await {
        Ok(done) => done,
        Err(failure) => {
            if let Some(certificate) = &failure.certificate {
                stages.certificate(certificate);
            }
            return Err(failure.fault);
        }
    };
    stages.leave();
    stages.certificate(&certificate);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if settings.version == HttpVersion::Http2 && !http2 {
        return Err(Fault::target("http.version", "peer does not speak HTTP/2"));
    }
    let mut answer = talk.over(stream, http2, peer).await?;
    answer.certificate = Some(certificate);
    Ok(answer)
}

/// Asks over a connection that is there.
#[cfg(test)]
pub(crate) async fn over_connected(stream: TcpStream, request: &crate::HttpRequest) -> Result<Answer, Fault> {
    let hop = Hop::first(request, None);
    let talk = Talk {
        hop: &hop,
        origin: &Origin::of(&hop.url)?,
        settings: &HttpSettings::default(),
        stages: &(),
    };
    let peer = stream.peer_addr().expect("it is connected");
    talk.over(stream, false, peer).await
}

/// Host, port and whether TLS is spoken.
struct Origin {
    host: Host,
    port: u16,
    secure: bool,
}

impl Origin {
    fn of(url: &Url) -> Result<Self, Fault> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Fault::ours("ours.other", "only http and https are spoken here")),
        };
        let host = url.host_str().and_then(|host| Host::parse(host).ok());
        match (host, url.port_or_known_default()) {
            (Some(host), Some(port)) => Ok(Self { host, port, secure }),
            _ => Err(Fault::ours("ours.other", "the URL has no usable host")),
        }
    }

    /// As it stands in `Host`: without the usual port.
    fn authority(&self) -> String {
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            _ => self.with_port(),
        }
    }

    fn with_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn protocols(settings: &HttpSettings) -> Vec<Vec<u8>> {
    if !settings.tls.alpn.is_empty() {
        return settings.tls.alpn.clone();
    }
    match settings.version {
        HttpVersion::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        HttpVersion::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersion::Http2 => vec![b"h2".to_vec()],
    }
}

/// The stages `resolve` and `connect`, through the proxy where there is one.
async fn reach(
    net: &Net,
    hop: &Hop,
    origin: &Origin,
    settings: &HttpSettings,
    stages: &dyn Stages,
) -> Result<(TcpStream, SocketAddr), Fault> {
    let proxy = settings.proxy.as_ref();
    let (host, port) = proxy.map_or((&origin.host, origin.port), |proxy| (&proxy.host, proxy.port));
    let blame = |fault| match proxy {
        Some(proxy) => at(format!("proxy {}:{}", proxy.host, proxy.port), fault),
        None => fault,
    };
    let addresses = if let Some(only) = hop.only.filter(|_| proxy.is_none()) {
        vec![only]
    } else {
        if let Host::Name(_) = host {
            stages.enter("resolve");
        }
        let resolving = net.resolve_within(host, settings.family, settings.resolve_timeout);
        resolving.await.map_err(blame)?
    };
    stages.enter("connect");
    let tries = if settings.try_others { addresses.len() } else { 1 };
    let mut last = Fault::ours("ours.other", "the name has no address");
    for addr in addresses.into_iter().take(tries) {
        let addr = net.socket_address(addr, host, port);
        let connecting = async {
            let mut stream = net.connect(addr, &settings.source).await.map_err(blame)?;
            if let Some(proxy) = proxy.filter(|proxy| !is_absolute(proxy, origin, settings)) {
                proxy
                    .tunnel(&mut stream, &origin.host, origin.port)
                    .await
                    .map_err(blame)?;
            }
            Ok(stream)
        };
        match timeout(settings.connect_timeout, connecting).await {
            Ok(Ok(stream)) => {
                stages.leave();
                return Ok((stream, addr));
            }
            Ok(Err(fault)) => last = fault,
            Err(_) => last = blame(slow_connect(settings.connect_timeout)),
        }
    }
    Err(last)
}

fn slow_connect(limit: Duration) -> Fault {
    Fault::target(
        "timeout.connect",
        format!("no connection within {}", short(limit)),
    )
}

/// True where the proxy gets the whole URL instead of a request for a tunnel (RFC 9112 section 3.2.2).
fn is_absolute(proxy: &ProxyUrl, origin: &Origin, settings: &HttpSettings) -> bool {
    proxy.scheme == Scheme::Http && !origin.secure && settings.version != HttpVersion::Http2
}

/// The stages `first_byte` and `transfer`.
struct Talk<'a> {
    hop: &'a Hop,
    origin: &'a Origin,
    settings: &'a HttpSettings,
    stages: &'a dyn Stages,
}

impl Talk<'_> {
    async fn over<S>(&self, stream: S, http2: bool, peer: SocketAddr) -> Result<Answer, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request(http2)?;
        self.stages.enter("first_byte");
        let most = if http2 {
            BEFORE_HEAD + 2 * WINDOW as usize
        } else {
            BEFORE_HEAD
        };
        let (stream, end) = Watched::new(stream, most);
        let io = TokioIo::new(stream);
        let fault = |error: hyper::Error| fault(&error, &end, http2);
        if http2 {
            let tasks = Tasks::default();
            let (mut sender, connection) = http2::Builder::new(tasks.clone())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_header_list_size(HEAD_MAX as u32)
                .handshake(io)
                .await
                .map_err(fault)?;
            let work = async {
                self.receive(sender.send_request(request).await.map_err(fault)?, peer, &end)
                    .await
            };
            return drive(connection, work, &end, http2).await;
        }
        let mut builder = http1::Builder::new();
        builder
            .max_headers(FIELDS_MAX)
            .max_header_size(HEAD_MAX)
            .max_buf_size(2 * HEAD_MAX);
        let (mut sender, connection) = builder.handshake(io).await.map_err(fault)?;
        let work = async {
            self.receive(sender.send_request(request).await.map_err(fault)?, peer, &end)
                .await
        };
        drive(connection, work, &end, http2).await
    }

    async fn receive(
        &self,
        response: Response<Incoming>,
        peer: SocketAddr,
        end: &End,
    ) -> Result<Answer, Fault> {
        end.head_came();
        let (head, mut incoming) = response.into_parts();
        if head.headers.len() > FIELDS_MAX {
            return Err(head_too_large());
        }
        let http2 = head.version == Version::HTTP_2;
        let mut answer = Answer {
            status: head.status.as_u16(),
            version: version(head.version),
            location: self.location(head.status.as_u16(), &head.headers),
            headers: head.headers,
            body: Vec::new(),
            truncated: false,
            peer,
            certificate: None,
        };
        if answer.location.is_some() {
            self.stages.leave();
            return Ok(answer);
        }
        self.stages.enter("transfer");
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| in_body(fault(&error, end, http2)))?;
            let Ok(data) = frame.into_data() else { continue };
            let room = self.settings.max_body - answer.body.len();
            answer.body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                answer.truncated = true;
                break;
            }
        }
        self.stages.leave();
        Ok(answer)
    }

    fn location(&self, status: u16, headers: &HeaderMap) -> Option<Vec<u8>> {
        let followed = self.settings.redirects > 0 && matches!(status, 301 | 302 | 303 | 307 | 308);
        headers
            .get(header::LOCATION)
            .filter(|_| followed)
            .map(|value| value.as_bytes().to_vec())
    }

    fn request(&self, http2: bool) -> Result<Request<Full<Bytes>>, Fault> {
        let bad = |what: &str| Fault::ours("ours.other", format!("the {what} cannot be sent in HTTP"));
        let mut request = Request::new(Full::new(self.hop.body.clone()));
        *request.method_mut() = Method::from_bytes(self.hop.method.as_bytes()).map_err(|_| bad("method"))?;
        for (name, value) in &self.hop.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad("header's name"))?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| bad("header's value"))?;
            value.set_sensitive(true);
            request.headers_mut().append(name, value);
        }
        let authority = match request.headers_mut().remove(header::HOST) {
            Some(host) => host.to_str().map_err(|_| bad("header's value"))?.to_owned(),
            None => self.origin.authority(),
        };
        let proxy = self.settings.proxy.as_ref();
        let proxy = proxy.filter(|proxy| is_absolute(proxy, self.origin, self.settings));
        let whole = if http2 {
            Some(authority.clone())
        } else {
            proxy.map(|_| self.origin.authority())
        };
        *request.uri_mut() = self.uri(whole).ok_or_else(|| bad("URL"))?;
        let mut default = |name: HeaderName, value: &str| {
            if let (false, Ok(value)) = (
                request.headers().contains_key(&name),
                HeaderValue::try_from(value),
            ) {
                request.headers_mut().insert(name, value);
            }
        };
        if !http2 {
            default(header::HOST, &authority);
            // The peer then closes first, and the minute of TIME_WAIT is not ours.
            default(header::CONNECTION, "close");
        }
        default(header::USER_AGENT, concat!("lapwing/", env!("CARGO_PKG_VERSION")));
        default(header::ACCEPT, "*/*");
        default(header::ACCEPT_ENCODING, "identity");
        if let Some(authorization) = proxy.and_then(ProxyUrl::authorization) {
            default(header::PROXY_AUTHORIZATION, authorization.expose());
        }
        Ok(request)
    }

    /// HTTP/1 wants the path alone, or the whole for a proxy; HTTP/2 takes its pseudo-headers from the whole.
    fn uri(&self, authority: Option<String>) -> Option<Uri> {
        let url = &self.hop.url;
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path = PathAndQuery::try_from(path).ok()?;
        let Some(authority) = authority else {
            return Some(path.into());
        };
        let scheme = if self.origin.secure {
            UriScheme::HTTPS
        } else {
            UriScheme::HTTP
        };
        let authority = Authority::try_from(authority).ok()?;
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path)
            .build()
            .ok()
    }
}

/// Polls `connection` as long as `work` needs it; both end together.
async fn drive<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    work: impl Future<Output = T>,
    end: &End,
    http2: bool,
) -> T {
    let (mut connection, mut work) = (pin!(connection), pin!(work));
    let mut ended = false;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if !ended && let Poll::Ready(result) = connection.as_mut().poll(cx) {
            ended = true;
            if let Err(error) = result {
                // To a request that was not sent yet the engine says only that it is cancelled.
                let fault = fault(&error, end, http2);
                end.note(|| fault);
            }
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// Runs what HTTP/2 spawns, until the first clone is dropped.
struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    owner: bool,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            set: Arc::default(),
            owner: true,
        }
    }
}

impl Clone for Tasks {
    fn clone(&self) -> Self {
        Self {
            set: self.set.clone(),
            owner: false,
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if self.owner {
            self.set
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .abort_all();
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(async move { drop(task.await) });
    }
}

fn fault(error: &hyper::Error, end: &End, http2: bool) -> Fault {
    if error.is_parse_too_large() {
        return head_too_large();
    }
    if error.is_parse() {
        return Fault::target("http.malformed", "answer is not HTTP");
    }
    if let Some(fault) = end.fault() {
        return fault;
    }
    if let Some(fault) = http2_fault(error) {
        return fault;
    }
    if error.is_canceled() {
        // The connection is there, but was given up before the request left.
        let detail = if http2 {
            "peer refused the HTTP/2 connection"
        } else {
            // The peer spoke first: SSH, SMTP and FTP do.
            "answer is not HTTP"
        };
        return Fault::target("http.malformed", detail);
    }
    if error.is_incomplete_message() || error.is_closed() {
        return closed();
    }
    Fault::target("http.malformed", "answer is malformed")
}

/// What an error of HTTP/2 itself means (RFC 9113 section 5.4), by its name in section 7.
fn http2_fault(error: &hyper::Error) -> Option<Fault> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    let reason = error.reason()?;
    let what = match (error.is_remote(), error.is_go_away()) {
        (true, true) => "peer refused the HTTP/2 connection",
        (true, false) => "peer refused the HTTP/2 request",
        (false, _) => "answer is not valid HTTP/2",
    };
    Some(Fault::target("http.malformed", format!("{what}: {reason:?}")))
}

/// Says of a closed connection that it closed in the middle.
fn in_body(fault: Fault) -> Fault {
    if fault.reason().code.as_str() == "connect.closed" {
        return Fault::target(
            "connect.closed",
            "peer closed the connection before the answer was complete",
        );
    }
    fault
}

fn head_too_large() -> Fault {
    Fault::target(
        "http.malformed",
        "answer has a head of more than 64 KiB or 100 fields",
    )
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
