//! Who may send beats: keyed sensors by id, plain sources by network, HTTP pings by key.
//!
//! A roster is replaced as a whole. Looking up never tells by its time how close a guess was, and nothing here prints
//! a key.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, PoisonError, RwLock},
};

use ipnet::{IpNet, Ipv4Net};
use lapwing_core::secret::Secret;
use lapwing_wire::heartbeat::{BadSensorId, SensorId};
use sha2::{Digest, Sha256};

/// Most keys of one sensor: the new and the old one while they are being exchanged.
const MAX_KEYS: usize = 2;
const MIN_KEY: usize = 16;
const MAX_KEY: usize = 128;

/// Who may send beats, and to which series they go.
#[derive(Clone, Default)]
pub struct Roster {
    keyed: HashMap<SensorId, Sensor>,
    plain: HashMap<IpNet, Arc<str>>,
    /// Lengths of the prefixes in `plain`, longest first.
    prefixes: Vec<u8>,
    /// By SHA-256 of the key: the time of a look-up says nothing about a key.
    urls: HashMap<[u8; 32], Arc<str>>,
    adopt: bool,
}

/// A keyed sensor. Kept small, for there may be a hundred thousand.
#[derive(Clone)]
pub(super) struct Sensor {
    pub(super) series: Arc<str>,
    /// The first key, and behind it the second, if there is one.
    keys: Box<[u8]>,
    first: u8,
}

/// Why somebody cannot be put on the roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    #[error(transparent)]
    BadId(#[from] BadSensorId),
    #[error("a sensor has one or two keys of 16 to 128 characters each")]
    BadKey,
    #[error("the sensor {0} is there twice")]
    SensorTwice(String),
    #[error("plain beats from {0} belong to two monitors")]
    NetworkTwice(IpNet),
    #[error("two monitors have the same key")]
    KeyTwice,
}

impl Roster {
    /// Beats of the sensor `id` that were signed with one of `keys` (at most two) go to `series`.
    pub fn keyed(&mut self, id: &str, series: Arc<str>, keys: &[Secret]) -> Result<(), RosterError> {
        let id = SensorId::parse(id)?;
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.expose().as_bytes()).collect();
        let sound = (1..=MAX_KEYS).contains(&keys.len())
            && keys.iter().all(|key| (MIN_KEY..=MAX_KEY).contains(&key.len()));
        if !sound {
            return Err(RosterError::BadKey);
        }
        let sensor = Sensor {
            series,
            first: keys[0].len() as u8,
            keys: keys.concat().into(),
        };
        match self.keyed.entry(id) {
            Entry::Occupied(_) => Err(RosterError::SensorTwice(id.to_string())),
            Entry::Vacant(place) => {
                place.insert(sensor);
                Ok(())
            }
        }
    }

    /// Plain beats from `sources` go to `series`; of several networks that hold a source, the smallest counts.
    pub fn plain(&mut self, sources: IpNet, series: Arc<str>) -> Result<(), RosterError> {
        let network = canonical(sources);
        if self.plain.insert(network, series).is_some() {
            return Err(RosterError::NetworkTwice(network));
        }
        if !self.prefixes.contains(&network.prefix_len()) {
            self.prefixes.push(network.prefix_len());
            self.prefixes.sort_unstable_by(|a, b| b.cmp(a));
        }
        Ok(())
    }

    /// HTTP pings with `key` go to `series`.
    pub fn url(&mut self, key: &Secret, series: Arc<str>) -> Result<(), RosterError> {
        match self.urls.insert(digest(key.expose()), series) {
            Some(_) => Err(RosterError::KeyTwice),
            None => Ok(()),
        }
    }

    /// Whether plain beats of sources that belong to nobody are handed on as strangers'.
    pub fn adopt(&mut self, adopt: bool) {
        self.adopt = adopt;
    }

    /// The series that HTTP pings with this key belong to.
    pub fn by_url(&self, key: &str) -> Option<Arc<str>> {
        self.urls.get(&digest(key)).cloned()
    }

    pub(super) fn sensor(&self, id: &SensorId) -> Option<&Sensor> {
        self.keyed.get(id)
    }

    pub(super) fn by_source(&self, source: IpAddr) -> Option<&Arc<str>> {
        let source = source.to_canonical();
        let networks = self
            .prefixes
            .iter()
            .filter_map(|len| IpNet::new(source, *len).ok());
        networks
            .map(|network| network.trunc())
            .find_map(|network| self.plain.get(&network))
    }

    pub(super) fn adopts(&self) -> bool {
        self.adopt
    }
}

impl Sensor {
    /// Its keys, the newest first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let (first, second) = self.keys.split_at(usize::from(self.first));
        [first, second].into_iter().filter(|key| !key.is_empty())
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster")
            .field("keyed", &self.keyed.len())
            .field("plain", &self.plain.len())
            .field("urls", &self.urls.len())
            .field("adopt", &self.adopt)
            .finish_non_exhaustive()
    }
}

