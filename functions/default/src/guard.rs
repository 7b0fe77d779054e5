//! How much one connection may ask for.
//!
//! Each environment of the function counts what it sees itself, in memory: a client whose frames are spread over several
//! of them gets more than its rate. What bounds all clients together is the throttling of the API's route. Time is the
//! events' own, since an environment's clock may stand still between them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tidings::ConnectionId;
use tidings::config::{ConfigError, parsed};
use tidings::protocol::{ClientError, ErrorCode};

/// Connections that are kept in mind, about 200 bytes each.
const MAX_TRACKED: usize = 10_000;
/// After how many milliseconds a client that was dismissed is dismissed again, should it still be there.
const DISMISSED_MS: i64 = 1_000;

/// A token bucket's size and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many a second in the long run.
    pub per_second: f64,
    /// How many at once after a pause.
    pub burst: f64,
}

/// What one connection may send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Frames of any kind.
    pub frames: Rate,
    /// `publish` commands.
    pub publishes: Rate,
}

/// Counts what connections send.
pub struct Guard {
    limits: Limits,
    connections: Mutex<HashMap<ConnectionId, Seen>>,
}

/// What to do with a frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Carry it out.
    Pass,
    /// Answer it with this error.
    Refuse(ClientError),
    /// Say this to the client and close its connection: it goes on although it was told.
    Dismiss(ClientError),
    /// Do nothing: the client was dismissed a moment ago, and this frame was on its way.
    Ignore,
}

#[derive(Debug)]
struct Seen {
    frames: Bucket,
    publishes: Bucket,
    /// When it was dismissed, in milliseconds since the epoch.
    dismissed: Option<i64>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// When it was filled last, in milliseconds since the epoch.
    at: i64,
}

impl Default for Limits {
    /// More than a client with a person before it needs.
    fn default() -> Self {
        Self { frames: Rate { per_second: 50.0, burst: 200.0 }, publishes: Rate { per_second: 20.0, burst: 100.0 } }
    }
}

impl Limits {
    /// Reads `FRAMES_PER_SECOND` (50 where it is not set), `FRAMES_BURST` (200), `PUBLISHES_PER_SECOND` (20) and
    /// `PUBLISHES_BURST` (100).
    ///
    /// # Errors
    /// When one is set to something else than a number in its range.
    pub fn from_env() -> Result<Self, ConfigError> {
        let rate = |name, default| parsed(name, default, "use a number above 0", |rate: &f64| *rate > 0.0);
        let burst = |name, default| parsed(name, default, "use a number of at least 1", |burst: &f64| *burst >= 1.0);
        let Self { frames, publishes } = Self::default();
        Ok(Self {
            frames: Rate {
                per_second: rate("FRAMES_PER_SECOND", frames.per_second)?,
                burst: burst("FRAMES_BURST", frames.burst)?,
            },
            publishes: Rate {
                per_second: rate("PUBLISHES_PER_SECOND", publishes.per_second)?,
                burst: burst("PUBLISHES_BURST", publishes.burst)?,
            },
        })
    }
}

impl Guard {
    /// Holds every connection to these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, connections: Mutex::default() }
    }

    /// Counts a frame that came at `now` (milliseconds since the epoch). One that is refused counts as well: who goes on
    /// at more than the rate gets ever deeper into debt, and is sent away once that is as large as the burst.
    pub(crate) fn frame(&self, id: &ConnectionId, now: i64) -> Verdict {
        let rate = self.limits.frames;
        self.with(id, now, |seen| {
            seen.frames.fill(rate, now);
            if seen.frames.take() {
                return Verdict::Pass;
            }
            seen.frames.tokens = (seen.frames.tokens - 1.0).max(-rate.burst);
            let error = too_many("frames", rate, seen.frames.wait(rate));
            if seen.frames.tokens >= 1.0 - rate.burst {
                return Verdict::Refuse(error);
            }
            if seen.dismissed.is_some_and(|at| now < at.saturating_add(DISMISSED_MS)) {
                return Verdict::Ignore;
            }
            seen.dismissed = Some(now);
            Verdict::Dismiss(error)
        })
    }

    /// Counts a `publish` that came at `now` (milliseconds since the epoch); one that is refused does not count.
    pub(crate) fn publish(&self, id: &ConnectionId, now: i64) -> Result<(), ClientError> {
        let rate = self.limits.publishes;
        self.with(id, now, |seen| {
            seen.publishes.fill(rate, now);
            if seen.publishes.take() { Ok(()) } else { Err(too_many("publishes", rate, seen.publishes.wait(rate))) }
        })
    }

    fn with<T>(&self, id: &ConnectionId, now: i64, count: impl FnOnce(&mut Seen) -> T) -> T {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= MAX_TRACKED && !connections.contains_key(id) {
            self.forget(&mut connections, now);
        }
        let full = |rate: Rate| Bucket { tokens: rate.burst, at: now };
        let Limits { frames, publishes } = self.limits;
        count(connections.entry(id.clone()).or_insert_with(|| Seen {
            frames: full(frames),
            publishes: full(publishes),
            dismissed: None,
        }))
    }

    /// Makes room. Who has rested is as good as new; of the others, those with the least left are remembered.
    fn forget(&self, connections: &mut HashMap<ConnectionId, Seen>, now: i64) {
        let Limits { frames, publishes } = self.limits;
        connections.retain(|_, seen| {
            seen.frames.fill(frames, now);
            seen.publishes.fill(publishes, now);
            seen.frames.tokens < frames.burst || seen.publishes.tokens < publishes.burst
        });
        if connections.len() > MAX_TRACKED / 2 {
            let mut tokens: Vec<f64> = connections.values().map(|seen| seen.frames.tokens).collect();
            tokens.sort_unstable_by(f64::total_cmp);
            let enough = tokens[MAX_TRACKED / 2];
            connections.retain(|_, seen| seen.frames.tokens < enough);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Verdict {
    /// What the client is told instead of an answer.
    pub(crate) fn refusal(&self) -> Option<&ClientError> {
        match self {
            Self::Refuse(error) | Self::Dismiss(error) => Some(error),
            Self::Pass | Self::Ignore => None,
        }
    }
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: i64) {
        // Frames of one client may overtake each other.
        let seconds = now.saturating_sub(self.at).max(0) as f64 / 1_000.0;
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }

    fn take(&mut self) -> bool {
        let there = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(there));
        there
    }

    /// Seconds until there is a token.
    fn wait(&self, rate: Rate) -> f64 {
        ((1.0 - self.tokens) / rate.per_second).ceil()
    }
}

