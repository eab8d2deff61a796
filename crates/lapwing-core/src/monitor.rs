//! Monitors: what is asked of a series, how often, and when it counts as down.

use std::{net::IpAddr, time::Duration};

/// Address family that a probe may use. `both` in a configuration makes two series, one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    #[default]
    Any,
    V4,
    V6,
}

impl Family {
    pub fn allows(self, addr: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => addr.is_ipv4(),
            Self::V6 => addr.is_ipv6(),
        }
    }
}

/// Which of a name's addresses a probe asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// The first that the resolver gives.
    #[default]
    First,
    /// Every one; the probe passes when all of them do.
    All,
}

/// Where packets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    #[default]
    Any,
    Address(IpAddr),
    /// An interface by name (`SO_BINDTODEVICE`).
    Interface(String),
}

/// What every probe needs to know, whatever its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProbeSettings {
    /// One deadline for all that a probe does, name resolution included.
    pub timeout: Duration,
    /// Limit of the connect alone; at most `timeout`.
    pub connect_timeout: Duration,
    pub family: Family,
    pub addresses: Addresses,
    pub source: Source,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            family: Family::Any,
            addresses: Addresses::First,
            source: Source::Any,
        }
    }
}
