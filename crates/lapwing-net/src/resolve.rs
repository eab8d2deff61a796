//! Names to addresses: this machine's files, then its name servers, with a cache that forgets in time.
//! It says whose fault a missing answer is, and never waits past the time it was given.

mod flight;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use lapwing_core::{
    monitor::Family,
    observation::Fault,
    target::Host,
    time::{Clock, Mono, short},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Net,
    dns::{self, Answer, Negative},
    system::{Files, System},
};
use flight::{Flights, Seat};

/// The usual patience of a resolver.
const PATIENCE: Duration = Duration::from_secs(5);
/// The next name server is asked too when the one before it has been silent for this long.
const STAGGER: Duration = Duration::from_millis(300);
/// Once one family has answered, the other may take this long (RFC 8305 section 3 has 50 ms).
const OTHER_FAMILY: Duration = Duration::from_millis(150);
/// An answer is kept for its TTL within these bounds.
const KEEP_MIN: Duration = Duration::from_secs(1);
const KEEP_MAX: Duration = Duration::from_hours(1);
/// A negative answer is kept for its TTL within these bounds, so that a recovery is seen soon.
const NEGATIVE_MAX: Duration = Duration::from_secs(5);
/// Names and families that the cache holds. What has expired goes first, then everything.
const CACHE_MAX: usize = 8192;
/// How often the files are looked at again.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// How long it is remembered whether this machine reaches an IPv6 network.
const ROUTE_KEEP: Duration = Duration::from_secs(5);
/// IPv6 networks (of /64) of which that is remembered.
const ROUTES_MAX: usize = 1024;

pub(crate) struct Resolver {
    clock: Arc<dyn Clock>,
    /// None where the name servers were given instead.
    files: Option<Files>,
    state: Mutex<State>,
    /// Counts answers of name servers: proof that they are alive.
    answers: AtomicU64,
    /// Names that are being asked for.
    flights: Flights<Key, Found>,
}

#[derive(Default)]
struct State {
    system: Option<Arc<System>>,
    looked: Mono,
    cache: HashMap<Key, Entry>,
    /// Whether this machine reaches a /64 of IPv6, and until when that is believed.
    routes: HashMap<u64, (Mono, bool)>,
}

type Key = (String, RecordType);

struct Entry {
    until: Mono,
    found: Result<Vec<IpAddr>, Negative>,
}

type Found = Result<Vec<IpAddr>, Miss>;

/// Why one family gave no address.
#[derive(Clone)]
enum Miss {
    Negative(Negative),
    /// No name server answered. Holds what kept the first of them from it, where that is known.
    Silent(Option<Fault>),
    /// As `Silent`, since the asker's own time was up: another may have more.
    Late(Option<Fault>),
}

impl Net {
    /// [`Net::resolve_within`] the usual patience of a resolver, 5 s.
    pub async fn resolve(&self, host: &Host, family: Family) -> Result<Vec<IpAddr>, Fault> {
        self.resolve_within(host, family, PATIENCE).await
    }

    /// The addresses of `host` of `family`, first the one to be preferred. Never empty when `Ok`.
    ///
    /// A name that does not exist or has no such address is the target's fault (`dns.*`), and so is a name that alone
    /// stays unanswered for `within` (`timeout.resolve`). Silence of every name server for all names meanwhile is ours
    /// (`ours.resolver`); so `within` should end before the caller's own deadline does.
    pub async fn resolve_within(
        &self,
        host: &Host,
        family: Family,
        within: Duration,
    ) -> Result<Vec<IpAddr>, Fault> {
        match host {
            Host::Ip(addr, _) if family.allows(*addr) => Ok(vec![*addr]),
            Host::Ip(addr, _) => {
                let wanted = if addr.is_ipv4() { "IPv6" } else { "IPv4" };
                Err(Fault::target(
                    "dns.nodata",
                    format!("{addr} is not an {wanted} address"),
                ))
            }
            Host::Name(name) => {
                self.resolver
                    .name(&name.to_ascii_lowercase(), family, within)
                    .await
            }
        }
    }

