//! `cidr`: ranges of addresses, such as `10.0.0.0/8`.

use std::net::IpAddr;

/// The bits of an address, from the first on, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The address that a range begins with, and how many of its bits count.
fn range(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (address.parse().ok()?, length.parse().ok()?);
    (length <= bits(address).1).then_some((address, length))
}

pub(super) fn is_valid(text: &str) -> bool {
    range(text).is_some()
}

/// Whether an address is in a range such as `10.0.0.0/8`; what is neither is not.
pub fn contains(range: &str, address: &str) -> bool {
    let (Some((first, length)), Ok(address)) = (self::range(range), address.parse::<IpAddr>()) else { return false };
    let differ = bits(first).0 ^ bits(address).0;
    first.is_ipv4() == address.is_ipv4() && differ.leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_range_of_its_own_kind() {
        for (range, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "ten", false),
        ] {
            assert_eq!(contains(range, address), expected, "{range} and {address}");
        }
        for range in ["10.0.0.0", "10.0.0.0/33", "10.0/8", "x/8"] {
            assert!(!is_valid(range), "{range}");
        }
    }
}
