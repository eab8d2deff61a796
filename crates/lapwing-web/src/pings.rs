//! HTTP pings: `/ping/<key>` on the listener of `[heartbeat] http`, so that a job is watched with curl.
//!
//! Invariant: a ping is answered with 200 only once it counts, durably. A request is bounded in size and time, and its
//! key stands in no answer, no counter and no log.

mod note;
mod request;

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use lapwing_core::heartbeat::Signal;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    note::{BrokenOff, Note},
    request::{Wanted, wanted},
};

/// What one client, and all together, may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once; further ones wait in the system's queue.
    connections: usize,
    /// Connections at once from one source (an IPv4 address or an IPv6 /64); further ones are closed at once.
    per_source: usize,
    /// For the head of a request.
    head: Duration,
    /// For its body.
    body: Duration,
    /// For a connection from first to last.
    whole: Duration,
}

const LIMITS: Limits = Limits {
    connections: 512,
    per_source: 32,
    head: Duration::from_secs(5),
    body: Duration::from_secs(20),
    whole: Duration::from_secs(45),
};
/// For requests under way at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// Longest head of a request.
const HEAD: usize = 16 * 1024;
/// After an accept that failed, for want of descriptors as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Whose ping it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The key of a series, which is named here by the series' own key.
    Known(Arc<str>),
    /// Nobody's.
    Unknown,
    /// This source has tried too many keys that are nobody's.
    Limited,
}

/// A ping that was read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    pub series: Arc<str>,
    pub signal: Signal,
    pub source: IpAddr,
    /// The end of the body.
    pub note: Option<Arc<str>>,
}

/// Where pings go. The binary implements it over the engine.
pub trait Pings: Send + Sync + 'static {
    /// Looks a key up, for a request from `source`.
    fn admit(&self, key: &str, source: IpAddr) -> Admission;

    /// Hands a ping in; true once it counts, durably. False when it does not, or not soon.
    fn ping(&self, ping: Ping) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// What the listener did so far.
#[derive(Debug, Default)]
pub struct PingCounters {
    /// Pings that count.
    pub counted: AtomicU64,
    pub unknown_key: AtomicU64,
    /// Requests of sources that tried too many keys.
    pub limited: AtomicU64,
    /// Requests that are no pings: path, method, exit status.
    pub not_a_ping: AtomicU64,
    /// Requests that did not end in time, or broke off.
    pub cut_off: AtomicU64,
    /// Pings that could not be made durable in time.
    pub not_counted: AtomicU64,
    /// Connections closed at once because their source had too many.
    pub connections_refused: AtomicU64,
}

impl PingCounters {
    /// Names and values.
    pub fn all(&self) -> [(&'static str, u64); 7] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("counted", get(&self.counted)),
            ("unknown_key", get(&self.unknown_key)),
            ("limited", get(&self.limited)),
            ("not_a_ping", get(&self.not_a_ping)),
            ("cut_off", get(&self.cut_off)),
            ("not_counted", get(&self.not_counted)),
            ("connections_refused", get(&self.connections_refused)),
        ]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Serves pings on `listener` until `stop` turns true. Requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    pings: Arc<dyn Pings>,
    counters: Arc<PingCounters>,
    stop: watch::Receiver<bool>,
) {
    let server = Server {
        pings,
        counters,
        sources: Sources::default(),
        limits: LIMITS,
    };
    serve_as(Arc::new(server), listener, stop).await;
}

async fn serve_as(server: Arc<Server>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(server.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // An error means that the sender is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, source, place)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let Some(seat) = server.sources.seat(source, server.limits.per_source) else {
            count(&server.counters.connections_refused);
            continue;
        };
        let server = Arc::clone(&server);
        connections.spawn(async move {
            let _held = (place, seat);
            server.connection(stream, source).await;
        });
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    drop(timeout(GOODBYE, finished).await);
}

/// Waits for a place, and then for a connection. None when the system refuses one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, peer) = listener.accept().await.ok()?;
    Some((stream, peer.ip().to_canonical(), place))
}

/// Connections of each source.
#[derive(Clone, Debug, Default)]
struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that counts until this is dropped.
struct Seat {
    sources: Sources,
    network: IpAddr,
}

impl Sources {
    fn seat(&self, source: IpAddr, most: usize) -> Option<Seat> {
        let network = network(source);
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(network).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Seat {
            sources: self.clone(),
            network,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.network);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

struct Server {
    pings: Arc<dyn Pings>,
    counters: Arc<PingCounters>,
    sources: Sources,
    limits: Limits,
}

impl Server {
    /// One request. A second one needs a connection of its own, so that no idle one takes a place.
    async fn connection(self: Arc<Self>, stream: TcpStream, source: IpAddr) {
        let counters = Arc::clone(&self.counters);
        let service = service_fn(|request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(request, source).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        if !matches!(timeout(self.limits.whole, connection).await, Ok(Ok(()))) {
            count(&counters.cut_off);
        }
    }

    async fn answer(&self, request: Request<Incoming>, source: IpAddr) -> Response<Full<Bytes>> {
        let counters = &self.counters;
        let (key, signal) = match wanted(request.method(), request.uri().path()) {
            Ok(Wanted { key, signal }) => (key, signal),
            Err(refused) => {
                count(&counters.not_a_ping);
                return refused.response();
            }
        };
        let series = match self.pings.admit(key, source) {
            Admission::Known(series) => series,
            Admission::Unknown => {
                count(&counters.unknown_key);
                return text(StatusCode::NOT_FOUND, "unknown key");
            }
            Admission::Limited => {
                count(&counters.limited);
                return later(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many unknown keys from this address",
                );
            }
        };
        let note = match timeout(self.limits.body, Note::read(request.into_body())).await {
            Ok(Ok(note)) => note,
            Ok(Err(BrokenOff)) | Err(_) => {
                count(&counters.cut_off);
                return text(StatusCode::REQUEST_TIMEOUT, "the body did not end in time");
            }
        };
        let ping = Ping {
            series,
            signal,
            source,
            note: note.text(),
        };
        if self.pings.ping(ping).await {
            count(&counters.counted);
            text(StatusCode::OK, "OK")
        } else {
            count(&counters.not_counted);
            later(StatusCode::SERVICE_UNAVAILABLE, "not recorded, try again")
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn later(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(status, why);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

#[cfg(test)]
mod tests;
