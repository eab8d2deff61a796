//! A running `lapwing watch` and what it writes, and an echo service that loses what it is told to lose.

use std::{
    fs::{self, File, OpenOptions},
    net::UdpSocket,
    os::unix::fs::OpenOptionsExt,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    kit::{Daemon, Home, Ran, look},
    peers::own_address,
};

/// A running `watch`, and what it has printed.
pub(crate) struct Watch<'h> {
    home: &'h Home,
    pub(crate) process: Daemon,
}

impl<'h> Watch<'h> {
    pub(crate) fn start(home: &'h Home, args: &[&str]) -> Self {
        Self::through(home, &[], args)
    }

    pub(crate) fn through(home: &'h Home, before: &[&str], args: &[&str]) -> Self {
        let out = File::create(home.path("out")).unwrap();
        let mut command = home.through(before);
        command.arg("watch").args(args);
        let process = Daemon::spawn_to(&mut command, Stdio::from(out), home.path("none"));
        Self { home, process }
    }

    pub(crate) fn shown(&self) -> String {
        self.home.read("out")
    }

    /// Waits for a line with `text`, and gives it.
    #[track_caller]
    pub(crate) fn wait(&self, text: &str) -> String {
        let line = || {
            self.shown()
                .lines()
                .find(|l| l.contains(text))
                .map(ToOwned::to_owned)
        };
        match look(line) {
            Some(line) => line,
            None => panic!("{text:?} is not shown:\n{}\n{}", self.shown(), self.process.log()),
        }
    }

    /// Ends it as Ctrl-C does. Gives the exit code, all that was shown, and the log.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Ran {
        self.process.signal(Signal::SIGINT);
        let (status, err) = self.process.ended();
        Ran {
            code: status.code().unwrap(),
            out: self.shown(),
            err,
        }
    }
}

/// The only file of the folder with this end, and its lines.
pub(crate) fn dated(home: &Home, end: &str) -> (String, Vec<String>) {
    let names = fs::read_dir(home.folder()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    (found[0].clone(), home.lines(&found[0]))
}

pub(crate) fn secret(home: &Home, text: &str) {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600);
    let mut file = file.open(home.path("secret")).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// Sends back what it gets, unless it is told to drop it.
pub(crate) struct Echo {
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    drops: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn open() -> Self {
        let socket = UdpSocket::bind((own_address(), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (drops, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (dropping, ending) = (Arc::clone(&drops), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !ending.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                if !dropping.load(Ordering::SeqCst) {
                    socket.send_to(&buffer[..length], from).unwrap();
                }
            }
        });
        Self {
            address,
            drops,
            ended,
            thread: Some(thread),
        }
    }

    pub(crate) fn drop_all(&self, drops: bool) {
        self.drops.store(drops, Ordering::SeqCst);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
