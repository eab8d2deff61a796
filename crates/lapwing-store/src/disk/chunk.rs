//! How observations stand in blobs: a chunk for one series and hour, a log blob for one batch of many series.
//!
//! Both carry a checksum bound to their place. What does not decode is reported, never guessed.

use crate::{
    history::{Class, HOUR, limits},
    pack::{Reader, checksum, unzigzag, write_varint, zigzag},
};

/// An observation with its texts as numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raw {
    /// Microseconds since 1970.
    pub at: i64,
    /// Microseconds.
    pub took: i64,
    pub class: Class,
    /// Zero when up.
    pub reason: u32,
    pub sent: u32,
    pub lost: u32,
    pub facts: Vec<(u32, f64)>,
}

impl Raw {
    /// Requests that a class has unless said otherwise.
    fn usual_requests(class: Class) -> (u32, u32) {
        match class {
            Class::Up | Class::Degraded => (1, 0),
            Class::Down => (1, 1),
            Class::Inconclusive => (0, 0),
        }
    }

    fn flags(&self) -> u8 {
        let unusual = (self.sent, self.lost) != Self::usual_requests(self.class);
        self.class as u8 | u8::from(unusual) << 2 | u8::from(!self.facts.is_empty()) << 3
    }

    fn write_rest(&self, flags: u8, out: &mut Vec<u8>) {
        out.push(flags);
        if self.class != Class::Up {
            write_varint(u64::from(self.reason), out);
        }
        if flags & UNUSUAL != 0 {
            write_varint(u64::from(self.sent), out);
            write_varint(u64::from(self.lost), out);
        }
        if flags & FACTS != 0 {
            write_varint(self.facts.len() as u64, out);
            self.facts
                .iter()
                .for_each(|(name, value)| write_fact(*name, *value, out));
        }
    }

    fn read_rest(at: i64, took: i64, reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.byte()?;
        if flags > 15 {
            return None;
        }
        let class = Class::ALL[usize::from(flags & 3)];
        let mut raw = Self::plain(at, took, class);
        if class != Class::Up {
            raw.reason = reader.varint32()?;
        }
        if flags & UNUSUAL != 0 {
            (raw.sent, raw.lost) = (reader.varint32()?, reader.varint32()?);
        }
        if flags & FACTS != 0 {
            let count = usize::try_from(reader.varint()?)
                .ok()
                .filter(|n| *n <= limits::FACTS_PER_ROW)?;
            raw.facts.reserve_exact(count);
            for _ in 0..count {
                raw.facts.push(read_fact(reader)?);
            }
        }
        Some(raw)
    }

    fn plain(at: i64, took: i64, class: Class) -> Self {
        let (sent, lost) = Self::usual_requests(class);
        Self {
            at,
            took,
            class,
            reason: 0,
            sent,
            lost,
            facts: Vec::new(),
        }
    }
}

const UNUSUAL: u8 = 4;
const FACTS: u8 = 8;

/// Facts are mostly whole numbers or have few decimals; the last two bits of the name say how the value stands.
fn write_fact(name: u32, value: f64, out: &mut Vec<u8>) {
    for (form, scale) in SCALES.into_iter().enumerate() {
        let scaled = (value * scale).round();
        let whole = scaled as i64;
        if scaled.abs() < 9e15 && (whole as f64 / scale).to_bits() == value.to_bits() {
            write_varint(u64::from(name) << 2 | form as u64, out);
            write_varint(zigzag(whole), out);
            return;
        }
    }
    write_varint(u64::from(name) << 2 | 3, out);
    out.extend(value.to_le_bytes());
}

const SCALES: [f64; 3] = [1.0, 1e3, 1e6];

fn read_fact(reader: &mut Reader<'_>) -> Option<(u32, f64)> {
    let head = reader.varint()?;
    let name = u32::try_from(head >> 2).ok()?;
    let value = match SCALES.get((head & 3) as usize) {
        Some(scale) => unzigzag(reader.varint()?) as f64 / scale,
        None => f64::from_le_bytes(reader.eight()?),
    };
    Some((name, value))
}

/// The observations of a series in an hour, each written as its difference from what was to be expected.
///
/// A time stands as the difference from the slot after the last one, a latency as that from the last one.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    last: Last,
    pub bytes: Vec<u8>,
    pub count: u32,
    /// Times never went back.
    pub sorted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: i64,
    step: i64,
    took: i64,
}

impl Last {
    fn new(hour: i64) -> Self {
        Self {
            at: hour.wrapping_mul(HOUR),
            step: 0,
            took: 0,
        }
    }

