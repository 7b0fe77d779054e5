//! Frames in disorder: how long each waits before its function is called.

use std::time::Duration;

use fastrand::Rng;

/// The longest wait, in milliseconds.
const LONGEST_MS: u64 = 300;

/// How long the frame with this number waits on the connection with this number, both from 0: at random between 0 and
/// 300 ms, and with the same seed the same again.
pub(super) fn wait(seed: u64, connection: u64, frame: u64) -> Duration {
    let seeds = Rng::with_seed(seed).u64(..) ^ connection.rotate_left(32) ^ frame;
    Duration::from_millis(Rng::with_seed(seeds).u64(..=LONGEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_evenly_and_come_again_with_their_seed() {
        let all = |seed| -> Vec<u64> {
            let pairs = (0..20).flat_map(|connection| (0..50).map(move |frame| (connection, frame)));
            pairs.map(|(connection, frame)| wait(seed, connection, frame).as_millis().try_into().unwrap()).collect()
        };
        let waits = all(1);
        assert_eq!(waits, all(1));
        assert_ne!(waits, all(2));
        assert!(waits.iter().all(|wait| *wait <= LONGEST_MS));
        for hundred in 0..3 {
            let share = waits.iter().filter(|wait| **wait / 100 == hundred).count();
            assert!((250..420).contains(&share), "{share} of 1,000 wait {hundred}00 ms and more");
        }
        // The frames of a connection change places.
        assert!(waits.windows(2).filter(|pair| pair[0] > pair[1] + 10).count() > 300);
    }
}
