//! What races are made of: a seed that decides what is done and what fails, workers that die at any of their calls, and queues
//! that let them come again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use fastrand::Rng;
use serde_json::Value;

/// Calls of the longest work, or some more.
const MOST_CALLS: u32 = 14;
/// Waits behind a call: one that it is sent, one that it is answered, some for what goes elsewhere.
const MOST_WAITS: u32 = 5;
/// When a message comes again whose worker has failed.
const COMES_AGAIN: Duration = Duration::from_millis(50);
/// A message that is not done then never will be.
const MOST_ATTEMPTS: u32 = 400;
/// Operations from which on somebody has to end at each call.
const MANY: usize = 1_000;

tokio::task_local! {
    static CALLS: RefCell<Calls>;
}

/// What somebody has asked DynamoDB for, and what of it fails.
#[derive(Debug)]
struct Calls {
    count: u32,
    last: String,
    random: Rng,
}

/// One run. Its seed decides what is done, which calls fail, and who ends at which of its calls; what of it meets is up to the
/// machine.
#[derive(Debug)]
pub struct Race {
    seed: u64,
    operations: usize,
    /// At which calls somebody ended, and how often.
    ends: Mutex<BTreeMap<String, usize>>,
}

/// Where something ends that ends before it is through: at its so manieth call of DynamoDB, which is not sent yet, or some
/// waits later, when it is under way, or answered. However fast the machine is, each step has its share.
#[derive(Debug, Clone, Copy)]
struct Moment {
    calls: u32,
    waits: u32,
}

/// What becomes of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes to its end by itself.
    Lives,
    /// It ends somewhere.
    Dies,
    /// It stops somewhere for so long.
    Freezes(Duration),
}

impl Moment {
    fn any(random: &mut Rng) -> Self {
        // Posts are no calls of DynamoDB: now and then it ends somewhere among them.
        let most_waits = if random.u8(..4) == 0 { 8 * MOST_WAITS } else { MOST_WAITS };
        Self { calls: random.u32(..=MOST_CALLS), waits: random.u32(..most_waits) }
    }
}

impl Race {
    /// A run of `few` operations, or `TIDINGS_OPERATIONS`, by `TIDINGS_SEED`, or any seed, which is printed.
    ///
    /// # Panics
    /// When one of these is no number.
    #[must_use]
    pub fn begin(few: usize) -> Self {
        let seed = variable("TIDINGS_SEED").unwrap_or_else(|| fastrand::u64(..));
        let operations = variable("TIDINGS_OPERATIONS").unwrap_or(few);
        say(&format!("TIDINGS_SEED={seed} TIDINGS_OPERATIONS={operations}"));
        Self { seed, operations, ends: Mutex::default() }
    }

    /// How many operations it has.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// What chance has for whoever has this name: the same with the same seed.
    #[must_use]
    pub fn random(&self, name: impl fmt::Display) -> Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, name.to_string()).hash(&mut hasher);
        Rng::with_seed(hasher.finish())
    }

    /// Does something by name, of which a share dies before it is through; `None` where it has.
    pub fn mortal<T>(
        &self,
        name: impl fmt::Display,
        dying: f64,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        let mut random = self.random(name);
        let fate = if random.f64() < dying { Fate::Dies } else { Fate::Lives };
        self.meet(fate, random, work)
    }

    /// Lets something meet its fate at a moment; `None` where it dies.
    pub fn meet<T>(
        &self,
        fate: Fate,
        mut random: Rng,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        let moment = Moment::any(&mut random);
        // On the heap, and nowhere else: these futures are deep, and stacks are not.
        let life = self.live(fate, moment, Box::pin(work));
        CALLS.scope(RefCell::new(Calls { count: 0, last: String::new(), random }), life)
    }

    async fn live<T>(
        &self,
        fate: Fate,
        Moment { calls, mut waits }: Moment,
        mut work: Pin<Box<impl Future<Output = T>>>,
    ) -> Option<T> {
        if fate == Fate::Lives {
            return Some(work.await);
        }
        let done = poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if CALLS.with(|made| made.borrow().count) < calls => Poll::Pending,
            Poll::Pending if waits == 0 => Poll::Ready(None),
            Poll::Pending => {
                waits -= 1;
                Poll::Pending
            }
        });
        if let Some(done) = done.await {
            return Some(done);
        }
        let last = CALLS.with(|made| made.borrow().last.clone());
        *self.ends.lock().unwrap().entry(last).or_default() += 1;
        let Fate::Freezes(pause) = fate else { return None };
        tokio::time::sleep(pause).await;
        Some(work.await)
    }

    /// Prints where how many ended. Where there were many operations, some have ended at each of these calls, such as
    /// `PutItem log`.
    ///
    /// # Panics
    /// When nobody ended at one of them.
    pub fn check_ends(&self, steps: &[&str]) {
        let ends = self.ends.lock().unwrap();
        let all: Vec<_> = ends.iter().map(|(step, count)| format!("{count} at {step}")).collect();
        say(&format!("ended: {} in all, {}", ends.values().sum::<usize>(), all.join(", ")));
        let missing: Vec<_> = steps.iter().filter(|step| !ends.contains_key(**step)).collect();
        assert!(missing.is_empty() || self.operations < MANY, "nobody ended at {missing:?}, but at {ends:?}");
    }
}

fn variable<T: std::str::FromStr<Err: fmt::Debug>>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Prints a line: the seed of a run, or figures of it.
#[expect(clippy::print_stdout, reason = "tests say how to run them again, and what became of what")]
pub fn say(line: &str) {
    println!("{line}");
}

/// Lets a message be taken up as a queue does: perhaps twice at once, and again until it is done. `take_up` gets the number of
/// the attempt, and whether it may die, and says whether it is done.
///
/// # Panics
/// When it is never done.
pub async fn deliver(id: &str, is_doubled: bool, take_up: impl AsyncFn(u32, bool) -> bool) {
    let copy = async { is_doubled && take_up(MOST_ATTEMPTS, true).await };
    let (mut is_done, _) = tokio::join!(take_up(0, true), copy);
    for attempt in 1..MOST_ATTEMPTS {
        if is_done {
            return;
        }
        tokio::time::sleep(COMES_AGAIN).await;
        is_done = take_up(attempt, attempt < 3).await;
    }
    assert!(is_done, "{id} is never done");
}

/// Notes a call of DynamoDB, if it is somebody's who may end.
pub(crate) fn note(request: &HttpRequest) {
    let _ = CALLS.try_with(|calls| {
        let mut calls = calls.borrow_mut();
        calls.count += 1;
        calls.last = step(request);
    });
}

/// Whether something happens to a call that happens to this share of them.
pub(crate) fn happens(share: f64) -> bool {
    CALLS.try_with(|calls| calls.borrow_mut().random.f64() < share).unwrap_or_else(|_| fastrand::f64() < share)
}

/// What is called, and of which rows: `PutItem log` for an entry.
fn step(request: &HttpRequest) -> String {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body: Value = request.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let keys = [&body["Key"]["pk"], &body["Item"]["pk"], &body["ExpressionAttributeValues"][":pk"]];
    let key = keys.into_iter().find_map(|key| key["S"].as_str());
    match key.and_then(|key| key.split('#').next()) {
        Some(kind) => format!("{operation} {kind}"),
        None => operation.to_owned(),
    }
}
