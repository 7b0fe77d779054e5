//! The rate limit that all workers share: one row says up to when posts are given away, and what was learnt of the quota.

mod learnt;

use std::time::Duration;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::items::{self, Item};
use super::keys::Key;
use super::names::{BASE_RATE, BLOCKED_SINCE, CHANGED_AT, EPOCH, GOOD_RATE, OK_AT, PROBE_AT, RESERVED_UNTIL};
use super::{Registry, RegistryError};

pub use learnt::LearntRate;

/// What nobody took up to so long ago may still be taken, in microseconds.
const OLDEST_US: i64 = 200_000;
/// A row that is further ahead was written by a clock that is wrong, in microseconds.
const WRONG_CLOCK_US: i64 = 10_000_000;
/// A reservation is at most this much of the rate, in seconds: the row then takes 40 writes a second, however many work.
const LONGEST: f64 = 0.025;
/// Posts of a probe.
const PROBE_POSTS: u32 = 5;
/// Between the posts of a probe, in microseconds.
const PROBE_INTERVAL_US: f64 = 1_000.0;
/// Others may be first so often.
const ATTEMPTS: usize = 8;
/// How much newer a success must be than the one that the row knows of, in microseconds, to be worth telling.
const NEWS_US: i64 = 1_000_000;

/// The row, as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// Up to when posts are given away, in microseconds since the epoch.
    until: i64,
    /// What was learnt.
    pub learnt: LearntRate,
}

/// What somebody wants to post.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How many posts; at most 25 ms of the rate are given at once.
    pub posts: usize,
    /// How far ahead a reservation may lie.
    pub patience: Duration,
    /// The configured rate, in posts a second.
    pub configured: f64,
    /// When a post of this worker was last taken, in microseconds since the epoch; 0 for never.
    pub ok_at: i64,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Granted {
    /// So many posts from this moment on, which may be a fifth of a second ago.
    Posts {
        /// When the first may start, in microseconds since the epoch.
        begin: i64,
        /// How many.
        count: u32,
        /// Between two of them.
        interval: Duration,
    },
    /// Others have reserved too far ahead: worth asking again after this.
    Wait(Duration),
    /// Nothing goes through, and somebody else probes.
    Blocked,
}

/// A change of the row that came about, or the row that kept it from doing so.
type Update = Result<Item, Option<Item>>;

impl RateLimit {
    /// What is taken for granted before the row was seen.
    #[must_use]
    pub fn new(configured: f64) -> Self {
        Self { until: 0, learnt: LearntRate::new(configured) }
    }

    fn read(row: &Item) -> Result<Self, RegistryError> {
        let blocked_since = row.contains_key(BLOCKED_SINCE).then(|| items::number(row, BLOCKED_SINCE)).transpose()?;
        let learnt = LearntRate {
            epoch: items::number(row, EPOCH)?,
            base: items::decimal(row, BASE_RATE)?,
            changed_at: items::number(row, CHANGED_AT)?,
            good: items::decimal(row, GOOD_RATE)?,
            blocked_since,
            probe_at: items::number(row, PROBE_AT)?,
            ok_at: items::number(row, OK_AT)?,
        };
        Ok(Self { until: items::number(row, RESERVED_UNTIL)?, learnt })
    }
}

impl Registry {
    /// Reserves posts. `known` is the row as it was last seen, and becomes what it is now; `now` is in microseconds since
    /// the epoch. One write, two where nobody reserved for a while or `known` is out of date.
    ///
    /// # Errors
    /// When DynamoDB fails, after the SDK's own attempts: whoever waits for a reservation asks anew.
    pub async fn reserve(&self, known: &mut RateLimit, wanted: &Wanted, now: i64) -> Result<Granted, RegistryError> {
        for _ in 0..ATTEMPTS {
            let reservation = Reservation::new(known, wanted, now);
            match self.update_rate(reservation.request(self, known, wanted)).await? {
                Ok(row) => {
                    *known = RateLimit::read(&row)?;
                    return Ok(reservation.granted(known));
                }
                Err(None) => self.create_rate(wanted.configured).await?,
                Err(Some(row)) => {
                    let (before, is_probe) = (*known, reservation.is_probe());
                    *known = RateLimit::read(&row)?;
                    let is_same = before.learnt.epoch == known.learnt.epoch;
                    if is_probe && is_same && known.learnt.probe_at > now {
                        return Ok(Granted::Blocked);
                    }
                    let ahead = known.until - now;
                    if !is_probe && is_same && ahead > microseconds(wanted.patience) && ahead <= WRONG_CLOCK_US {
                        return Ok(Granted::Wait(duration(ahead - microseconds(wanted.patience))));
                    }
                }
            }
        }
        // Everybody else was faster: they are many, and posts are given away for a while.
        Ok(Granted::Wait(wanted.patience / 2))
    }

