//! Identifiers and the seeded source of randomness. No randomness is taken here: the seed is an argument.

use std::fmt;

use crate::time::Wall;

/// A ULID: 48 bits of milliseconds, 80 bits of randomness, 26 characters of Crockford base 32, sortable by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u128);

impl Id {
    pub fn new(at: Wall, rng: &mut Rng) -> Self {
        let millis = (at.0 / 1000).clamp(0, (1 << 48) - 1) as u128;
        let random = (u128::from(rng.next()) << 64 | u128::from(rng.next())) & ((1 << 80) - 1);
        Self(millis << 80 | random)
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 26 {
            return None;
        }
        let mut value = 0u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == byte.to_ascii_uppercase())?;
            value = value.checked_mul(32)?.checked_add(digit as u128)?;
        }
        Some(Self(value))
    }
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in (0..26).rev() {
            write!(f, "{}", char::from(ALPHABET[(self.0 >> (5 * i) & 31) as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A small seeded generator (`SplitMix64`, Steele et al. 2014): jitter and the random part of ids, never keys or tokens.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// A stable hash of `text`: the same in every run and version, so that schedules keep their spread (FNV-1a, mixed).
pub fn stable_hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(hash)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_round_trip() {
        let mut rng = Rng::new(7);
        let early = Id::new(Wall(1_000_000_000), &mut rng);
        let late = Id::new(Wall(2_000_000_000), &mut rng);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(Id::parse(&late.to_string()), Some(late));
        assert_eq!(Id::parse("too short"), None);
        assert_eq!(Id::parse("ZZZZZZZZZZZZZZZZZZZZZZZZZZ"), None);
    }
}