    /// The name servers that this machine's configuration names; an error of ours when there is none.
    pub fn name_servers(&self) -> Result<Vec<SocketAddr>, Fault> {
        let servers = &self.resolver.system().servers;
        if servers.is_empty() {
            Err(no_servers())
        } else {
            Ok(servers.clone())
        }
    }
}

impl Resolver {
    pub(crate) fn from_files(clock: Arc<dyn Clock>, files: Files) -> Self {
        Self {
            clock,
            files: Some(files),
            state: Mutex::default(),
            answers: AtomicU64::new(0),
            flights: Flights::new(CACHE_MAX),
        }
    }

    pub(crate) fn fixed(clock: Arc<dyn Clock>, servers: Vec<SocketAddr>) -> Self {
        let system = Some(Arc::new(System::fixed(servers)));
        let state = Mutex::new(State {
            system,
            ..State::default()
        });
        Self {
            clock,
            files: None,
            state,
            answers: AtomicU64::new(0),
            flights: Flights::new(CACHE_MAX),
        }
    }

    async fn name(&self, name: &str, family: Family, within: Duration) -> Result<Vec<IpAddr>, Fault> {
        let deadline = self.clock.mono() + within;
        let before = self.answers.load(Ordering::Relaxed);
        let system = self.system();
        if let Some(known) = known(&system, name, family) {
            return Ok(known);
        }
        let found = match family {
            Family::V4 => self.family(&system, name, RecordType::A, deadline).await,
            Family::V6 => self.family(&system, name, RecordType::AAAA, deadline).await,
            Family::Any => self.both(&system, name, deadline).await,
        };
        found.map_err(|miss| match miss {
            Miss::Negative(negative) => negative_fault(negative, name, family),
            Miss::Silent(cause) | Miss::Late(cause) => {
                self.look_again();
                let answered = self.answers.load(Ordering::Relaxed) != before;
                silence(&system, cause.as_ref(), answered, within)
            }
        })
    }

    /// Both families at once; the one that comes first need not wait long for the other.
    async fn both(&self, system: &System, name: &str, deadline: Mono) -> Result<Vec<IpAddr>, Miss> {
        let mut v4 = pin!(self.family(system, name, RecordType::A, deadline));
        let mut v6 = pin!(self.family(system, name, RecordType::AAAA, deadline));
        let (first, rest) = tokio::select! {
            biased;
            found = &mut v4 => (found, v6),
            found = &mut v6 => (found, v4),
        };
        match first {
            Ok(mut found) => {
                if let Ok(Ok(more)) = timeout(OTHER_FAMILY, rest).await {
                    found.extend(more);
                }
                Ok(self.preferred(found))
            }
            Err(miss) => rest.await.map_err(|other| worse(miss, other)),
        }
    }

    /// From the cache, from another who is asking just now, or from the name servers.
    async fn family(&self, system: &System, name: &str, kind: RecordType, deadline: Mono) -> Found {
        let key = (name.to_owned(), kind);
        loop {
            if let Some(found) = self.cached(&key) {
                return found.map_err(Miss::Negative);
            }
            let mut told = match self.flights.board(&key) {
                Seat::First(asking) => {
                    let found = self.ask(system, &key, deadline).await;
                    if !matches!(found, Err(Miss::Late(_))) {
                        asking.tell(found.clone());
                    }
                    return found;
                }
                Seat::Other(told) => told,
            };
            let left = deadline.since(self.clock.mono());
            match timeout(left, told.wait_for(Option::is_some)).await {
                Ok(Ok(found)) => {
                    if let Some(found) = &*found {
                        return found.clone();
                    }
                }
                // The other gave up, or had less time: it is our turn.
                Ok(Err(_)) => {}
                Err(_) => return Err(Miss::Late(None)),
            }
        }
    }

    async fn ask(&self, system: &System, key: &Key, deadline: Mono) -> Found {
        let (name, kind) = (&key.0, key.1);
        let mut last = Answer {
            found: Err(Negative::NxDomain),
            ttl: Duration::ZERO,
        };
        for candidate in system.candidates(name) {
            let Ok(candidate) = Name::from_ascii(&candidate) else {
                continue;
            };
            let answer = self
                .servers(system, &candidate, kind, deadline.since(self.clock.mono()))
                .await?;
            let done = !matches!(answer.found, Err(Negative::NxDomain | Negative::NoData));
            // A name that exists under one ending is not called missing because of another.
            if done || last.found == Err(Negative::NxDomain) {
                last = answer;
            }
            if done {
                break;
            }
        }
        self.keep(key.clone(), &last);
        last.found.map_err(Miss::Negative)
    }

