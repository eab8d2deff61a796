//! What the service manager of this machine (systemd) is told: ready, reloading, stopping, alive. Datagrams to the
//! socket that it names, by the protocol of sd_notify(3). Without a manager nothing is sent; nothing here ever fails.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{clock, config::Environment};

/// Longest wait for a manager whose queue is full.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the manager waits for the next word of a start or stop that takes long.
const LONGER: Duration = Duration::from_mins(2);

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    note: Mutex<&'static str>,
    /// The word for what the manager waits for the end of: the start, or the stop.
    passing: Mutex<Option<&'static str>>,
}

impl Manager {
    /// The one that `$NOTIFY_SOCKET` names.
    pub fn of(environment: &Environment) -> Self {
        let socket = environment
            .get("NOTIFY_SOCKET")
            .and_then(|name| connect(name).ok());
        let pid = environment.get("WATCHDOG_PID").filter(|pid| !pid.is_empty());
        let ours = pid.is_none_or(|pid| pid.parse() == Ok(process::id()));
        let micros = environment.get("WATCHDOG_USEC").and_then(|n| n.parse().ok());
        let watchdog = micros.filter(|n| *n > 0 && ours).map(Duration::from_micros);
        Self {
            watchdog: watchdog.filter(|_| socket.is_some()),
            socket,
            note: Mutex::default(),
            passing: Mutex::new(Some("starting")),
        }
    }

    /// Whether anybody is told anything.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// The manager restarts us when it has not heard [`Manager::alive`] for so long; None when it does not watch.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Started, or done with [`Manager::reloading`].
    pub fn ready(&self) {
        self.pass(None);
        self.tell("READY=1");
    }

    /// One line about how things are, for `systemctl status`.
    pub fn status(&self, line: &str) {
        let note = *self.note.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.replace(|c: char| c.is_control(), " ");
        self.tell(&format!("STATUS={line}{note}"));
    }

    /// What each [`Manager::status`] ends with from now on.
    pub fn note(&self, text: &'static str) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub fn reloading(&self) {
        let now = clock::monotonic().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    pub fn stopping(&self) {
        self.pass(Some("stopping"));
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// The start or the stop goes on, and is as far as `line` says: the manager waits [`LONGER`] from now. In between
    /// nothing is said.
    pub fn goes_on(&self, line: &str) {
        let passing = *self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = passing {
            let longer = LONGER.as_micros();
            self.tell(&format!("EXTEND_TIMEOUT_USEC={longer}\nSTATUS={word}: {line}"));
        }
    }

    fn pass(&self, word: Option<&'static str>) {
        *self.passing.lock().unwrap_or_else(PoisonError::into_inner) = word;
    }

    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// From now on the manager waits `longer` for [`Manager::alive`]; None: as long as at the start.
    pub fn wait(&self, longer: Option<Duration>) {
        if let Some(usual) = self.watchdog {
            self.tell(&format!("WATCHDOG_USEC={}", longer.unwrap_or(usual).as_micros()));
        }
    }

    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            // A manager that does not take it will draw its own conclusions.
            drop(socket.send(words.as_bytes()));
        }
    }
}

/// A name that begins with `@` is one of the abstract namespace (unix(7)).
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    #[test]
    fn a_manager_hears_by_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let hidden = format!("lapwing-manager-{}", process::id());
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&hidden).unwrap()).unwrap(),
                format!("@{hidden}"),
            ),
        ] {
            let manager = Manager::of(&Environment::of("", [("NOTIFY_SOCKET", name)]));
            assert!(manager.listens());
            manager.goes_on("1/2 done");
            assert_eq!(
                heard(&socket),
                "EXTEND_TIMEOUT_USEC=120000000\nSTATUS=starting: 1/2 done"
            );
            manager.ready();
            assert_eq!(heard(&socket), "READY=1");
            manager.goes_on("nobody waits");
            manager.status("one\nREADY=1");
            assert_eq!(heard(&socket), "STATUS=one READY=1");
            manager.note("; but");
            manager.status("two");
            assert_eq!(heard(&socket), "STATUS=two; but");
            manager.reloading();
            let text = heard(&socket);
            let since = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(since.parse::<u64>().unwrap() > 0);
            manager.stopping();
            assert!(heard(&socket).starts_with("STOPPING=1\n"));
            manager.goes_on("3/4 done");
            assert!(heard(&socket).ends_with("STATUS=stopping: 3/4 done"));
            // Nobody watches: there is no time to change.
            manager.wait(Some(PATIENCE));
            manager.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
        }
    }

    #[test]
    fn the_watchdog_is_that_of_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let of = |usec: &str, pid: &str| {
            let variables = [
                ("NOTIFY_SOCKET", path.to_str().unwrap()),
                ("WATCHDOG_USEC", usec),
                ("WATCHDOG_PID", pid),
            ];
            Manager::of(&Environment::of("", variables))
        };
        let here = process::id().to_string();
        let watching = of("15000000", &here);
        assert_eq!(watching.watchdog(), Some(Duration::from_secs(15)));
        assert_eq!(of("15000000", "").watchdog(), Some(Duration::from_secs(15)));
        for (usec, pid) in [("15000000", "1"), ("0", &here), ("", &here), ("soon", &here)] {
            assert_eq!(of(usec, pid).watchdog(), None, "{usec:?} {pid:?}");
        }
        watching.wait(Some(Duration::from_secs(60)));
        assert_eq!(heard(&socket), "WATCHDOG_USEC=60000000");
        watching.wait(None);
        assert_eq!(heard(&socket), "WATCHDOG_USEC=15000000");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let nobody: [(&str, &str); 1] = [("NOTIFY_SOCKET", "/nonexistent/notify")];
        for manager in [Manager::default(), Manager::of(&Environment::of("", nobody))] {
            assert!(!manager.listens() && manager.watchdog().is_none());
            manager.ready();
        }
    }
}
