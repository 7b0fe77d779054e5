//! Bytes as hexadecimal digits, in small letters.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of a byte.
#[must_use]
pub fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)])
}

/// Two digits for each byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| digits(*byte)).map(char::from).collect()
}

/// The bytes that a text stands for; `None` for what [`encode`] would not have written.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let half = |digit: u8| DIGITS.iter().position(|known| *known == digit);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(half(*high)? << 4 | half(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        assert_eq!(encode(&[0, 0x4a, 0xff]), "004aff");
        assert_eq!(decode(""), Some(Vec::new()));
        for bad in ["4", "4g", "+1", "4A", "0x", "ä"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
