//! What must hold of a scenario.

use std::fmt;

use serde_json::Value;

use super::figures::Figures;

/// One thing that must hold. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Criterion {
    /// Everybody has the message, stands in a dead letter by name, or was closed as slow.
    NobodyLost,
    /// So many dead letters, no more and no fewer.
    Letters(usize),
    /// Nobody has the message, and everybody stands in a dead letter, by this time after the first notification.
    AllDead(f64),
    /// Fewer than one message of a thousand came twice.
    Once,
    /// The last delivery is within this time of the first notification.
    Within(f64),
    /// The last delivery is within this time of the end of the spell.
    AfterSpell(f64),
    /// The last delivery is at most so much later than without the spell.
    Later(f64),
    /// The 99th percentile of all waits is at most so many times that without the fault.
    Slower(f64),
    /// At most so many more invocations a second than without the fault.
    MoreInvocations(f64),
    /// From one moment to another, or to the last delivery, there is never so long a time without a post.
    NoSilence(f64, f64, f64),
    /// So many clients are closed, each within this time, and never before the other.
    Closed(usize, f64, f64),
    /// Posts stay below their bound in any time.
    Bound,
    /// Less than this share of our posts is answered 429.
    Ours429(f64),
    /// Less than this share of other traffic is.
    Others429(f64),
    /// So large a share of all members had it within this time.
    Most(f64, f64),
    /// From one moment to another, fewer than one second of a hundred has a greater share of 429.
    Seconds429(f64, f64, f64),
    /// No message came again, and no invocation timed out.
    NothingBurnt,
    /// From one moment to another, at most so many invocations and posts a second on average.
    AtMost(f64, f64, f64, f64),
    /// Of the notifications from one moment to another, the slowest took at most so many times the mean.
    Even(f64, f64, f64),
    /// The notification of this label is delivered within this time.
    Soon(&'static str, f64),
    /// Each direct invoke was answered with counts that add up to its audience.
    AddsUp,
}

impl Criterion {
    /// Whether it compares with the scenario without its fault.
    #[must_use]
    pub fn compares(self) -> bool {
        matches!(self, Self::Later(_) | Self::Slower(_) | Self::MoreInvocations(_))
    }

    /// Checks it; `plain` is the scenario without its fault.
    ///
    /// # Errors
    /// With what is instead.
    pub fn check(self, figures: &Figures, plain: Option<&Figures>) -> Result<(), String> {
        let plain = plain.unwrap_or(figures);
        let first = figures.ends.iter().map(|end| end.at).fold(f64::MAX, f64::min);
        match self {
            Self::NobodyLost => at_most(figures.lost, 0, "members lost"),
            Self::Letters(count) if figures.letters == count => Ok(()),
            Self::Letters(_) => Err(format!("{} dead letters", figures.letters)),
            Self::AllDead(time) => {
                at_most(figures.members - figures.dead, 0, "members in no letter")?;
                below(figures.over - first, time, "s until the last letter")
            }
            Self::Once => below(figures.duplicates() * 100.0, 0.1, "% twice"),
            Self::Within(time) => below(figures.done - first, time, "s until the last delivery"),
            Self::AfterSpell(time) => below(figures.done - figures.spell_end, time, "s after the spell"),
            Self::Later(time) => below(figures.done - plain.done, time, "s later than without"),
            Self::Most(share, time) => below(figures.wait(share), time, "s until most had it"),
            Self::Slower(times) => below(figures.wait(0.99) / plain.wait(0.99).max(0.001), times, "times the wait"),
            Self::MoreInvocations(more) => {
                let rate = |of: &Figures| of.invocations.len() as f64 / figures.length();
                below(rate(figures) - rate(plain), more, "more invocations a second")
            }
            Self::NoSilence(from, to, time) => below(figures.silence(from, to.min(figures.done)), time, "s of silence"),
            Self::Closed(count, from, to) => {
                let in_time = figures.closed.iter().filter(|at| (from..to).contains(at)).count();
                let text = format!("closed are {in_time} in time, of {}", figures.closed.len());
                if in_time == count && figures.closed.len() == count { Ok(()) } else { Err(text) }
            }
            Self::Bound => below(figures.of_bound(), 1.0, "of the bound"),
            Self::Ours429(share) => below(figures.refused(0.0, f64::MAX) * 100.0, share * 100.0, "% of 429"),
            Self::Others429(share) => below(figures.others_refused * 100.0, share * 100.0, "% of others' refused"),
            Self::Seconds429(from, to, share) => {
                below(figures.seconds_above(from, to, share) * 100.0, 1.0, "% of the seconds with too many 429")
            }
            Self::NothingBurnt => at_most(figures.burnt + figures.timeouts, 0, "receives burnt"),
            Self::AtMost(from, to, invocations, posts) => {
                let begun = figures.invocations.iter().copied();
                below(Figures::rate(begun, from, to), invocations, "invocations a second")?;
                below(Figures::rate(figures.posts.iter().map(|post| post.at), from, to), posts, "posts a second")
            }
            Self::Even(from, to, times) => even(figures, from, to, times),
            Self::Soon(label, time) => {
                let took = figures.ends.iter().find(|end| end.label == label).map_or(f64::MAX, |end| end.took);
                below(took, time, "s until it came")
            }
            Self::AddsUp => figures.answers.iter().try_for_each(adds_up),
        }
    }
}

fn at_most<T: PartialOrd + fmt::Display>(is: T, most: T, of: &str) -> Result<(), String> {
    if is <= most { Ok(()) } else { Err(format!("{is} {of}")) }
}

fn below(is: f64, most: f64, of: &str) -> Result<(), String> {
    if is <= most { Ok(()) } else { Err(format!("{is:.2} {of}, more than {most}")) }
}

fn even(figures: &Figures, from: f64, to: f64, times: f64) -> Result<(), String> {
    let took: Vec<_> = figures.ends.iter().filter(|end| (from..to).contains(&end.at)).map(|end| end.took).collect();
    let mean = took.iter().sum::<f64>() / took.len().max(1) as f64;
    below(took.iter().copied().fold(0.0, f64::max) / mean, times, "times the mean")
}

/// No member is in two counts of a first report, and none in none.
fn adds_up(answer: &Result<Value, String>) -> Result<(), String> {
    let report = answer.as_ref().map_err(|error| format!("a direct invoke failed: {error}"))?;
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    let parts = ["delivered", "delayed", "gone", "pending", "slow", "failed"];
    let sum: u64 = parts.into_iter().map(count).sum();
    if sum == count("audience") { Ok(()) } else { Err(format!("the counts do not add up: {report}")) }
}
