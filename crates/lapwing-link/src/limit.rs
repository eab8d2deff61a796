//! Rate limits on what others send, in tables that cannot outgrow their bound.

use std::{collections::HashMap, hash::Hash, net::IpAddr, time::Duration};

use lapwing_core::time::Mono;

/// Sources that are limited each for itself; all further ones share one bucket.
const SOURCES: usize = 65_536;
/// How often a full table is searched for what can go.
const SWEEP: Duration = Duration::from_secs(1);

const SECOND: u64 = 1_000_000_000;
/// Plain datagrams that are guarded: one a second from each source, after so many at once. Between two servers that
/// answer each other this lets no datagram live long whose round trip is shorter than a second.
const SLOWLY: Rate = Rate::of(1, 10);

/// A table that takes no new entries when it is full of ones still needed.
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, V>,
    limit: usize,
    swept: Option<Mono>,
}

impl<K: Eq + Hash, V> Bounded<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            limit,
            swept: None,
        }
    }

    /// The entry of `key`, if there is one.
    pub(crate) fn known(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry of `key`, made by `new` where there is none and room for it.
    pub(crate) fn get(
        &mut self,
        key: K,
        now: Mono,
        new: impl FnOnce() -> V,
        needed: impl Fn(&V) -> bool,
    ) -> Option<&mut V> {
        if self.entries.len() < self.limit {
            return Some(self.entries.entry(key).or_insert_with(new));
        }
        if !self.entries.contains_key(&key) && self.swept.is_none_or(|at| now.since(at) >= SWEEP) {
            self.swept = Some(now);
            self.entries.retain(|_, value| needed(value));
            if self.entries.len() < self.limit {
                return Some(self.entries.entry(key).or_insert_with(new));
            }
        }
        self.entries.get_mut(&key)
    }
}

/// What a bucket gains and holds, in the time that it takes to gain it, ns.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    each: u64,
    burst: u64,
}

impl Rate {
    /// So many a second, and so many at once.
    pub(crate) const fn of(rate: u32, burst: u32) -> Self {
        let each = SECOND.div_ceil(rate as u64);
        Self {
            each,
            burst: each * burst as u64,
        }
    }

    /// So many a second, and a second's worth at once.
    fn a_second(rate: u32) -> Self {
        Self {
            each: SECOND.div_ceil(u64::from(rate).max(1)),
            burst: if rate == 0 { 0 } else { SECOND },
        }
    }
}

/// A bucket of tokens, kept as the moment when it will be full again, in ns of the monotonic clock (GCRA, ITU-T I.371).
#[derive(Clone, Copy, Default)]
pub(crate) struct Bucket(u64);

impl Bucket {
    /// True when there was a token left.
    pub(crate) fn take(&mut self, now: Mono, rate: Rate) -> bool {
        let now = nanos(now);
        let after = self.0.max(now).saturating_add(rate.each);
        let fits = after - now <= rate.burst;
        if fits {
            self.0 = after;
        }
        fits
    }
}

/// Limits of each source (an IPv4 address or an IPv6 /64) and of all together, each a second.
pub struct Limits {
    per_source: Rate,
    in_all: Rate,
    sources: Bounded<u128, Bucket>,
    others: Bucket,
    /// Sources of plain datagrams that are guarded.
    slow: Bounded<u128, Bucket>,
    all: Bucket,
}

impl Limits {
    /// So many a second, and a second's worth at once.
    pub fn new(per_source: u32, in_all: u32) -> Self {
        Self {
            per_source: Rate::a_second(per_source),
            in_all: Rate::a_second(in_all),
            sources: Bounded::new(SOURCES),
            others: Bucket::default(),
            slow: Bounded::new(SOURCES),
            all: Bucket::default(),
        }
    }

    /// True when one more of `source` is within the limits.
    pub fn allow(&mut self, source: IpAddr, now: Mono) -> bool {
        let ns = nanos(now);
        let own = self
            .sources
            .get(network(source), now, Bucket::default, |bucket| bucket.0 > ns);
        own.unwrap_or(&mut self.others).take(now, self.per_source) && self.all.take(now, self.in_all)
    }

    /// As [`Limits::allow`], and also no more than [`SLOWLY`]. Where there is no room to count, there is no answer.
    pub(crate) fn allow_slowly(&mut self, source: IpAddr, now: Mono) -> bool {
        let ns = nanos(now);
        let own = self
            .slow
            .get(network(source), now, Bucket::default, |bucket| bucket.0 > ns);
        own.is_some_and(|bucket| bucket.take(now, SLOWLY)) && self.allow(source, now)
    }
}

