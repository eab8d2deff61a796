//! What this machine's files say about names: `/etc/resolv.conf` (resolv.conf(5)) and `/etc/hosts` (hosts(5)).
//! Reading them never fails: a file that is missing or wrong says nothing.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::net::if_::if_nametoindex;

/// More of a file is not read: a hosts file full of advertisers has about this size.
const FILE_MAX: u64 = 16 << 20;

/// Name servers beyond these are not asked, as with the system's own resolver.
const SERVERS_MAX: usize = 3;

/// Where the two files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
        }
    }
}

/// Tells whether a file is still the one that was read.
type Stamp = Option<(u64, u64, i64, i64)>;

/// What the files say.
#[derive(Debug, Default)]
pub(crate) struct System {
    pub(crate) servers: Vec<SocketAddr>,
    /// Endings to be tried with names of fewer than `ndots` dots.
    pub(crate) search: Vec<String>,
    pub(crate) ndots: usize,
    hosts: HashMap<String, Vec<IpAddr>>,
    stamps: [Stamp; 2],
}

impl System {
    pub(crate) fn fixed(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            ndots: 1,
            ..Self::default()
        }
    }

    pub(crate) fn read(files: &Files) -> Self {
        let stamps = [stamp(&files.resolv_conf), stamp(&files.hosts)];
        let mut system = Self {
            ndots: 1,
            stamps,
            ..Self::default()
        };
        system.resolv_conf(&text(&files.resolv_conf));
        system.hosts(&text(&files.hosts));
        system
    }

    /// True while both files are as they were when they were read.
    pub(crate) fn is_current(&self, files: &Files) -> bool {
        self.stamps == [stamp(&files.resolv_conf), stamp(&files.hosts)]
    }

    /// The addresses that the hosts file gives for `name`, which is lower case.
    pub(crate) fn host(&self, name: &str) -> &[IpAddr] {
        self.hosts.get(name).map_or(&[], Vec::as_slice)
    }

    /// The full names to ask for when `name` is meant, in this order.
    ///
    /// A name with enough dots is asked for as it is and never with an ending: a wildcard in the search domain would
    /// make a name that is gone look alive.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        let mut names = Vec::new();
        if name.matches('.').count() < self.ndots {
            names.extend(self.search.iter().map(|ending| format!("{name}.{ending}.")));
        }
        names.push(format!("{name}."));
        names
    }

    fn resolv_conf(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => self.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => {
                    let endings = words.map(|w| w.trim_matches('.').to_ascii_lowercase());
                    self.search = endings.filter(|w| !w.is_empty()).take(6).collect();
                }
                Some("options") => {
                    let ndots = words
                        .filter_map(|w| w.strip_prefix("ndots:")?.parse().ok())
                        .next_back();
                    self.ndots = ndots.unwrap_or(self.ndots).min(15);
                }
                _ => {}
            }
        }
        self.servers.truncate(SERVERS_MAX);
    }

    fn hosts(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_ascii_whitespace();
            let Some(addr) = words.next().and_then(|w| w.parse().ok()) else {
                continue;
            };
            for name in words {
                let addresses = self
                    .hosts
                    .entry(name.trim_end_matches('.').to_ascii_lowercase())
                    .or_default();
                if !addresses.contains(&addr) {
                    addresses.push(addr);
                }
            }
        }
    }
}

/// An address, `fe80::1%eth0`, or with a port `[::1]:5353`.
fn server(word: &str) -> Option<SocketAddr> {
    if let Some((addr, zone)) = word.split_once('%') {
        let scope = zone.parse().ok().or_else(|| if_nametoindex(zone).ok())?;
        return Some(SocketAddrV6::new(addr.parse().ok()?, 53, 0, scope).into());
    }
    let bare = word.parse().ok().map(|addr: IpAddr| SocketAddr::new(addr, 53));
    bare.or_else(|| word.parse().ok())
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error counts all the same.
        drop(file.take(FILE_MAX).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_its_manual_says() {
        let mut system = System {
            ndots: 1,
            ..System::default()
        };
        system.resolv_conf(
            "# comment\n; another\nnameserver 10.0.0.1\nnameserver nonsense\nnameserver fe80::1%lo\n\
             nameserver [::1]:5353\nnameserver 10.0.0.4\ndomain old.example\nsearch A.example. b.example\n\
             options rotate ndots:2 timeout:1\noptions\nsearch\nsearch c.example d.example\n",
        );
        let lo = if_nametoindex("lo").unwrap();
        let servers: Vec<String> = system.servers.iter().map(ToString::to_string).collect();
        assert_eq!(
            servers,
            [
                "10.0.0.1:53".to_owned(),
                format!("[fe80::1%{lo}]:53"),
                "[::1]:5353".to_owned()
            ]
        );
        assert_eq!(system.search, ["c.example", "d.example"]);
        assert_eq!(system.ndots, 2);
        assert_eq!(
            system.candidates("web"),
            ["web.c.example.", "web.d.example.", "web."]
        );
        assert_eq!(system.candidates("web.a.example"), ["web.a.example."]);
    }

    #[test]
    fn hosts_are_read_as_their_manual_says() {
        let mut system = System::default();
        system.hosts(
            "127.0.0.1 localhost\n# x\n10.0.0.9\tDB.example db # alias\n10.0.0.9 db\n::1 db\nbad name\n",
        );
        let found: Vec<String> = system.host("db").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.9", "::1"]);
        assert_eq!(system.host("db.example").len(), 1);
        assert!(system.host("alias").is_empty() && system.host("name").is_empty());
    }
}
