//! What is played: the ways in which the quota runs short.

use super::account::{Begin, LARGE, Others, Quota, SMALL, Spell};
use super::criteria::Criterion::{self, *};
use super::gateway::Slow;
use super::{Scenario, Send, To, Way};

/// Invocations that an account has room for, where nothing else is said.
const ROOM: usize = 1_000;

/// All scenarios, in the order of the table.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = refusals();
    all.extend(slow_clients());
    all.extend(buckets());
    all.extend(others());
    all.extend(reservations());
    all
}

/// A short form, of seconds: what every build plays.
#[must_use]
pub fn short() -> Vec<Scenario> {
    let names = ["few-queue", "few-direct", "few-queue-403", "forbidden-few", "bucket-8", "rate-row-ahead"];
    let mut short: Vec<_> = all().into_iter().filter(|scenario| names.contains(&scenario.name)).collect();
    for scenario in short.iter_mut().filter(|scenario| scenario.name == "bucket-8") {
        scenario.sends.truncate(60);
    }
    short
}

fn scenario(name: &'static str, what: &'static str, sends: Vec<Send>, criteria: Vec<Criterion>) -> Scenario {
    let (quota, rate) = (LARGE, rate_of(LARGE));
    let (others, spells, slow, reserved_ahead) = (Vec::new(), Vec::new(), None, None);
    let (most_invocations, most_seconds) = (ROOM, 600.0);
    Scenario {
        name,
        what,
        quota,
        rate,
        others,
        spells,
        slow,
        sends,
        most_invocations,
        reserved_ahead,
        most_seconds,
        criteria,
    }
}

/// 80 % of the quota.
fn rate_of(quota: Quota) -> u32 {
    (quota.rate * 0.8) as u32
}

/// One broadcast.
fn broadcast(at: f64, topic: &str, members: usize, way: Way) -> Send {
    Send { at, way, to: To::Topic(topic.to_owned(), members), label: topic.to_owned(), bytes: 0 }
}

fn single(at: f64, user: &str) -> Send {
    Send { at, way: Way::Queue, to: To::User(user.to_owned()), label: user.to_owned(), bytes: 0 }
}

fn whole(begin: f64, length: f64, status: u16) -> Spell {
    Spell { begin: Begin::At(begin), length, share: 1.0, status }
}

/// API Gateway refuses everything, or a share, for a while.
fn refusals() -> Vec<Scenario> {
    let from_the_middle = |length, status| Spell { begin: Begin::Post(3_000), length, share: 1.0, status };
    let all = |way| vec![broadcast(0.0, "all", 10_000, way)];
    let few = |way| vec![broadcast(1.0, "few", 30, way)];
    let common = vec![NobodyLost, Letters(0), Once, NothingBurnt, Bound];
    let few_wanted = [common.clone(), vec![Within(20.0)]].concat();
    let direct_wanted = [few_wanted.clone(), vec![AddsUp]].concat();
    let later = [common.clone(), vec![Later(15.0)]].concat();
    let mut list = Vec::new();
    let mut add = |name, what, sends, spell, criteria: &Vec<Criterion>| {
        list.push(Scenario { spells: vec![spell], ..scenario(name, what, sends, criteria.clone()) });
    };
    add("broadcast", "8 s of 429 in a broadcast to 10,000", all(Way::Queue), from_the_middle(8.0, 429), &later);
    add("broadcast-403", "3 s of 403 in it", all(Way::Queue), from_the_middle(3.0, 403), &later);
    add("few-queue", "8 s of 429 for 30 members, by the queue", few(Way::Queue), whole(0.5, 8.0, 429), &few_wanted);
    add("few-direct", "the same by a direct invoke", few(Way::Direct), whole(0.5, 8.0, 429), &direct_wanted);
    add("few-queue-403", "3 s of 403 for 30 members, by the queue", few(Way::Queue), whole(0.5, 3.0, 403), &few_wanted);
    add("few-direct-403", "the same by a direct invoke", few(Way::Direct), whole(0.5, 3.0, 403), &direct_wanted);
    let for_ever = vec![AllDead(180.0)];
    add("forbidden-few", "403 for ever, 30 members", few(Way::Queue), whole(0.5, 1e9, 403), &for_ever);
    add("forbidden-all", "403 for ever, 10,000 members", all(Way::Queue), whole(0.0, 1e9, 403), &for_ever);
    let half = Spell { begin: Begin::At(0.5), length: 60.0, share: 0.5, status: 429 };
    let steady = [common, vec![NoSilence(0.5, 60.5, 2.0)]].concat();
    let twice_as_many = vec![broadcast(0.0, "all", 20_000, Way::Queue)];
    add("half", "half of all posts are 429 for 60 s in a broadcast to 20,000", twice_as_many, half, &steady);
    list
}

