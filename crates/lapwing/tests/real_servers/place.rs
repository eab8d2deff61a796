//! Two network namespaces with a link between them. Nothing in them can reach the machine's own network.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// Where the watched servers are.
pub(crate) const FAR: [&str; 2] = ["10.77.0.2", "fd77::2"];
pub(crate) const NEAR: [&str; 2] = ["10.77.0.1", "fd77::1"];

/// A namespace: the daemon's, or that of what it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Near,
    Far,
}

/// The namespaces and a folder, all gone with this value.
pub(crate) struct Place {
    near: String,
    far: String,
    folder: tempfile::TempDir,
}

impl Place {
    /// Needs root and the program `ip`.
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root, because it makes network namespaces: run it as root, or `cargo xtask test --partial`"
        );
        need("ip");
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
            folder,
        };
        place.build();
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
        for name in [near, far] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        ip(&[
            "link", "add", "near", "netns", near, "type", "veth", "peer", "name", "far", "netns", far,
        ]);
        for (name, link, [v4, v6]) in [(near, "near", NEAR), (far, "far", FAR)] {
            ip(&["-n", name, "address", "add", &format!("{v4}/24"), "dev", link]);
            ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{v6}/64"),
                "dev",
                link,
                "nodad",
            ]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
        self.inside(Side::Near, || {
            // Our own IPv6 address outlives our link.
            fs::write("/proc/sys/net/ipv6/conf/near/keep_addr_on_down", "1").unwrap();
            // A neighbour that does not answer is known as such after 3 x 50 ms instead of 3 s.
            fs::write("/proc/sys/net/ipv4/neigh/near/retrans_time_ms", "50").unwrap();
            fs::write("/proc/sys/net/ipv6/neigh/near/retrans_time_ms", "50").unwrap();
        });
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command that will run on `side`.
    pub(crate) fn command(&self, side: Side, program: &str) -> Command {
        need(program);
        let mut command = Command::new("ip");
        // The path of system programs is not that of every user.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.args(["netns", "exec", self.name(side), program]);
        command
    }

    /// Runs a program to its end; panics when it fails. Gives what it said.
    pub(crate) fn run(&self, side: Side, program: &str, args: &[&str]) -> String {
        said(
            self.command(side, program)
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

    /// Puts these rules in the place of all packet rules of the far side; "" for none.
    pub(crate) fn rules(&self, input: &str) {
        let rules = format!(
            "flush ruleset\ntable inet lapwing {{\n chain input {{\n type filter hook input priority 0;\n{input}\n }}\n}}\n"
        );
        let mut nft = self.command(Side::Far, "nft");
        let mut child = nft
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        said(child.wait_with_output().unwrap(), "nft");
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
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            // What is not there any more is gone all the same; a second panic would hide the first.
            drop(Command::new("ip").args(["netns", "delete", name]).output());
        }
        drop(fs::remove_dir_all(resolver_folder(&self.near)));
        drop(fs::remove_dir("/etc/netns"));
    }
}

/// Fails with a sentence when `program` is not on this machine.
pub(crate) fn need(program: &str) {
    if program.contains('/') {
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(system)
        .any(|folder| folder.join(program).is_file());
    let package = match program {
        "nginx" => "nginx-light",
        "chronyd" | "chronyc" => "chrony",
        "sshd" => "openssh-server",
        "ssh-keygen" => "openssh-client",
        "nft" => "nftables",
        "ip" => "iproute2",
        "dig" => "bind9-dnsutils",
        "ping" => "iputils-ping",
        "setpriv" => "util-linux",
        same => same,
    };
    assert!(
        found,
        "this test needs {program}: install the Debian package {package}, or run `cargo xtask test --partial`"
    );
}

fn resolver_folder(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

fn ip(args: &[&str]) {
    said(
        Command::new("ip").args(args).output().unwrap(),
        &format!("ip {}", args.join(" ")),
    );
}

fn said(output: Output, what: &str) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}{complaint}",
        output.status
    );
    text
}
