//! Whatever is sent as a token, the answer is a denial: no panic, no failure, and nobody let in who has no good one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tests::issuer::{Issuer, SigningKey};

use crate::keys::Refresh;
use crate::testing::{connect, for_issuer, is_allowed};

/// Bytes that matter in a token, in a URL and in JSON.
const INTERESTING: &[u8] = b"\0\n .=-_+/AZaz09{}[]\":,%\x7f\x80\xff";

#[tokio::test(flavor = "multi_thread")]
async fn fuzz_a_changed_token_lets_nobody_in() {
    let key = SigningKey::es256("k");
    let issuer = Issuer::start().await;
    issuer.publish(&[&key]);
    let authorizer = for_issuer(&issuer, Refresh::default()).await;
    let good = key.token(&issuer.claims("u1"));
    assert!(is_allowed(&connect(&authorizer, &good).await.unwrap()));
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, first) = (number("TIDINGS_FUZZ_SECONDS"), number("TIDINGS_FUZZ_SEED"));
    let (started, mut seed) = (Instant::now(), first.unwrap_or_else(|| fastrand::u64(..)));
    let mut rounds = 0_u64;
    while seconds.map_or(rounds < 2_000, |seconds| started.elapsed() < Duration::from_secs(seconds)) {
        let token = mutate(&good, &mut Rng::with_seed(seed));
        let handle = tokio::runtime::Handle::current();
        let answer = tokio::task::block_in_place(|| {
            catch_unwind(AssertUnwindSafe(|| handle.block_on(connect(&authorizer, &token))))
        });
        let again = format!("again with TIDINGS_FUZZ_SEED={seed}; the token is {token:?}");
        let answer = answer.unwrap_or_else(|_| panic!("it panics: {again}"));
        let answer = answer.unwrap_or_else(|error| panic!("it fails ({error}): {again}"));
        assert!(!is_allowed(&answer) || token == good, "it lets in: {again}");
        rounds += 1;
        seed = fastrand::u64(..);
    }
}

/// One to four changes: bytes put in, taken out, replaced, pieces repeated or exchanged.
fn mutate(good: &str, rng: &mut Rng) -> String {
    let mut bytes = good.as_bytes().to_vec();
    for _ in 0..rng.usize(1..=4) {
        let place = rng.usize(..bytes.len().max(1)).min(bytes.len());
        let interesting = INTERESTING[rng.usize(..INTERESTING.len())];
        match rng.u8(..6) {
            0 => bytes.insert(place, interesting),
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 if place < bytes.len() => bytes[place] = interesting,
            3 if place < bytes.len() => bytes[place] ^= 1 << rng.u8(..8),
            4 => bytes.truncate(place),
            _ => {
                let end = (place + rng.usize(..40)).min(bytes.len());
                let piece = bytes[place..end].to_vec();
                let target = rng.usize(..=bytes.len());
                bytes.splice(target..target, piece);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
