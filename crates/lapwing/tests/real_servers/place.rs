//! Two network namespaces with a link between them, and where needed a third one behind the far one, which then routes.
//! Nothing in them can reach the machine's own network.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where the watched servers are.
pub(crate) const FAR: [&str; 2] = ["10.77.0.2", "fd77::2"];
/// Where the daemon is.
pub(crate) const NEAR: [&str; 2] = ["10.77.0.1", "fd77::1"];
/// The router's address at home.
const DOOR: [&str; 2] = ["10.78.0.1", "fd78::1"];
const HOME: [&str; 2] = ["10.78.0.2", "fd78::2"];

/// A namespace: the daemon's, that of what it watches, and one that has the far side as its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Near,
    Far,
    Home,
}

/// The namespaces and a folder, all gone with this value.
pub(crate) struct Place {
    near: String,
    far: String,
    home: Option<String>,
    folder: tempfile::TempDir,
}

impl Place {
    /// Needs root and the program `ip`.
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        static SWEPT: Once = Once::new();
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root, because it makes network namespaces: run it as root, or `cargo xtask test --partial`"
        );
        need("ip");
        SWEPT.call_once(sweep);
        let name = format!(
            "lapwing-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let folder = tempfile::Builder::new()
            .prefix("lapwing-real-")
            .tempdir()
            .unwrap();
        let place = Self {
            near: format!("{name}-near"),
            far: format!("{name}-far"),
            home: None,
            folder,
        };
        place.build();
        place
    }

    /// With a home behind the far side.
    pub(crate) fn with_home() -> Self {
        let mut place = Self::new();
        place.home = Some(place.far.replace("-far", "-home"));
        place.build_home();
        place
    }

    fn build(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        // Servers that give up their rights must still find what is theirs in here.
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let (near, far) = (&*self.near, &*self.far);
        // `ip netns exec` puts this in the place of /etc/resolv.conf.
        fs::create_dir_all(resolver_folder(near)).unwrap();
        fs::write(
            resolver_folder(near).join("resolv.conf"),
            format!("nameserver {}\n", FAR[0]),
        )
        .unwrap();
        add(near);
        add(far);
        self.join((Side::Near, "near", NEAR), (Side::Far, "far", FAR));
        for address in FAR {
            self.wait_for(Side::Near, address);
        }
    }

    fn build_home(&self) {
        add(self.name(Side::Home));
        self.join((Side::Far, "door", DOOR), (Side::Home, "home", HOME));
        self.inside(Side::Far, || {
            for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(Path::new("/proc/sys/net").join(switch), "1").unwrap();
            }
        });
        for (family, network, by_far, by_home) in [
            ("-4", "10.78.0.0/24", FAR[0], DOOR[0]),
            ("-6", "fd78::/64", FAR[1], DOOR[1]),
        ] {
            self.ip(Side::Near, &[family, "route", "add", network, "via", by_far]);
            self.ip(Side::Home, &[family, "route", "add", "default", "via", by_home]);
        }
        for address in NEAR {
            self.wait_for(Side::Home, address);
        }
    }

    /// Puts a link between two sides, each end with its name and addresses.
    fn join(&self, one: (Side, &'static str, [&str; 2]), other: (Side, &'static str, [&str; 2])) {
        ip(&[
            "link",
            "add",
            one.1,
            "netns",
            self.name(one.0),
            "type",
            "veth",
            "peer",
            "name",
            other.1,
            "netns",
            self.name(other.0),
        ]);
        for (side, link, [v4, v6]) in [one, other] {
            self.ip(side, &["address", "add", &format!("{v4}/24"), "dev", link]);
            self.ip(
                side,
                &["address", "add", &format!("{v6}/64"), "dev", link, "nodad"],
            );
            self.inside(side, move || settle(link));
            self.ip(side, &["link", "set", link, "up"]);
        }
    }

    /// Waits until that address answers `side` at all: that nobody listens there.
    fn wait_for(&self, side: Side, address: &str) {
        let to = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 9);
        let answers = move || {
            (0..500).any(|_| {
                let refused = TcpStream::connect(to).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
                if !refused {
                    thread::sleep(Duration::from_millis(10));
                }
                refused
            })
        };
        assert!(
            self.inside(side, answers),
            "{address} cannot be reached over the new links"
        );
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that will run on `side`.
    pub(crate) fn command(&self, side: Side, program: &str) -> Command {
        need(program);
        let mut command = system("ip");
        command.args(["netns", "exec", self.name(side), program]);
        command
    }

    /// Runs a program to its end; panics when it fails. Gives what it said.
    pub(crate) fn run(&self, side: Side, program: &str, args: &[&str]) -> String {
        said(
            &self
                .command(side, program)
                .args(args)
                .stdin(Stdio::null())
                .output()
                .unwrap(),
            program,
        )
    }

    /// `ip` inside of `side`.
    pub(crate) fn ip(&self, side: Side, args: &[&str]) {
        ip(&[&["-n", self.name(side)], args].concat());
    }

    /// Names as programs on `side` find them from their next look-up on: lines of /etc/hosts. Programs that run by then
    /// must have been started after the first call.
    pub(crate) fn hosts(&self, side: Side, lines: &str) {
        let folder = resolver_folder(self.name(side));
        fs::create_dir_all(&folder).unwrap();
        // Written in place: `ip netns exec` has put this very file over /etc/hosts.
        fs::write(folder.join("hosts"), lines).unwrap();
    }

    /// Puts these rules in the place of all packet rules of the far side; "" for none.
    pub(crate) fn rules(&self, input: &str) {
        self.chain(Side::Far, "input", input);
    }

    /// The far side forwards nothing from now on, and says nothing about it; or forwards again.
    pub(crate) fn swallow(&self, all: bool) {
        self.chain(Side::Far, "forward", if all { "drop" } else { "" });
    }

    /// Puts these rules in the place of all packet rules of one side, at a hook of `nft`.
    pub(crate) fn chain(&self, side: Side, hook: &str, inside: &str) {
        let counters = "counter asked { }\ncounter lost { }\n";
        let rules = format!(
            "flush ruleset\ntable inet lapwing {{\n{counters} chain {hook} {{\n type filter hook {hook} priority 0;\n{inside}\n }}\n}}\n"
        );
        let mut nft = self.command(side, "nft");
        let mut child = nft
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        said(&child.wait_with_output().unwrap(), "nft");
    }

    /// Runs `work` on a thread of its own inside of `side`. Sockets opened there stay there.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        side: Side,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let namespace = fs::File::open(Path::new("/run/netns").join(self.name(side))).unwrap();
        let thread = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    fn name(&self, side: Side) -> &str {
        match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
            Side::Home => self.home.as_deref().unwrap(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.near);
        remove(&self.far);
        if let Some(home) = &self.home {
            remove(home);
        }
        // Other tests may still have something in it.
        drop(fs::remove_dir("/etc/netns"));
    }
}

