//! The Internet checksum (RFC 1071).

/// The one's complement of the one's complement sum of `bytes` as big-endian 16-bit words; an odd last byte is padded
/// with zero (RFC 1071, section 1). Over bytes that hold their own correct checksum it is 0.
pub fn internet(bytes: &[u8]) -> u16 {
    // Eight bytes at a time: a carry into bit 64 and above is folded back at the end (RFC 1071, section 2).
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum: u128 = words
        .iter()
        .map(|word| u128::from(u64::from_be_bytes(*word)))
        .sum();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum += u128::from(u64::from_be_bytes(last));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word by word, as RFC 1071 writes it.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn example_of_the_rfc() {
        // RFC 1071, section 3: the sum is ddf2, the checksum its complement.
        assert_eq!(
            internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(internet(&[]), 0xffff);
        let longest = vec![0xff; 65_535];
        assert_eq!(internet(&longest), plain(&longest));
    }

    proptest::proptest! {
        #[test]
        fn equals_the_plain_sum(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(internet(&bytes), plain(&bytes));
        }
    }
}
