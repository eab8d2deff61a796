//! The addresses of the server. A name is looked up again and again, beside the beats: a slow resolver holds none up,
//! and the addresses known last stay in use until there are others.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use lapwing_core::{target::Host, time::Mono};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Server, voice::Word};

/// A name is looked up again after so long, even when all is well.
const AGAIN: Duration = Duration::from_mins(5);
/// Addresses kept of one name.
const ADDRESSES: usize = 16;
/// Stack of the thread that looks a name up.
const STACK: usize = 512 * 1024;

/// Gives the addresses of a host; may take its time.
pub type Lookup = Arc<dyn Fn(&Server) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's own resolver (getaddrinfo(3)), with all that this machine is configured for.
pub fn system_lookup() -> Lookup {
    Arc::new(|server| {
        let bare = server.host.to_string();
        let bare = bare.trim_matches(['[', ']']);
        Ok((bare, server.port).to_socket_addrs()?.collect())
    })
}

pub(super) struct Names {
    server: Server,
    lookup: Lookup,
    addresses: Vec<SocketAddr>,
    current: usize,
    /// When the name was looked up last. None for an address, which needs none.
    asked: Option<Mono>,
    under_way: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
    /// Readable when a look-up has ended.
    news: Arc<EventFd>,
    /// Why the last look-up gave nothing.
    failure: Option<String>,
}

impl Names {
    pub(super) fn new(server: Server, lookup: Lookup) -> io::Result<Self> {
        let addresses = match &server.host {
            Host::Ip(address, None) => vec![SocketAddr::new(*address, server.port)],
            // The number of a zone changes when its interface is made anew.
            Host::Ip(_, Some(_)) | Host::Name(_) => Vec::new(),
        };
        Ok(Self {
            server,
            lookup,
            addresses,
            current: 0,
            asked: None,
            under_way: None,
            news: Arc::new(EventFd::from_flags(
                EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
            )?),
            failure: None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn current(&self) -> Option<SocketAddr> {
        self.addresses.get(self.current).copied()
    }

    /// The address in use does not do: the next one.
    pub(super) fn next(&mut self) {
        self.current = (self.current + 1) % self.addresses.len().max(1);
    }

    /// This address does.
    pub(super) fn prefer(&mut self, address: SocketAddr) {
        if let Some(at) = self.addresses.iter().position(|a| *a == address) {
            self.current = at;
        }
    }

    /// Readable when [`Names::collect`] has something.
    pub(super) fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Why there is no address.
    pub(super) fn failure(&self) -> String {
        let why = self.failure.as_deref().unwrap_or("no answer of the resolver yet");
        format!("the name {} cannot be resolved: {why}", self.server.host)
    }

    /// Begins a look-up when it is time, or when `troubled`; never two at once.
    pub(super) fn tend(&mut self, now: Mono, troubled: bool) {
        let is_address = matches!(self.server.host, Host::Ip(_, None));
        let due = self.asked.is_none_or(|asked| now.since(asked) >= AGAIN);
        if is_address || self.under_way.is_some() || !(due || troubled) {
            return;
        }
        self.asked = Some(now);
        let (found, receiver) = sync_channel(1);
        let (lookup, server, news) = (
            Arc::clone(&self.lookup),
            self.server.clone(),
            Arc::clone(&self.news),
        );
        let work = move || {
            // The sensor may have ended meanwhile.
            drop(found.send(lookup(&server)));
            let _ = news.write(1);
        };
        match thread::Builder::new()
            .name("resolve".to_owned())
            .stack_size(STACK)
            .spawn(work)
        {
            Ok(_) => self.under_way = Some(receiver),
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// Takes what a look-up has found. Says so when that is news.
    pub(super) fn collect(&mut self) -> Option<Word> {
        let found = match self.under_way.as_ref()?.try_recv() {
            Ok(found) => found,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the resolver failed")),
        };
        self.under_way = None;
        // It only wakes us; how often it was set does not matter.
        let _ = self.news.read();
        let mut found = match found {
            Ok(found) if found.is_empty() => return self.failed("it has no address"),
            Ok(found) => found,
            Err(error) => return self.failed(reason(&error.to_string())),
        };
        self.failure = None;
        found.truncate(ADDRESSES);
        let in_use = self.current();
        self.addresses = found;
        self.current = 0;
        let in_use = in_use?;
        if self.addresses.contains(&in_use) {
            self.prefer(in_use);
            return None;
        }
        let text = format!(
            "{} is {} now, no longer {in_use}",
            self.server.host, self.addresses[0]
        );
        Some(Word::notice(text))
    }

    /// The addresses stay. Without any, each beat says why it was lost.
    fn failed(&mut self, why: &str) -> Option<Word> {
        let is_new = self.failure.as_deref() != Some(why);
        self.failure = Some(why.to_owned());
        let going_on = self.current().filter(|_| is_new)?;
        Some(Word::warning(format!(
            "{}; going on with {going_on}",
            self.failure()
        )))
    }
}

/// The resolver's words without ours about it.
fn reason(text: &str) -> &str {
    text.strip_prefix("failed to lookup address information: ")
        .unwrap_or(text)
}