/// A new namespace with nothing but its loopback.
fn add(namespace: &str) {
    ip(&["netns", "add", namespace]);
    ip(&["-n", namespace, "link", "set", "lo", "up"]);
}

/// Makes a link of its namespace quick: its address can be used at once and outlives the link, and a neighbour that
/// does not answer is known as such after 3 x 50 ms instead of 3 s.
fn settle(link: &str) {
    for (what, value) in [
        (format!("ipv6/conf/{link}/accept_dad"), "0"),
        (format!("ipv6/conf/{link}/keep_addr_on_down"), "1"),
        (format!("ipv4/neigh/{link}/retrans_time_ms"), "50"),
        (format!("ipv6/neigh/{link}/retrans_time_ms"), "50"),
    ] {
        fs::write(Path::new("/proc/sys/net").join(what), value).unwrap();
    }
}

/// Fails with a sentence when `program` is not on this machine.
pub(crate) fn need(program: &str) {
    if program.contains('/') {
        return;
    }
    let found = std::env::split_paths(&search_path()).any(|folder| folder.join(program).is_file());
    let package = match program {
        "nginx" => "nginx-light",
        "chronyd" | "chronyc" => "chrony",
        "sshd" => "openssh-server",
        "ssh-keygen" => "openssh-client",
        "nft" => "nftables",
        "ip" => "iproute2",
        "dig" => "bind9-dnsutils",
        "ping" => "iputils-ping",
        "nc" => "netcat-openbsd",
        "setpriv" | "unshare" => "util-linux",
        same => same,
    };
    assert!(
        found,
        "this test needs {program}: install the Debian package {package}, or run `cargo xtask test --partial`"
    );
}

/// A command of the system, found wherever programs lie that are not for every user.
pub(crate) fn system(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

fn search_path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Takes away what test programs have left that were killed: they are not there any more, their namespaces are.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name
            .strip_prefix("lapwing-")
            .and_then(|rest| rest.split_once('-'))
            .map(|(pid, _)| pid);
        if maker.is_none_or(|pid| Path::new("/proc").join(pid).exists()) {
            continue;
        }
        let inside = system("ip").args(["netns", "pids", &name]).output().unwrap();
        for pid in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
            // Who has ended in the meantime needs no signal.
            let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        }
        remove(&name);
    }
}

/// What is not there any more is gone all the same; and in a panic, a second one would hide the first.
fn remove(namespace: &str) {
    drop(system("ip").args(["netns", "delete", namespace]).output());
    drop(fs::remove_dir_all(resolver_folder(namespace)));
}

fn resolver_folder(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

fn ip(args: &[&str]) {
    said(
        &system("ip").args(args).output().unwrap(),
        &format!("ip {}", args.join(" ")),
    );
}

fn said(output: &Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}{complaint}",
        output.status
    );
    text
}