fn nanos(at: Mono) -> u64 {
    at.0.saturating_mul(1000)
}

/// An IPv4 address, or the /64 of an IPv6 address: what one source is taken to be.
fn network(source: IpAddr) -> u128 {
    match source.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        // An IPv4 address is below 2^32, and every /64 but ::/64 is above.
        IpAddr::V6(address) => (u128::from(address) >> 64 << 64) | 1 << 32,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(60_000_000 + ms * 1000)
    }

    #[test]
    fn a_source_has_its_rate_and_a_second_of_burst() {
        let mut limits = Limits::new(10, 1000);
        let source = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        assert_eq!((0..50).filter(|_| limits.allow(source(1), at(0))).count(), 10);
        assert!(limits.allow(source(2), at(0)), "another source has its own");
        assert!(!limits.allow(source(1), at(99)));
        assert!(limits.allow(source(1), at(100)));
        assert_eq!(
            (0..50).filter(|_| limits.allow(source(1), at(60_000))).count(),
            10,
            "no more after a pause"
        );
        assert!(!Limits::new(0, 10).allow(source(1), at(0)));
    }

    #[test]
    fn rates_are_kept_to_the_datagram() {
        for rate in [7, 150_000, 333_333] {
            let mut limits = Limits::new(rate, u32::MAX);
            let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
            // As many as are let through in two seconds, asked twice as often as the rate: a burst, and what was gained.
            let step = Duration::from_secs(1) / (2 * rate);
            let allowed = (0..4 * rate)
                .filter(|n| limits.allow(source, Mono((step * *n).as_micros() as u64)))
                .count();
            let (least, most) = (3 * rate as usize - rate as usize / 100 - 1, 3 * rate as usize);
            assert!((least..=most).contains(&allowed), "{rate}: {allowed}");
        }
    }

    #[test]
    fn a_bucket_has_its_burst_and_then_its_rate() {
        let (mut bucket, rate) = (Bucket::default(), Rate::of(5, 20));
        assert_eq!((0..50).filter(|_| bucket.take(at(0), rate)).count(), 20);
        assert!(!bucket.take(at(199), rate));
        assert!(bucket.take(at(200), rate) && !bucket.take(at(200), rate));
        assert_eq!((0..50).filter(|_| bucket.take(at(60_000), rate)).count(), 20);
    }

    #[test]
    fn slowly_is_one_a_second_after_ten() {
        let mut limits = Limits::new(1000, 1000);
        let source = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        assert_eq!(
            (0..50).filter(|_| limits.allow_slowly(source(1), at(0))).count(),
            10
        );
        assert!(limits.allow_slowly(source(2), at(0)));
        assert!(!limits.allow_slowly(source(1), at(999)));
        assert!(limits.allow_slowly(source(1), at(1000)));
        assert!(limits.allow(source(1), at(1000)), "others are not slowed down");
        assert!(!Limits::new(0, 10).allow_slowly(source(1), at(0)));
    }

    #[test]
    fn a_v6_source_is_its_slash_64() {
        let mut limits = Limits::new(1, 1000);
        let source = |net, host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host));
        assert!(limits.allow(source(0, 1), at(0)));
        assert!(!limits.allow(source(0, 2), at(0)));
        assert!(limits.allow(source(1, 1), at(0)));
        assert!(limits.allow(IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped()), at(0)));
        assert!(
            !limits.allow(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), at(0)),
            "the same, written otherwise"
        );
    }

    #[test]
    fn all_together_are_limited() {
        let mut limits = Limits::new(10, 100);
        let allowed = (0..1000u32)
            .filter(|n| limits.allow(IpAddr::V4(Ipv4Addr::from(*n)), at(0)))
            .count();
        assert_eq!(allowed, 100);
    }

    #[test]
    fn a_flood_of_sources_fills_no_memory() {
        let mut limits = Limits::new(1, u32::MAX);
        let source = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
        let flood = 3 * SOURCES as u32;
        let allowed = (0..flood).filter(|n| limits.allow(source(*n), at(0))).count();
        assert_eq!(
            (allowed, limits.sources.entries.len()),
            (SOURCES + 1, SOURCES),
            "those beyond share one bucket"
        );
        assert!(limits.allow(source(flood), at(5000)) && limits.allow(source(flood + 1), at(5000)));
        assert!(limits.sources.entries.len() < 10, "swept");
    }
}