    fn advance(&mut self, at: i64, took: i64) {
        let step = at.wrapping_sub(self.at);
        *self = Self {
            at,
            step: slot(step),
            took,
        };
    }
}

/// Intervals are multiples of 10 ms, what is left over is the jitter of one probe.
fn slot(step: i64) -> i64 {
    const GRID: i64 = 10_000;
    if step < GRID {
        step.max(0)
    } else {
        (step + GRID / 2) / GRID * GRID
    }
}

impl Chunk {
    pub(super) fn new(hour: i64) -> Self {
        Self {
            last: Last::new(hour),
            bytes: Vec::new(),
            count: 0,
            sorted: true,
        }
    }

    pub(super) fn push(&mut self, raw: &Raw) {
        self.sorted &= self.count == 0 || raw.at >= self.last.at;
        let off = raw.at.wrapping_sub(self.last.at).wrapping_sub(self.last.step);
        let flags = raw.flags();
        // Within an hour the difference has 33 bits, so that the shift loses nothing.
        write_varint(zigzag(off) << 1 | u64::from(flags != 0), &mut self.bytes);
        write_varint(zigzag(raw.took - self.last.took), &mut self.bytes);
        if flags != 0 {
            raw.write_rest(flags, &mut self.bytes);
        }
        self.last.advance(raw.at, raw.took);
        self.count += 1;
    }

    /// The blob of the database.
    pub(super) fn seal(&self, series: u32, hour: i64) -> Vec<u8> {
        let mut blob = Vec::with_capacity(self.bytes.len() + HEAD);
        blob.extend(mark(series, hour, self.count, &self.bytes).to_le_bytes());
        blob.push(FORMAT);
        blob.extend(&self.bytes);
        blob
    }

    /// Decodes what [`Chunk::seal`] made; None when it is damaged.
    pub(super) fn open(series: u32, hour: i64, count: u32, blob: &[u8]) -> Option<Vec<Raw>> {
        let (head, bytes) = blob.split_at_checked(HEAD)?;
        let stored = u32::from_le_bytes(*head.first_chunk()?);
        if head[4] != FORMAT || stored != mark(series, hour, count, bytes) {
            return None;
        }
        rows(hour, count, bytes)
    }

    /// The rows so far, in the order they came.
    pub(super) fn rows(&self, hour: i64) -> Option<Vec<Raw>> {
        rows(hour, self.count, &self.bytes)
    }
}

const HEAD: usize = 5;
const FORMAT: u8 = 1;

fn rows(hour: i64, count: u32, bytes: &[u8]) -> Option<Vec<Raw>> {
    let mut reader = Reader(bytes);
    let mut last = Last::new(hour);
    // Every row takes two bytes or more, so a wrong count cannot ask for much memory.
    let mut rows = Vec::with_capacity((count as usize).min(bytes.len() / 2));
    for _ in 0..count {
        let head = reader.varint()?;
        let at = last.at.wrapping_add(last.step).wrapping_add(unzigzag(head >> 1));
        let took = last.took.wrapping_add(unzigzag(reader.varint()?));
        rows.push(match head & 1 {
            0 => Raw::plain(at, took, Class::Up),
            _ => Raw::read_rest(at, took, &mut reader)?,
        });
        last.advance(at, took);
    }
    reader.is_empty().then_some(rows)
}

fn mark(series: u32, hour: i64, count: u32, bytes: &[u8]) -> u32 {
    let seed = (u64::from(series) << 32 | u64::from(count)) ^ hour.cast_unsigned().rotate_left(17);
    checksum(seed, bytes)
}

/// A log blob: rows of many series in the order they came.
pub(super) fn write_log(rows: &[(u32, Raw)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * 10);
    let mut last = 0i64;
    for (series, raw) in rows {
        write_varint(u64::from(*series), &mut bytes);
        write_varint(zigzag(raw.at.wrapping_sub(last)), &mut bytes);
        write_varint(raw.took.cast_unsigned(), &mut bytes);
        raw.write_rest(raw.flags(), &mut bytes);
        last = raw.at;
    }
    let mut blob = Vec::with_capacity(bytes.len() + HEAD);
    blob.extend(checksum(rows.len() as u64, &bytes).to_le_bytes());
    blob.push(FORMAT);
    blob.extend(bytes);
    blob
}