    /// Asks the name servers, each a little after the one before it. The first that knows is believed; failure of a
    /// server counts only when no other knows better.
    async fn servers(
        &self,
        system: &System,
        name: &Name,
        kind: RecordType,
        left: Duration,
    ) -> Result<Answer, Miss> {
        let mut waiting = system.servers.iter().copied();
        let mut asked = JoinSet::new();
        let mut end = pin!(sleep(left));
        let (mut soft, mut cause) = (None, None);
        let (mut ask_next, mut late) = (true, false);
        loop {
            if ask_next && let Some(server) = waiting.next() {
                asked.spawn(dns::ask(server, name.clone(), kind));
            }
            if asked.is_empty() {
                break;
            }
            let more = waiting.len() > 0;
            ask_next = tokio::select! {
                Some(done) = asked.join_next() => {
                    match done {
                        Ok(Ok(answer)) => {
                            self.answers.fetch_add(1, Ordering::Relaxed);
                            if !answer.found.as_ref().is_err_and(|negative| negative.is_soft()) {
                                return Ok(answer);
                            }
                            soft.get_or_insert(answer);
                        }
                        Ok(Err(fault)) => cause = cause.or(Some(fault)),
                        Err(_) => {}
                    }
                    true
                }
                () = sleep(STAGGER), if more => true,
                () = &mut end => {
                    late = true;
                    break;
                }
            };
        }
        soft.ok_or(if late {
            Miss::Late(cause)
        } else {
            Miss::Silent(cause)
        })
    }

    fn cached(&self, key: &Key) -> Option<Result<Vec<IpAddr>, Negative>> {
        let now = self.clock.mono();
        self.state()
            .cache
            .get(key)
            .filter(|entry| now < entry.until)
            .map(|entry| entry.found.clone())
    }

    fn keep(&self, key: Key, answer: &Answer) {
        let ttl = match answer.found {
            Ok(_) => answer.ttl.clamp(KEEP_MIN, KEEP_MAX),
            Err(_) => answer.ttl.clamp(KEEP_MIN, NEGATIVE_MAX),
        };
        let now = self.clock.mono();
        let mut state = self.state();
        if state.cache.len() >= CACHE_MAX {
            state.cache.retain(|_, entry| now < entry.until);
        }
        if state.cache.len() >= CACHE_MAX {
            state.cache.clear();
        }
        state.cache.insert(
            key,
            Entry {
                until: now + ttl,
                found: answer.found.clone(),
            },
        );
    }

    /// What the files say now; they are looked at once a second at most. When they change, the cache is forgotten.
    fn system(&self) -> Arc<System> {
        let now = self.clock.mono();
        let mut state = self.state();
        if let (Some(system), Some(files)) = (&state.system, &self.files)
            && now.since(state.looked) >= FILES_EVERY
        {
            if !system.is_current(files) {
                state.system = None;
                state.cache.clear();
            }
            state.looked = now;
        }
        let read = || Arc::new(self.files.as_ref().map(System::read).unwrap_or_default());
        state.system.get_or_insert_with(read).clone()
    }

    /// The files are read anew for the next name, whatever their dates say.
    fn look_again(&self) {
        if self.files.is_some() {
            self.state().system = None;
        }
    }

    /// IPv6 first where this machine can reach the first IPv6 address from an address of the same scope, otherwise IPv4
    /// first (the part of RFC 6724 section 6 that matters: rules 1, 2 and 5). Within a family the server's order stays.
    fn preferred(&self, mut found: Vec<IpAddr>) -> Vec<IpAddr> {
        let v6 = found.iter().find_map(|addr| match addr {
            IpAddr::V6(addr) => Some(*addr),
            IpAddr::V4(_) => None,
        });
        if let Some(v6) = v6
            && found.iter().any(IpAddr::is_ipv4)
        {
            let v6_first = self.reaches(v6);
            found.sort_by_key(|addr| addr.is_ipv6() != v6_first);
        }
        found
    }

