//! Bytes of the history: varints, zigzag, a checksum. Reading never panics and never trusts a length.

/// Seven bits a byte, low ones first, the top bit says that more follow.
pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign become small numbers.
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads what the functions above wrote; None where the bytes end early or cannot be.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 127);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn varint32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(crate) fn eight(&mut self) -> Option<[u8; 8]> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(*first)
    }
}

/// A checksum against bit rot and misplaced pages, not against an adversary. `seed` binds the bytes to their place.
pub(crate) fn checksum(seed: u64, bytes: &[u8]) -> u32 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |state: u64, word: u64| {
        let state = (state ^ word).wrapping_mul(MIX);
        state ^ (state >> 29)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words.iter().fold(step(seed, bytes.len() as u64), |s, word| {
        step(s, u64::from_le_bytes(*word))
    });
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let state = step(step(state, u64::from_le_bytes(last)), MIX);
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<u64>, signed: i64) {
            let mut bytes = Vec::new();
            for v in &values {
                write_varint(*v, &mut bytes);
            }
            let mut reader = Reader(&bytes);
            for v in &values {
                prop_assert_eq!(reader.varint(), Some(*v));
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn a_changed_bit_changes_the_checksum(seed: u64, mut bytes in prop::collection::vec(any::<u8>(), 1..200), at: usize) {
            let before = checksum(seed, &bytes);
            let at = at % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert_ne!(checksum(seed, &bytes), before);
        }
    }

    #[test]
    fn endless_and_oversized_numbers_are_refused() {
        assert_eq!(Reader(&[255; 20]).varint(), None);
        assert_eq!(
            Reader(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]).varint(),
            None
        );
        assert_eq!(Reader(&[128]).varint(), None);
        assert_eq!(Reader(&[255, 255, 255, 255, 31]).varint32(), None);
    }
}