fn too_many(what: &str, Rate { per_second, burst }: Rate, wait: f64) -> ClientError {
    let message = format!(
        "this connection sends too many {what}; wait {wait} s, then send at most {per_second} a second, or {burst} after \
         a pause"
    );
    ClientError::new(ErrorCode::TooManyRequests, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 5.0 };
    /// When the tests begin.
    const T: i64 = 1_795_520_783_000;

    fn guard() -> Guard {
        Guard::new(Limits { frames: RATE, publishes: Rate { per_second: 1.0, burst: 2.0 } })
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::parse(format!("c{number}")).unwrap()
    }

    /// `p` for each frame that passes, `r` refused, `d` dismissed, `i` ignored.
    fn verdicts(guard: &Guard, times: impl IntoIterator<Item = i64>) -> String {
        let letter = |verdict| match verdict {
            Verdict::Pass => 'p',
            Verdict::Refuse(_) => 'r',
            Verdict::Dismiss(_) => 'd',
            Verdict::Ignore => 'i',
        };
        times.into_iter().map(|time| letter(guard.frame(&id(0), T + time))).collect()
    }

    #[test]
    fn a_burst_passes_then_the_rate_does() {
        let guard = guard();
        assert_eq!(verdicts(&guard, [0, 0, 0, 0, 0, 0]), "pppppr");
        // The refused frame is paid for too: two tokens come in 200 ms.
        assert_eq!(verdicts(&guard, [100, 300, 300]), "rpr");
        assert_eq!(verdicts(&guard, [10_000; 6]), "pppppr", "a pause is never worth more than the burst");
    }

    #[test]
    fn a_client_that_keeps_to_the_rate_is_never_refused() {
        let guard = guard();
        let all = verdicts(&guard, (0..10_000).map(|number| number * 100));
        assert_eq!(all, "p".repeat(10_000));
    }

    #[test]
    fn a_client_that_goes_on_is_dismissed_once_and_again_when_it_is_still_there() {
        let guard = guard();
        assert_eq!(verdicts(&guard, [0; 12]), "ppppprrrrdii");
        assert_eq!(verdicts(&guard, (0..40).map(|number| number * 25)).find('d'), None);
        assert_eq!(verdicts(&guard, (0..40).map(|number| 1_000 + number * 25)).matches('d').count(), 1);
        assert_eq!(verdicts(&guard, [60_000]), "p", "who rests is forgiven");
    }

    #[test]
    fn no_more_passes_in_any_time_than_burst_and_rate_allow() {
        for seed in 0..50 {
            let (guard, mut random) = (guard(), fastrand::Rng::with_seed(seed));
            let (mut now, mut passed) = (0, Vec::new());
            for _ in 0..500 {
                now += random.i64(0..200);
                // Some frames come late.
                if guard.frame(&id(0), T + now - random.i64(0..50)) == Verdict::Pass {
                    passed.push(now);
                }
            }
            for (index, begin) in passed.iter().enumerate() {
                for (count, end) in passed[index..].iter().enumerate() {
                    let allowed = RATE.burst + (end - begin + 100) as f64 / 1_000.0 * RATE.per_second;
                    assert!((count + 1) as f64 <= allowed, "seed {seed}: {} in {} ms", count + 1, end - begin);
                }
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let guard = guard();
        verdicts(&guard, [0; 7]);
        let Verdict::Refuse(error) = guard.frame(&id(0), T) else { panic!("a refusal expected") };
        let text = "this connection sends too many frames; wait 1 s, then send at most 10 a second, or 5 after a pause";
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::TooManyRequests, text));
    }

    #[test]
    fn publishing_has_a_rate_of_its_own_and_closes_nobody() {
        let guard = guard();
        let published: Vec<_> =
            [0, 0, 0, 100, 900, 1_000, 1_000].into_iter().map(|time| guard.publish(&id(0), T + time).is_ok()).collect();
        assert_eq!(published, [true, true, false, false, false, true, false]);
        assert_eq!(verdicts(&guard, [1_000]), "p");
        assert!(guard.publish(&id(1), T).is_ok(), "each connection counts for itself");
    }

    #[test]
    fn memory_is_bounded_and_a_flood_is_not_forgotten_for_it() {
        let guard = guard();
        verdicts(&guard, [0; 12]);
        for number in 1..=3 * MAX_TRACKED {
            guard.frame(&id(number), T);
            assert!(guard.connections.lock().unwrap().len() <= MAX_TRACKED);
        }
        assert_eq!(verdicts(&guard, [0]), "i");
        guard.frame(&id(0), T + 60_000);
        guard.frame(&id(usize::MAX), T + 60_000);
        for number in 1..=MAX_TRACKED {
            guard.frame(&id(number), T + 60_000);
        }
        assert!(guard.connections.lock().unwrap().len() <= MAX_TRACKED);
    }
}
