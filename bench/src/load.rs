//! What the daemon is told to watch: its configuration, written from a few numbers.

use std::{net::Ipv4Addr, time::Duration};

use clap::ValueEnum;

/// What is asked of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Tcp,
    Icmp,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Icmp => "icmp",
        }
    }
}

/// One load on one daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) monitors: u32,
    pub(crate) interval: Duration,
    /// One `[[monitor]]` for each series.
    pub(crate) separate: bool,
}

/// File that the daemon's alerts go to, in its folder.
pub(crate) const ALERTS: &str = "alerts.txt";
/// The daemon's data folder, in its folder.
pub(crate) const DATA: &str = "data";
/// The first target.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 0]);

/// The target with this number; each number has an address of its own.
pub(crate) fn target(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST + number)
}

impl Load {
    /// Checks wanted each second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.monitors) / self.interval.as_secs_f64()
    }

    /// The configuration. One failure makes an alert, so that no failure goes unseen.
    pub(crate) fn configuration(&self, port: u16) -> String {
        let mut text = format!(
            "[defaults]\ninterval = \"{}ms\"\ntimeout = \"{}ms\"\nfailure_threshold = 1\n\n\
             [notify.alerts]\ntype = \"file\"\npath = \"{ALERTS}\"\n\n\
             [web]\nlisten = \"off\"\n\n[store]\npath = \"{DATA}\"\n\n[log]\nlevel = \"warn\"\n\n",
            self.interval.as_millis(),
            self.interval.as_millis().min(2_000),
        );
        let url = |host: &str| match self.kind {
            Kind::Tcp => format!("tcp://{host}:{port}"),
            Kind::Icmp => format!("icmp://{host}"),
        };
        if self.separate {
            for number in 0..self.monitors {
                let target = url(&target(number).to_string());
                text += &format!("[[monitor]]\nname = \"load {number}\"\ntarget = \"{target}\"\n\n");
            }
        } else {
            let hosts = format!("\"{}\"", blocks(self.monitors).join("\", \""));
            let target = url("{host}");
            text += &format!("[[monitor]]\nname = \"load\"\ntarget = \"{target}\"\nhosts = [{hosts}]\n");
        }
        text
    }
}

/// The first `count` targets as blocks of addresses, largest first.
fn blocks(count: u32) -> Vec<String> {
    let mut next = 0;
    let mut found = Vec::new();
    for bits in (0..u32::BITS).rev().filter(|bits| count >> bits & 1 == 1) {
        found.push(format!("{}/{}", target(next), u32::BITS - bits));
        next += 1 << bits;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_exactly_the_count() {
        assert_eq!(blocks(1), ["127.1.0.0/32"]);
        assert_eq!(blocks(1_000).len(), 6);
        assert_eq!(blocks(65_537), ["127.1.0.0/16", "127.2.0.0/32"]);
        for count in [1, 7, 1_000, 10_000, 100_000, 1_000_000] {
            let sizes = blocks(count);
            let size =
                |block: &String| 1_u32 << (32 - block.split_once('/').unwrap().1.parse::<u32>().unwrap());
            assert_eq!(sizes.iter().map(size).sum::<u32>(), count);
        }
    }

    #[test]
    fn the_configuration_names_every_target() {
        let mut load = Load {
            kind: Kind::Tcp,
            monitors: 3,
            interval: Duration::from_millis(500),
            separate: true,
        };
        let text = load.configuration(7);
        assert!(
            text.contains("interval = \"500ms\"\ntimeout = \"500ms\""),
            "{text}"
        );
        assert_eq!(text.matches("[[monitor]]").count(), 3);
        assert!(text.contains("target = \"tcp://127.1.0.2:7\""), "{text}");
        load = Load {
            kind: Kind::Icmp,
            separate: false,
            ..load
        };
        let text = load.configuration(7);
        assert!(
            text.contains("target = \"icmp://{host}\"\nhosts = [\"127.1.0.0/31\", \"127.1.0.2/32\"]"),
            "{text}"
        );
    }
}