    /// Writes down what was learnt, unless somebody was faster. `known` becomes what the row is now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn learn(&self, known: &mut RateLimit, learnt: LearntRate) -> Result<(), RegistryError> {
        let number = |value: i64| AttributeValue::N(value.to_string());
        let decimal = |value: f64| AttributeValue::N(format!("{value:.3}"));
        let set = "SET #epoch = :next, #base = :base, #changed_at = :changed_at, #good = :good, #probe_at = :probe_at";
        let blocked = match learnt.blocked_since {
            Some(_) => ", #blocked_since = :blocked_since",
            None => " REMOVE #blocked_since",
        };
        let mut request = self
            .rate_row()
            .update_expression(format!("{set}{blocked}"))
            .condition_expression("#epoch = :epoch")
            .expression_attribute_names("#base", BASE_RATE)
            .expression_attribute_names("#changed_at", CHANGED_AT)
            .expression_attribute_names("#good", GOOD_RATE)
            .expression_attribute_names("#probe_at", PROBE_AT)
            .expression_attribute_names("#blocked_since", BLOCKED_SINCE)
            .expression_attribute_values(":epoch", number(known.learnt.epoch))
            .expression_attribute_values(":next", number(learnt.epoch))
            .expression_attribute_values(":base", decimal(learnt.base))
            .expression_attribute_values(":changed_at", number(learnt.changed_at))
            .expression_attribute_values(":good", decimal(learnt.good))
            .expression_attribute_values(":probe_at", number(learnt.probe_at));
        if let Some(since) = learnt.blocked_since {
            request = request.expression_attribute_values(":blocked_since", number(since));
        }
        match self.update_rate(request).await? {
            Ok(row) | Err(Some(row)) => *known = RateLimit::read(&row)?,
            Err(None) => *known = RateLimit { until: known.until, learnt },
        }
        Ok(())
    }

    /// Makes the row, unless it is there by now.
    async fn create_rate(&self, configured: f64) -> Result<(), RegistryError> {
        let zero = || AttributeValue::N("0".to_owned());
        let request = self
            .rate_row()
            .update_expression(
                "SET #epoch = :zero, #base = :rate, #good = :rate, #changed_at = :zero, #probe_at = :zero, \
                 #ok_at = :zero, #until = :zero",
            )
            .condition_expression("attribute_not_exists(#epoch)")
            .expression_attribute_names("#base", BASE_RATE)
            .expression_attribute_names("#good", GOOD_RATE)
            .expression_attribute_names("#changed_at", CHANGED_AT)
            .expression_attribute_names("#probe_at", PROBE_AT)
            .expression_attribute_names("#ok_at", OK_AT)
            .expression_attribute_names("#until", RESERVED_UNTIL)
            .expression_attribute_values(":zero", zero())
            .expression_attribute_values(":rate", AttributeValue::N(format!("{configured:.3}")));
        self.update_rate(request).await.map(|_| ())
    }

    fn rate_row(&self) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(Key::rate().attributes()));
        request.expression_attribute_names("#epoch", EPOCH)
    }

    /// The row after the change, or what it is where the condition does not hold.
    async fn update_rate(&self, request: UpdateItemFluentBuilder) -> Result<Update, RegistryError> {
        let request = request
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match request.send().await.map_err(Error::from) {
            Ok(answer) => {
                self.counter.add_write(answer.consumed_capacity.as_ref());
                Ok(Ok(answer.attributes.unwrap_or_default()))
            }
            Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item)),
            Err(error) => Err(RegistryError::DynamoDb { operation: "UpdateItem", source: Box::new(error) }),
        }
    }
}

