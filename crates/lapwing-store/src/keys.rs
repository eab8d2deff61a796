//! Keys of the ledger: ordered byte strings, and the key spaces that records live in.
//!
//! A key's order is the order of its bytes, so times stand big-endian with the sign bit turned.

use std::fmt;

/// A key of the ledger. The empty key as the end of a range means "to the end of all keys".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Longest key, in bytes.
    pub const MAX: usize = 1024;
    /// As the end of a range: no end.
    pub const END: Self = Self(Vec::new());

    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The smallest key above all that start with this one: the end of the range of a prefix.
    #[must_use]
    pub fn after_prefix(&self) -> Self {
        let mut bytes = self.0.clone();
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return Self(bytes);
            }
        }
        Self::END
    }

    /// The smallest key above this one: where the next page of a range begins.
    #[must_use]
    pub fn next(&self) -> Self {
        let mut bytes = self.0.clone();
        bytes.push(0);
        Self(bytes)
    }

    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// The key spaces, a constructor each, and the way back where a range is read.
///
/// A NUL in a name would end it early, so it is written as U+FFFD; no series is named with one.
pub mod space {
    use std::net::IpAddr;

    use lapwing_core::time::Wall;

    use super::Key;

    const SIGN: u64 = 1 << 63;

    /// State of a series: `series/<series key>`.
    pub fn series(series: &str) -> Key {
        named("series/", series)
    }

    /// All series.
    pub fn all_series() -> Key {
        Key::from("series/")
    }

    /// What is remembered of the beats of a series: `beat/<series key>`.
    pub fn beats(series: &str) -> Key {
        named("beat/", series)
    }

    /// The beats of all series.
    pub fn all_beats() -> Key {
        Key::from("beat/")
    }

    /// A source that was adopted: `adopted/<address>`.
    pub fn adopted(source: IpAddr) -> Key {
        Key::from(&*format!("adopted/{source}"))
    }

    /// All sources that were adopted.
    pub fn all_adopted() -> Key {
        Key::from("adopted/")
    }

    /// A monitor that was added while the daemon ran: `monitor/<name>`.
    pub fn added(monitor: &str) -> Key {
        named("monitor/", monitor)
    }

    /// All monitors that were added.
    pub fn all_added() -> Key {
        Key::from("monitor/")
    }

    /// An outage of a series, ordered by its beginning: `outage/<series key>\0<began>`.
    pub fn outage(series: &str, began: Wall) -> Key {
        timed("outage/", series, began)
    }

    /// All outages of one series, oldest first.
    pub fn outages_of(series: &str) -> Key {
        named_end("outage/", series)
    }

    /// All outages.
    pub fn all_outages() -> Key {
        Key::from("outage/")
    }

    /// Unknown time of a series, ordered by its beginning: `span/<series key>\0<from>`.
    pub fn span(series: &str, from: Wall) -> Key {
        timed("span/", series, from)
    }

    /// All unknown time of one series, oldest first.
    pub fn spans_of(series: &str) -> Key {
        named_end("span/", series)
    }

    /// All unknown time.
    pub fn all_spans() -> Key {
        Key::from("span/")
    }

    /// A notice that waits for its delivery: `outbox/<id>`. Ids that sort by time give the order.
    pub fn outbox(id: &str) -> Key {
        named("outbox/", id)
    }

    /// All waiting notices.
    pub fn all_outbox() -> Key {
        Key::from("outbox/")
    }

    /// A notice that was given up: `dead/<id>`.
    pub fn dead(id: &str) -> Key {
        named("dead/", id)
    }

    /// All dead letters.
    pub fn all_dead() -> Key {
        Key::from("dead/")
    }

    /// A run of the daemon: `run/<started>`.
    pub fn run(started: Wall) -> Key {
        let mut bytes = b"run/".to_vec();
        bytes.extend(order(started));
        Key::new(bytes)
    }

    /// All runs, oldest first.
    pub fn all_runs() -> Key {
        Key::from("run/")
    }