/// Decodes what [`write_log`] made; None when it is damaged.
pub(super) fn read_log(count: u32, blob: &[u8]) -> Option<Vec<(u32, Raw)>> {
    let (head, bytes) = blob.split_at_checked(HEAD)?;
    if head[4] != FORMAT || u32::from_le_bytes(*head.first_chunk()?) != checksum(u64::from(count), bytes) {
        return None;
    }
    let mut reader = Reader(bytes);
    let mut rows = Vec::with_capacity((count as usize).min(bytes.len() / 4));
    let mut last = 0i64;
    for _ in 0..count {
        let series = reader.varint32()?;
        last = last.wrapping_add(unzigzag(reader.varint()?));
        let took = reader.varint()?.cast_signed();
        rows.push((series, Raw::read_rest(last, took, &mut reader)?));
    }
    reader.is_empty().then_some(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::hour_of;

    fn raw(hour: i64) -> impl Strategy<Value = Raw> {
        let fact = prop_oneof![
            any::<f64>(),
            any::<i32>().prop_map(f64::from),
            (-9999i32..9999).prop_map(|v| f64::from(v) / 1e3),
            Just(-0.0)
        ];
        let facts = prop::collection::vec((any::<u32>().prop_map(|n| n >> 2), fact), 0..4);
        (
            0..HOUR,
            any::<i64>(),
            0usize..4,
            any::<u32>(),
            any::<(u32, u32)>(),
            facts,
            any::<bool>(),
        )
            .prop_map(move |(at, took, class, reason, requests, facts, usual)| {
                let mut raw = Raw::plain(
                    hour.wrapping_mul(HOUR).wrapping_add(at),
                    took & i64::MAX,
                    Class::ALL[class],
                );
                raw.reason = if raw.class == Class::Up { 0 } else { reason };
                if !usual {
                    (raw.sent, raw.lost) = requests;
                }
                raw.facts = facts;
                raw
            })
    }

    /// NaN is not equal to itself, its bits are.
    fn same(a: &Raw, b: &Raw) -> bool {
        let bits = |raw: &Raw| {
            raw.facts
                .iter()
                .map(|(n, v)| (*n, v.to_bits()))
                .collect::<Vec<_>>()
        };
        let bare = |raw: &Raw| Raw {
            facts: Vec::new(),
            ..raw.clone()
        };
        bits(a) == bits(b) && bare(a) == bare(b)
    }

    fn hours() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0),
            Just(497_000),
            Just(hour_of(lapwing_core::time::Wall(i64::MAX))),
            -500_000i64..500_000
        ]
    }

    proptest! {
        #[test]
        fn rows_come_back(
            (hour, rows) in hours().prop_flat_map(|h| (Just(h), prop::collection::vec(raw(h), 0..60))),
            series: u32,
        ) {
            let mut chunk = Chunk::new(hour);
            for raw in &rows {
                chunk.push(raw);
            }
            let blob = chunk.seal(series, hour);
            let back = Chunk::open(series, hour, chunk.count, &blob).unwrap();
            prop_assert!(back.len() == rows.len() && back.iter().zip(&rows).all(|(a, b)| same(a, b)));
            prop_assert_eq!(chunk.sorted, rows.is_sorted_by_key(|r| r.at));
            prop_assert!(Chunk::open(series ^ 1, hour, chunk.count, &blob).is_none());
            prop_assert!(Chunk::open(series, hour + 1, chunk.count, &blob).is_none());

            let rows: Vec<(u32, Raw)> = rows.into_iter().map(|r| (series, r)).collect();
            let blob = write_log(&rows);
            let back = read_log(rows.len() as u32, &blob).unwrap();
            prop_assert!(back.len() == rows.len() && back.iter().zip(&rows).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1)));
        }

        #[test]
        fn damage_is_seen(mut at in any::<usize>(), bit in 0u8..8, cut: bool) {
            let mut chunk = Chunk::new(0);
            for i in 0..50 {
                chunk.push(&Raw::plain(i * 30_000_000 + i, 900 + i, Class::Up));
            }
            let mut blob = chunk.seal(3, 0);
            at %= blob.len();
            if cut { blob.truncate(at) } else { blob[at] ^= 1 << bit }
            prop_assert!(Chunk::open(3, 0, 50, &blob).is_none());
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>, count: u32) {
            drop(rows(0, count, &bytes));
            let mut blob = checksum(u64::from(count), &bytes).to_le_bytes().to_vec();
            blob.push(FORMAT);
            blob.extend(bytes);
            drop(read_log(count, &blob));
        }
    }

    #[test]
    fn a_usual_row_takes_four_bytes() {
        let mut chunk = Chunk::new(0);
        for i in 0..120i64 {
            chunk.push(&Raw::plain(
                i * 30_000_000 + (i * 7919) % 3000,
                20_000 + (i * 104_729) % 3000,
                Class::Up,
            ));
        }
        assert!(chunk.bytes.len() <= 4 * 120 + 4, "{}", chunk.bytes.len());
    }
}
