//! A small mutation fuzzer for readers of what others send. It runs with the tests, for a moment; `TIDINGS_FUZZ_SECONDS`
//! gives each target more time, as `.ci/run` does. `docs/decisions/0003-fuzzing.md` says why it is not another one.
//!
//! Every round has a seed of its own. A round that fails prints it, and `TIDINGS_FUZZ_SEED` runs that round first.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Rounds where no time is given: enough to notice a reader that has become careless.
const ROUNDS: u64 = 500;

/// Bytes that matter to somebody.
const INTERESTING: &[u8] = b"\0\x01\t\n\r \"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~\x7f\x80\x81\x88\x89\xc0\xfe\xff";

/// How long to go on, and where to begin.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    time: Option<Duration>,
    seed: u64,
}

impl Plan {
    /// What `TIDINGS_FUZZ_SECONDS` and `TIDINGS_FUZZ_SEED` say.
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("TIDINGS_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
        Self { time: number("TIDINGS_FUZZ_SECONDS").map(Duration::from_secs), seed }
    }

    /// The seeds of the rounds. The first is the plan's own.
    pub fn rounds(self, most: u64) -> impl Iterator<Item = u64> {
        let (started, mut master) = (Instant::now(), Rng::with_seed(self.seed));
        let seeds = std::iter::once(self.seed).chain(std::iter::repeat_with(move || master.u64(..)));
        seeds.enumerate().map_while(move |(round, seed)| {
            let goes_on = self.time.map_or((round as u64) < most, |time| started.elapsed() < time);
            goes_on.then_some(seed)
        })
    }
}

/// Runs `check` on mutations of the samples. It gets the round's generator too, for choices of its own.
pub fn run(target: &str, samples: &[&[u8]], check: impl Fn(&[u8], &mut Rng)) {
    for seed in Plan::from_env().rounds(ROUNDS) {
        let mut rng = Rng::with_seed(seed);
        let input = mutate(samples, &mut rng);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input, &mut rng))) {
            fail(target, seed, &input, panic);
        }
    }
}

/// Says how to do it again, in the panic that the test ends with.
fn fail(target: &str, seed: u64, input: &[u8], panic: Box<dyn Any + Send>) -> ! {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let Some(text) = text else { resume_unwind(panic) };
    panic!("{target}: {text}\nagain with TIDINGS_FUZZ_SEED={seed}; the input is\n{}", input.escape_ascii());
}

/// A sample, or two put together, changed in one to eight places.
pub fn mutate(samples: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = samples[rng.usize(..samples.len())].to_vec();
    if rng.u8(..8) == 0 {
        let other = samples[rng.usize(..samples.len())];
        bytes.truncate(rng.usize(..=bytes.len()));
        bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
    }
    for _ in 0..rng.usize(1..=8) {
        change(&mut bytes, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let end = (at + rng.usize(..=32)).min(bytes.len());
    match rng.u8(..7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = INTERESTING[rng.usize(..INTERESTING.len())],
        2 => bytes.insert(at, INTERESTING[rng.usize(..INTERESTING.len())]),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            let times = if rng.u8(..16) == 0 { 400 } else { rng.usize(1..4) };
            bytes.splice(end..end, part.repeat(times));
        }
        5 => bytes.truncate(at),
        _ => {
            let part = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            bytes.splice(to..to, part);
        }
    }
}

#[test]
fn a_round_can_be_done_again_by_its_seed() {
    let samples: &[&[u8]] = &[b"first sample", b"second"];
    let plan = Plan { time: None, seed: 7 };
    let seeds: Vec<_> = plan.rounds(5).collect();
    assert_eq!(seeds.len(), 5);
    assert_eq!(seeds[0], 7);
    for seed in seeds {
        let input = |seed| mutate(samples, &mut Rng::with_seed(seed));
        assert_eq!(input(seed), input(seed));
    }
}

#[test]
#[expect(clippy::panic, reason = "the panic is what is tested")]
fn a_round_that_fails_tells_its_seed() {
    let failed = catch_unwind(|| run("sample", &[b"x"], |_, _| panic!("no good"))).unwrap_err();
    let text = failed.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("sample: no good\nagain with TIDINGS_FUZZ_SEED="), "{text}");
}
