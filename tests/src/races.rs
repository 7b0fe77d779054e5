//! What races are made of: a seed that decides what is done and what fails, workers that die at any of their calls, and queues
//! that let them come again.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use fastrand::Rng;
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;
use tidings::fanout::FanOutError;

use crate::engine::Table;

/// Calls of the longest work, or some more.
const MOST_CALLS: u32 = 14;
/// Waits behind a call: one that it is sent, one that it is answered, some for what goes elsewhere.
const MOST_WAITS: u32 = 5;
/// When a message comes again whose worker has failed, unless that says when.
const COMES_AGAIN: Duration = Duration::from_millis(50);
/// A message that is not done then never will be.
const MOST_ATTEMPTS: u32 = 400;
/// Operations from which on somebody has to end at each call.
const MANY: usize = 5_000;
/// Runs side by side: each waits now and then, for leases that are over and looks that come later.
const RUNS_SIDE_BY_SIDE: usize = 3;

tokio::task_local! {
    static CALLS: RefCell<Calls>;
}

/// What somebody has asked DynamoDB for, and what of it fails.
#[derive(Debug)]
struct Calls {
    count: u32,
    last: String,
    /// Those that it comes to before it stops.
    awaited: VecDeque<String>,
    random: Rng,
}

impl Calls {
    fn by(random: Rng) -> RefCell<Self> {
        RefCell::new(Self { count: 0, last: String::new(), awaited: VecDeque::new(), random })
    }
}

/// One run. Its seed decides what is done, which calls fail, and who ends at which of its calls; what of it meets is up to the
/// machine.
#[derive(Debug)]
pub struct Race {
    seed: u64,
    operations: usize,
    ends: Arc<Ends>,
}

/// At which calls somebody ended, and how often.
type Ends = Mutex<BTreeMap<String, usize>>;

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
    /// One run that nobody counts, by `TIDINGS_SEED`, or any seed.
    #[must_use]
    pub fn alone() -> Self {
        Self { seed: first_seed(), operations: 1, ends: Arc::default() }
    }

    /// Runs of a race on the engine of a table: one, or `TIDINGS_RUNS`, each with a table of its own and the next seed, the
    /// first with `TIDINGS_SEED`, or any. A run has `few` operations, or `TIDINGS_OPERATIONS`. Prints where how many ended
    /// in all of them. With many operations, some have ended at each of the calls `steps`, such as `PutItem log`.
    ///
    /// # Panics
    /// When a run has failed, or nobody ended at one of the calls, or a variable is no number.
    pub async fn run(table: Table, few: usize, steps: &[&str], race: impl AsyncFn(Table, Self)) {
        let (first, runs) = (first_seed(), variable("TIDINGS_RUNS").unwrap_or(1));
        let operations = variable("TIDINGS_OPERATIONS").unwrap_or(few);
        let (engine, ends, begin) = (table.engine, Arc::<Ends>::default(), Instant::now());
        let begun = stream::iter((0..runs).map(|run| first.wrapping_add(run))).map(|seed| {
            let (table, ends, race) = (table.clone(), Arc::clone(&ends), &race);
            async move {
                say(&format!("TIDINGS_SEED={seed} TIDINGS_OPERATIONS={operations}"));
                let table = if seed == first { table } else { engine.table().await.expect("it was at hand before") };
                let run = AssertUnwindSafe(race(table, Self { seed, operations, ends }));
                run.catch_unwind().await.is_err().then_some(seed)
            }
        });
        let failed: Vec<u64> = begun.buffer_unordered(RUNS_SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
        assert!(failed.is_empty(), "it has failed with the seeds {failed:?}");
        let (ends, all) = (ends.lock().unwrap(), usize::try_from(runs).unwrap() * operations);
        let (ended, seconds) = (ends.values().sum::<usize>(), begin.elapsed().as_secs());
        let where_ended: Vec<_> = ends.iter().map(|(step, count)| format!("{count} at {step}")).collect();
        let where_ended = where_ended.join(", ");
        say(&format!(
            "{engine:?}: {all} operations in {seconds} s, {ended} ended before they were through: {where_ended}"
        ));
        let missing: Vec<_> = steps.iter().filter(|step| !ends.contains_key(**step)).collect();
        assert!(missing.is_empty() || all < MANY, "nobody ended at {missing:?}, but at {ends:?}");
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
        CALLS.scope(Calls::by(random), life)
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
}

fn first_seed() -> u64 {
    variable("TIDINGS_SEED").unwrap_or_else(|| fastrand::u64(..))
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
/// the attempt, and whether it may die, and says what became of it; `None` where it has died.
///
/// # Panics
/// When it is never done.
pub async fn deliver<T>(
    id: &str,
    is_doubled: bool,
    take_up: impl AsyncFn(u32, bool) -> Option<Result<T, FanOutError>>,
) {
    let copy = async { if is_doubled { take_up(MOST_ATTEMPTS, true).await } else { None } };
    let (mut taken, _) = tokio::join!(take_up(0, true), copy);
    for attempt in 1..MOST_ATTEMPTS {
        let after = match taken {
            Some(Ok(_)) => return,
            Some(Err(FanOutError::Held { for_another })) => for_another.max(COMES_AGAIN),
            _ => COMES_AGAIN,
        };
        tokio::time::sleep(after).await;
        taken = take_up(attempt, attempt < 3).await;
    }
    assert!(matches!(taken, Some(Ok(_))), "{id} is never done");
}

/// Lets something come to the last of these calls, such as `PutItem log`, which it makes in this order among others. That one
/// is not sent before what is returned is polled, which comes to its end.
///
/// # Panics
/// When it is through before.
pub async fn stop_before<'a, T: 'a>(calls: &[&str], work: impl Future<Output = T> + 'a) -> LocalBoxFuture<'a, T> {
    let awaited = calls.iter().map(|&call| call.to_owned()).collect();
    let (mut work, has_stopped) = (Box::pin(work), Arc::new(AtomicBool::new(false)));
    let stops = Arc::clone(&has_stopped);
    let life = poll_fn(move |context| {
        let polled = work.as_mut().poll(context);
        stops.store(CALLS.with(|made| made.borrow().awaited.is_empty()), Ordering::Relaxed);
        polled
    });
    let begun = Calls::by(Rng::new());
    begun.borrow_mut().awaited = awaited;
    let mut life = Box::pin(CALLS.scope(begun, life));
    poll_fn(|context| match life.as_mut().poll(context) {
        Poll::Ready(_) => panic!("it is through before {calls:?}"),
        Poll::Pending if has_stopped.load(Ordering::Relaxed) => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    })
    .await;
    life
}

/// Notes a call of DynamoDB, if it is somebody's who may end.
pub(crate) fn note(request: &HttpRequest) {
    let _ = CALLS.try_with(|calls| {
        let mut calls = calls.borrow_mut();
        calls.count += 1;
        calls.last = step(request);
        if calls.awaited.front() == Some(&calls.last) {
            calls.awaited.pop_front();
        }
    });
}

/// Whether something happens to a call that happens to this share of them.
pub(crate) fn happens(share: f64) -> bool {
    CALLS.try_with(|calls| calls.borrow_mut().random.f64() < share).unwrap_or_else(|_| fastrand::f64() < share)
}

/// What is called, and of which rows: `PutItem log` for an entry.
pub(crate) fn step(request: &HttpRequest) -> String {
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