/// A reservation that is worth trying, as far as the row is known.
#[derive(Debug, Clone, Copy)]
struct Reservation {
    kind: Kind,
    now: i64,
    count: u32,
    /// How much of the time it takes, in microseconds.
    length: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Behind the last one.
    Next,
    /// From a fifth of a second ago on: nobody reserved for a while, or the row is wrong.
    Anew,
    /// A few posts, to see whether anything goes through.
    Probe,
}

impl Reservation {
    fn new(known: &RateLimit, wanted: &Wanted, now: i64) -> Self {
        if known.learnt.is_at_floor(wanted.configured) {
            let count = PROBE_POSTS.min(u32::try_from(wanted.posts).unwrap_or(PROBE_POSTS)).max(1);
            return Self { kind: Kind::Probe, now, count, length: 0 };
        }
        let rate = known.learnt.rate(wanted.configured, now);
        let count = ((rate * LONGEST) as usize).min(wanted.posts).max(1);
        let length = (count as f64 / rate * 1e6).ceil() as i64;
        let is_idle = known.until < now - OLDEST_US || known.until > now + WRONG_CLOCK_US;
        let kind = if is_idle { Kind::Anew } else { Kind::Next };
        Self { kind, now, count: u32::try_from(count).unwrap_or(u32::MAX), length }
    }

    fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    fn request(&self, registry: &Registry, known: &RateLimit, wanted: &Wanted) -> UpdateItemFluentBuilder {
        let number = |value: i64| AttributeValue::N(value.to_string());
        let mut request = registry.rate_row().expression_attribute_values(":epoch", number(known.learnt.epoch));
        let news = (wanted.ok_at > known.learnt.ok_at + NEWS_US && !self.is_probe()).then_some("#ok_at = :ok_at");
        if news.is_some() {
            request = request.expression_attribute_names("#ok_at", OK_AT);
            request = request.expression_attribute_values(":ok_at", number(wanted.ok_at));
        }
        match self.kind {
            Kind::Probe => request
                .update_expression("SET #probe_at = :next")
                .condition_expression("#epoch = :epoch AND #probe_at <= :now")
                .expression_attribute_names("#probe_at", PROBE_AT)
                .expression_attribute_values(":next", number(known.learnt.next_probe(self.now)))
                .expression_attribute_values(":now", number(self.now)),
            Kind::Next => {
                let news = news.map_or_else(String::new, |news| format!(" SET {news}"));
                let latest = self.now + microseconds(wanted.patience);
                request
                    .update_expression(format!("ADD #until :length{news}"))
                    .condition_expression("#epoch = :epoch AND #until BETWEEN :oldest AND :latest")
                    .expression_attribute_names("#until", RESERVED_UNTIL)
                    .expression_attribute_values(":length", number(self.length))
                    .expression_attribute_values(":oldest", number(self.now - OLDEST_US))
                    .expression_attribute_values(":latest", number(latest))
            }
            Kind::Anew => {
                let news = news.map_or_else(String::new, |news| format!(", {news}"));
                request
                    .update_expression(format!("SET #until = :until{news}"))
                    .condition_expression("#epoch = :epoch AND #until = :seen")
                    .expression_attribute_names("#until", RESERVED_UNTIL)
                    .expression_attribute_values(":until", number(self.now - OLDEST_US + self.length))
                    .expression_attribute_values(":seen", number(known.until))
            }
        }
    }

    fn granted(&self, row: &RateLimit) -> Granted {
        let (begin, interval) = match self.kind {
            Kind::Probe => (self.now, PROBE_INTERVAL_US),
            Kind::Next | Kind::Anew => (row.until - self.length, self.length as f64 / f64::from(self.count)),
        };
        Granted::Posts { begin, count: self.count, interval: Duration::from_nanos((interval * 1_000.0) as u64) }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

fn duration(microseconds: i64) -> Duration {
    Duration::from_micros(microseconds.unsigned_abs())
}