/// Clients do not read.
fn slow_clients() -> Vec<Scenario> {
    let every_second = (0..120).map(|second| {
        let label = format!("n{second}");
        Send { label, ..broadcast(f64::from(second), "crowd", 1_000, Way::Queue) }
    });
    let one = Slow { audience: "crowd", members: 1, of: 1_000, until: f64::MAX };
    let wanted =
        vec![NobodyLost, Letters(1), Slower(1.2), MoreInvocations(3.0), Closed(1, 55.0, 80.0), Once, NothingBurnt];
    let slow = Scenario {
        slow: Some(one),
        ..scenario("one-slow", "one of 1,000 never reads, a message a second for 2 min", every_second.collect(), wanted)
    };
    let some = Slow { audience: "crowd", members: 201, of: 3_000, until: 20.0 };
    let wanted = vec![NobodyLost, Letters(0), Closed(0, 0.0, 0.0), Most(0.93, 8.0), Within(60.0), Once, NothingBurnt];
    let waiting = Scenario {
        slow: Some(some),
        ..scenario(
            "201-waiting",
            "201 of 3,000 do not read for 20 s",
            vec![broadcast(0.0, "crowd", 3_000, Way::Queue)],
            wanted,
        )
    };
    let never = Slow { audience: "crowd", members: 201, of: 3_000, until: f64::MAX };
    let wanted = vec![NobodyLost, Most(0.93, 8.0), Soon("other", 2.0), Once, NothingBurnt];
    let never = Scenario {
        slow: Some(never),
        // Whoever is not closed by then stands in a letter: the time to live is an hour.
        most_seconds: 4_500.0,
        ..scenario(
            "201-never",
            "201 of 3,000 never read, and a message for somebody else comes 100 s later",
            vec![broadcast(0.0, "crowd", 3_000, Way::Queue), single(100.0, "other")],
            wanted,
        )
    };
    vec![slow, waiting, never]
}

/// 300 environments at once, by events of S3, while others take 30 % of the quota.
fn buckets() -> Vec<Scenario> {
    let named = [("bucket-8", LARGE, 8), ("bucket-100", LARGE, 100), ("bucket-500", LARGE, 500)];
    let small = [("bucket-8-small", SMALL, 8), ("bucket-100-small", SMALL, 100), ("bucket-500-small", SMALL, 500)];
    let one = |(name, quota, members): (&'static str, Quota, usize)| {
        let events = (0..300).map(|event| {
            let at = 1.0 + f64::from(event) * 0.2 / 300.0;
            broadcast(at, &format!("s3-{event}"), members, Way::Bucket)
        });
        let wanted = vec![NobodyLost, Letters(0), Bound, Ours429(0.05), Others429(0.01), NothingBurnt];
        let others = vec![Others { from: 0.0, to: 1e9, rate: 0.3 * quota.rate }];
        let what = "300 events of S3 at once, others take 30 %";
        Scenario { quota, rate: rate_of(quota), others, ..scenario(name, what, events.collect(), wanted) }
    };
    named.into_iter().chain(small).map(one).collect()
}

/// The account has other things to do.
fn others() -> Vec<Scenario> {
    let mut sends = vec![broadcast(1.0, "all", 10_000, Way::Queue)];
    sends.extend((0..100).map(|user| single(2.0 + f64::from(user), &format!("u{user}"))));
    let (begin, length) = (0.5, 1_200.0);
    let end = begin + length;
    let wanted =
        vec![NobodyLost, Letters(0), NothingBurnt, AfterSpell(90.0), AtMost(begin, end, 3.0, 5.0), Once, Bound];
    let throttled = Scenario {
        spells: vec![whole(begin, length, 429)],
        most_seconds: 3_000.0,
        ..scenario("throttled-20-min", "the account is throttled for 20 min, 10,100 wait", sends, wanted)
    };
    let sends = (0..33).map(|number| {
        let label = format!("b{number}");
        Send { label, ..broadcast(20.0 * f64::from(number), "all", 18_000, Way::Queue) }
    });
    let wanted =
        vec![NobodyLost, Letters(0), Seconds429(60.0, 630.0, 0.05), Even(30.0, 600.0, 1.5), Once, NothingBurnt];
    let neighbour = Scenario {
        others: vec![Others { from: 30.0, to: 630.0, rate: 0.9 * LARGE.rate }],
        most_seconds: 1_500.0,
        ..scenario("neighbour", "another API takes 90 % for 10 min, 18,000 every 20 s", sends.collect(), wanted)
    };
    vec![throttled, neighbour]
}

/// The rate limit, its row, and the queue before it.
fn reservations() -> Vec<Scenario> {
    let first = Send { label: "first".to_owned(), ..broadcast(0.0, "crowd", 2_000, Way::Queue) };
    let second = Send { label: "second".to_owned(), ..broadcast(6.0, "crowd", 2_000, Way::Queue) };
    let wanted = vec![NobodyLost, Letters(0), NoSilence(6.0, 6.5, 1.0), Within(9.0), NothingBurnt];
    let ahead = Scenario {
        reserved_ahead: Some(5.0),
        ..scenario("rate-row-ahead", "the rate row is an hour ahead", vec![first, second], wanted)
    };
    let large = Send { bytes: 128_000, ..broadcast(0.0, "all", 3_000, Way::Queue) };
    let wanted = vec![NobodyLost, Letters(0), Once, NothingBurnt, Within(300.0)];
    let splits =
        Scenario { rate: 20, ..scenario("large-twice-split", "128 KB to 3,000 at 20 a second", vec![large], wanted) };
    let mut sends: Vec<_> = (0..12).map(|number| broadcast(0.0, &format!("b{number}"), 7_000, Way::Queue)).collect();
    sends.push(single(1.0, "user"));
    let behind = Scenario {
        quota: SMALL,
        rate: rate_of(SMALL),
        most_invocations: 10,
        ..scenario(
            "one-behind-twelve",
            "one user's message 1 s after 12 broadcasts to 7,000, ten invocations in all",
            sends,
            vec![NobodyLost, Letters(0), Soon("user", 2.0), Bound, NothingBurnt],
        )
    };
    vec![ahead, splits, behind]
}
