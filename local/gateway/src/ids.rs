//! Ids in the form of captured ones: 16 characters, base64url of 11 bytes, with one `=` at the end.
//!
//! Layout, from twenty captured ids of nine APIs: the leading bytes grow with time, the ninth byte tells the kind,
//! and a message id ends in the same three bytes as its connection's id.

use std::time::SystemTime;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

const BYTES: usize = 11;
const KIND: usize = 8;
const CONNECTION: u8 = 0x02;
const REQUEST: u8 = 0x05;

/// The bits after the eleventh byte are not looked at: whether AWS does is unknown, and a caller's made-up but
/// well-formed id must be answered 410, not 400.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A new connection id.
pub(super) fn connection() -> String {
    BASE64.encode(fresh(CONNECTION))
}

/// A new request id; API Gateway uses it as `requestId` and `extendedRequestId` alike.
pub(super) fn request() -> String {
    BASE64.encode(fresh(REQUEST))
}

/// A new id of a message that came over `connection_id`.
pub(super) fn message(connection_id: &str) -> String {
    let mut bytes = fresh(CONNECTION);
    if let Some(connection) = parse(connection_id) {
        bytes[KIND..].copy_from_slice(&connection[KIND..]);
    }
    BASE64.encode(bytes)
}

/// Whether API Gateway would look for this connection at all (410 if it is unknown) or call it invalid (400).
pub(super) fn is_well_formed(connection_id: &str) -> bool {
    parse(connection_id).is_some()
}

fn parse(id: &str) -> Option<[u8; BYTES]> {
    if id.len() != 16 {
        return None;
    }
    BASE64.decode(id).ok()?.try_into().ok()
}

/// Four bytes of time in steps of 32 ms (they wrap after four years), four random ones, the kind, two random ones.
fn fresh(kind: u8) -> [u8; BYTES] {
    let ticks = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis() >> 5);
    let random = Uuid::new_v4().into_bytes();
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&ticks.to_be_bytes()[12..]);
    bytes[4..KIND].copy_from_slice(&random[..4]);
    bytes[KIND] = kind;
    // The sixth and eighth byte of a version 4 UUID are not wholly random.
    bytes[KIND + 1..].copy_from_slice(&random[4..6]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_have_the_captured_shape() {
        for (id, kind) in [(connection(), 2), (request(), 5), (message("BFaT_fALIAMCKug="), 2)] {
            assert_eq!(id.len(), 16, "{id}");
            assert!(id.ends_with('=') && !id[..15].contains('='), "{id}");
            assert_eq!(parse(&id).unwrap()[8], kind, "{id}");
        }
    }

    #[test]
    fn captured_ids_are_well_formed_and_follow_the_layout() {
        for id in ["BFHPhfCWIAMCKlQ=", "BFaT_fALIAMCKug=", "Qyi07eCbtjMCJKw=", "XDmENcnwIE0CFEQ=", "R0oXAdfD0kwCH6w="] {
            assert_eq!(parse(id).unwrap()[8], 2, "{id}");
        }
        for id in ["BFHPhFe3IAMF95g=", "BFaVtH2HoAMFZEQ=", "Qyi3UG41tjMFlUg="] {
            assert_eq!(parse(id).unwrap()[8], 5, "{id}");
        }
    }

    #[test]
    fn a_message_id_ends_like_its_connection() {
        let connection = connection();
        assert_eq!(message(&connection)[11..], connection[11..]);
        assert_ne!(message(&connection), message(&connection));
    }

    #[test]
    fn ids_are_unique_and_their_start_grows_with_time() {
        let ids: Vec<_> = (0..10_000).map(|_| connection()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        let first = parse(&ids[0]).unwrap();
        let last = parse(&ids[9_999]).unwrap();
        let ticks = |bytes: [u8; 11]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert!(ticks(last).wrapping_sub(ticks(first)) < 10_000);
    }

    #[test]
    fn other_ids_are_malformed() {
        for id in [
            "",
            "=",
            "ckv8d9nqk0000q8jz2v3h5g1a",
            "0b1d9c4e-6f0a-4a51-9d1f-5f3d2b8f2a11",
            "BFHPhfCWIAMCKlQ",
            "BFHPhfCWIAMCKlQQ",
            "BFHPhfCWIAMCK+Q=",
            "BFHPhfCWIAMCKl==",
        ] {
            assert!(!is_well_formed(id), "{id}");
        }
        assert!(is_well_formed("abcdefghijklmnp="));
    }
}