    /// What is remembered about a notifier: `notifier/<name>`.
    pub fn notifier(name: &str) -> Key {
        named("notifier/", name)
    }

    /// All notifiers.
    pub fn all_notifiers() -> Key {
        Key::from("notifier/")
    }

    /// Facts about the ledger itself: `meta/<name>`.
    pub fn meta(name: &str) -> Key {
        named("meta/", name)
    }

    /// The name behind a prefix such as [`all_series`]; None when the key lies elsewhere or holds a time.
    pub fn name_in(key: &Key, space: &Key) -> Option<String> {
        let rest = key.as_bytes().strip_prefix(space.as_bytes())?;
        if rest.contains(&0) {
            return None;
        }
        String::from_utf8(rest.to_vec()).ok()
    }

    /// Series and time of a key of [`outage`] or [`span`].
    pub fn series_and_time(key: &Key) -> Option<(String, Wall)> {
        let bytes = key.as_bytes();
        let slash = bytes.iter().position(|b| *b == b'/')?;
        let zero = bytes
            .len()
            .checked_sub(9)
            .filter(|zero| *zero > slash && bytes[*zero] == 0)?;
        let name = String::from_utf8(bytes[slash + 1..zero].to_vec()).ok()?;
        Some((name, time(&bytes[zero + 1..])?))
    }

    /// When the run of a key of [`run`] started.
    pub fn started(key: &Key) -> Option<Wall> {
        time(key.as_bytes().strip_prefix(b"run/")?)
    }

    fn named(space: &str, name: &str) -> Key {
        Key::new(format!("{space}{}", name.replace('\0', "\u{FFFD}")).into_bytes())
    }

    fn named_end(space: &str, name: &str) -> Key {
        Key::new(format!("{space}{}\0", name.replace('\0', "\u{FFFD}")).into_bytes())
    }

    fn timed(space: &str, name: &str, at: Wall) -> Key {
        let mut bytes = named_end(space, name).as_bytes().to_vec();
        bytes.extend(order(at));
        Key::new(bytes)
    }

    fn order(at: Wall) -> [u8; 8] {
        (at.0.cast_unsigned() ^ SIGN).to_be_bytes()
    }

    fn time(bytes: &[u8]) -> Option<Wall> {
        Some(Wall(
            (u64::from_be_bytes(bytes.try_into().ok()?) ^ SIGN).cast_signed(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use lapwing_core::time::Wall;

    use super::*;

    #[test]
    fn prefixes_end_where_the_next_name_begins() {
        assert_eq!(Key::from("ab").after_prefix(), Key::from("ac"));
        assert_eq!(Key::new([b'a', 255, 255]).after_prefix(), Key::from("b"));
        assert_eq!(Key::new([255, 255]).after_prefix(), Key::END);
        assert!(Key::from("a").next() > Key::from("a") && Key::from("a").next() < Key::from("a\u{1}"));
    }

    #[test]
    fn times_sort_before_and_after_1970() {
        let times = [i64::MIN, -1, 0, 1, 1_790_000_000_000_000, i64::MAX];
        let keys: Vec<Key> = times.iter().map(|t| space::outage("web", Wall(*t))).collect();
        assert!(keys.is_sorted());
        for (key, t) in keys.iter().zip(times) {
            assert_eq!(space::series_and_time(key), Some(("web".to_owned(), Wall(t))));
            assert!(key.starts_with(&space::outages_of("web")) && !key.starts_with(&space::outages_of("we")));
        }
        assert_eq!(space::started(&space::run(Wall(-7))), Some(Wall(-7)));
    }

    #[test]
    fn names_come_back() {
        let key = space::series("web/tcp[::1]");
        assert_eq!(
            space::name_in(&key, &space::all_series()).as_deref(),
            Some("web/tcp[::1]")
        );
        assert_eq!(space::name_in(&key, &space::all_outbox()), None);
        assert_eq!(
            space::name_in(&space::outage("web", Wall(1)), &space::all_outages()),
            None
        );
        assert!(space::series_and_time(&space::outage("a\0b", Wall(5))).is_some());
    }
}