/// Without host bits, and IPv4 where it is IPv4 written as IPv6.
fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let mapped = |address: Ipv6Addr, len: u8| {
        let len = len.checked_sub(96)?;
        Ipv4Net::new(address.to_ipv4_mapped()?, len).ok()
    };
    match network {
        IpNet::V6(v6) => mapped(v6.addr(), v6.prefix_len()).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The roster that is in force, for all who ask it.
#[derive(Clone, Debug, Default)]
pub struct Rosters(Arc<RwLock<Arc<Roster>>>);

impl Rosters {
    pub fn new(roster: impl Into<Arc<Roster>>) -> Self {
        Self(Arc::new(RwLock::new(roster.into())))
    }

    pub fn get(&self) -> Arc<Roster> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another roster in force. What is known of the sensors' sequences stays.
    pub fn replace(&self, roster: Arc<Roster>) {
        let old = {
            let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, roster)
        };
        // Taking a large one apart takes a while; nobody waits for the lock any more.
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn sensors_have_one_or_two_keys() {
        let mut roster = Roster::default();
        let old = "fedcba9876543210fedc";
        roster
            .keyed("one", "s1".into(), &[secret(KEY)])
            .and_then(|()| roster.keyed("two", "s2".into(), &[secret(KEY), secret(old)]))
            .unwrap();
        let keys = |id: &str| -> Vec<Vec<u8>> {
            let sensor = roster.sensor(&SensorId::parse(id).unwrap()).unwrap();
            sensor.keys().map(<[u8]>::to_vec).collect()
        };
        assert_eq!(keys("one"), [KEY.as_bytes()]);
        assert_eq!(keys("two"), [KEY.as_bytes(), old.as_bytes()]);
        assert!(roster.sensor(&SensorId::parse("three").unwrap()).is_none());
        let text = format!("{roster:?}");
        assert_eq!(text, "Roster { keyed: 2, plain: 0, urls: 0, adopt: false, .. }");
    }

    #[test]
    fn what_cannot_be_on_a_roster() {
        let mut roster = Roster::default();
        let mut keyed = |id: &str, keys: &[&str]| {
            let keys: Vec<Secret> = keys.iter().map(|key| secret(key)).collect();
            roster.keyed(id, "s".into(), &keys)
        };
        let (short, long) = ("x".repeat(15), "x".repeat(129));
        assert_eq!(keyed("a b", &[KEY]), Err(RosterError::BadId(BadSensorId)));
        for keys in [
            &[][..],
            &[short.as_str()],
            &[long.as_str()],
            &[KEY, &short],
            &[KEY; 3],
        ] {
            assert_eq!(keyed("home", keys), Err(RosterError::BadKey));
        }
        assert_eq!(keyed("home", &[&"x".repeat(16), &"x".repeat(128)]), Ok(()));
        assert_eq!(
            keyed("home", &[KEY]),
            Err(RosterError::SensorTwice("home".into()))
        );
        assert_eq!(roster.plain(net("10.1.2.3/8"), "a".into()), Ok(()));
        for same in ["10.0.0.0/8", "::ffff:10.9.9.9/104"] {
            let error = RosterError::NetworkTwice(net("10.0.0.0/8"));
            assert_eq!(roster.plain(net(same), "b".into()), Err(error));
        }
        assert_eq!(roster.url(&secret(KEY), "a".into()), Ok(()));
        assert_eq!(roster.url(&secret(KEY), "b".into()), Err(RosterError::KeyTwice));
    }

    #[test]
    fn the_smallest_network_counts() {
        let mut roster = Roster::default();
        for (network, series) in [
            ("0.0.0.0/0", "any4"),
            ("10.0.0.0/8", "ten"),
            ("10.0.0.7/32", "seven"),
            ("::ffff:10.3.0.0/112", "mapped"),
            ("2001:db8::/32", "doc"),
            ("2001:db8::1/128", "one"),
        ] {
            roster.plain(net(network), series.into()).unwrap();
        }
        for (source, series) in [
            ("192.0.2.1", Some("any4")),
            ("10.0.0.8", Some("ten")),
            ("10.0.0.7", Some("seven")),
            ("::ffff:10.0.0.7", Some("seven")),
            ("10.3.200.1", Some("mapped")),
            ("2001:db8::2", Some("doc")),
            ("2001:db8::1", Some("one")),
            ("2001:db9::1", None),
            ("::", None),
        ] {
            let found = roster.by_source(source.parse().unwrap());
            assert_eq!(found.map(|series| &**series), series, "{source}");
        }
    }

    #[test]
    fn urls_and_replacement() {
        let mut roster = Roster::default();
        roster.url(&secret(KEY), "job".into()).unwrap();
        let rosters = Rosters::new(Arc::new(roster));
        assert_eq!(rosters.get().by_url(KEY).as_deref(), Some("job"));
        for guess in ["", "0123456789abcdeg", "0123456789abcde"] {
            assert_eq!(rosters.get().by_url(guess), None);
        }
        let faces = rosters.clone();
        let mut next = Roster::default();
        next.adopt(true);
        rosters.replace(Arc::new(next));
        assert_eq!(faces.get().by_url(KEY), None);
        assert!(faces.get().adopts());
    }
}