    /// What [`reaches`] said of the network of `addr` a few seconds ago, or says now.
    fn reaches(&self, addr: Ipv6Addr) -> bool {
        let (network, now) = ((addr.to_bits() >> 64) as u64, self.clock.mono());
        if let Some((until, reached)) = self.state().routes.get(&network)
            && now < *until
        {
            return *reached;
        }
        let reached = reaches(addr);
        let routes = &mut self.state().routes;
        if routes.len() >= ROUTES_MAX {
            routes.clear();
        }
        routes.insert(network, (now + ROUTE_KEEP, reached));
        reached
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What needs no name server: `localhost` (RFC 6761 section 6.3) and the hosts file.
fn known(system: &System, name: &str, family: Family) -> Option<Vec<IpAddr>> {
    let listed = system
        .host(name)
        .iter()
        .copied()
        .filter(|addr| family.allows(*addr));
    let mut found: Vec<IpAddr> = listed.collect();
    if found.is_empty() && (name == "localhost" || name.ends_with(".localhost")) {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        found.extend(loopback.iter().filter(|addr| family.allows(**addr)));
    }
    (!found.is_empty()).then_some(found)
}

/// Connects a UDP socket, which sends nothing, to see whether there are a route and a fitting source address.
fn reaches(addr: Ipv6Addr) -> bool {
    let source = || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((addr, 53))?;
        socket.local_addr()
    };
    match source().map(|s| s.ip()) {
        Ok(IpAddr::V6(source)) => source.is_unique_local() == addr.is_unique_local(),
        _ => false,
    }
}

/// Of two families without an address, the miss that says more: silence before failure before absence.
fn worse(a: Miss, b: Miss) -> Miss {
    match (a, b) {
        (Miss::Silent(cause) | Miss::Late(cause), Miss::Silent(other) | Miss::Late(other)) => {
            Miss::Silent(cause.or(other))
        }
        (silent @ (Miss::Silent(_) | Miss::Late(_)), _) | (_, silent @ (Miss::Silent(_) | Miss::Late(_))) => {
            silent
        }
        // The name does not exist: then it does so for both families, and some servers say it for one alone.
        (Miss::Negative(Negative::NxDomain), _) | (_, Miss::Negative(Negative::NxDomain)) => {
            Miss::Negative(Negative::NxDomain)
        }
        (Miss::Negative(a), Miss::Negative(b)) => Miss::Negative(a.max(b)),
    }
}

fn negative_fault(negative: Negative, name: &str, family: Family) -> Fault {
    let kind = match family {
        Family::Any => "address",
        Family::V4 => "IPv4 address",
        Family::V6 => "IPv6 address",
    };
    match negative {
        Negative::NxDomain => Fault::target("dns.nxdomain", format!("the name {name} does not exist")),
        Negative::NoData => Fault::target("dns.nodata", format!("the name {name} has no {kind}")),
        Negative::ServFail => Fault::target("dns.servfail", format!("the resolver failed to look up {name}")),
        Negative::Refused => Fault::target("dns.refused", format!("the resolver refused to look up {name}")),
    }
}

fn silence(system: &System, cause: Option<&Fault>, answered: bool, within: Duration) -> Fault {
    if system.servers.is_empty() {
        return no_servers();
    }
    if let Some(Fault::Ours(reason)) = cause
        && matches!(
            reason.code.as_str(),
            "ours.descriptors" | "ours.buffers" | "ours.permission"
        )
    {
        return Fault::Ours(reason.clone());
    }
    if answered {
        return Fault::target(
            "timeout.resolve",
            format!("name not resolved within {}", short(within)),
        );
    }
    let servers: Vec<String> = system.servers.iter().map(|s| s.ip().to_string()).collect();
    Fault::ours(
        "ours.resolver",
        format!("no answer from any configured resolver ({})", servers.join(", ")),
    )
}

fn no_servers() -> Fault {
    Fault::ours(
        "ours.resolver",
        "this machine has no name server configured (/etc/resolv.conf)",
    )
}

#[cfg(test)]
mod tests;
