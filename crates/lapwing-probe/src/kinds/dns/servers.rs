//! The name servers that this machine is configured to ask. Reads one file, and never guesses beyond resolv.conf(5).

use std::{io, net::IpAddr, path::Path};

use lapwing_core::{observation::Fault, target::Host};

/// Servers that the system's resolver would use (`MAXNS` of resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// The name servers of `path`, in their order. Never empty when `Ok`.
pub(super) fn configured(path: &Path) -> Result<Vec<Host>, Fault> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(read(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(read("")),
        Err(error) => Err(Fault::ours(
            "ours.resolver",
            format!("{} cannot be read: {error}", path.display()),
        )),
    }
}

fn read(text: &str) -> Vec<Host> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let server = words
            .next()
            .filter(|word| *word == "nameserver")
            .and_then(|_| words.next())?;
        Host::parse(server)
            .ok()
            .filter(|host| matches!(host, Host::Ip(..)))
    });
    let mut servers: Vec<Host> = servers.take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push(Host::Ip(IpAddr::from([127, 0, 0, 1]), None));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        read(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_in_order() {
        let text = "# comment\nsearch example.com\nnameserver 192.0.2.53 # first\n  nameserver\tfe80::1%eth0\n\
                    ;nameserver 192.0.2.54\nnameserver\nnameserver ns.example.com\nnameserver 2001:db8::53\nnameserver 192.0.2.55\n";
        assert_eq!(shown(text), ["192.0.2.53", "[fe80::1%eth0]", "[2001:db8::53]"]);
    }

    #[test]
    fn without_servers_it_is_the_local_one() {
        assert_eq!(shown("search example.com\n"), ["127.0.0.1"]);
        assert_eq!(
            configured(Path::new("/nonexistent/resolv.conf")).unwrap().len(),
            1
        );
        assert!(configured(Path::new("/")).is_err());
    }
}
