//! AWS events that become notifications, told apart by their shape.
//!
//! Only what is needed is read, and the rest is kept letter by letter: a record that cannot be handled goes to the
//! dead-letter queue as it came.

mod bucket;
mod bus;
mod queue;
mod stream;
mod topic;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::metrics::Trigger;

/// An event, taken apart.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A direct invoke with one notification.
    One(&'a RawValue),
    /// A direct invoke with several.
    Many(Vec<&'a RawValue>),
    /// Records of a service.
    Records(Batch),
}

/// Records that came in one event.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    pub(crate) answer: Answer,
}

/// How the service is told what is to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Each message by itself.
    Items,
    /// Everything from the first one on: the order matters.
    FirstOn,
    /// The event as a whole, by failing.
    Whole,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Record {
    /// What the service calls it in `batchItemFailures`.
    pub(crate) item: String,
    /// Of a message of a queue.
    pub(crate) message: Option<Message>,
    /// Where it comes from: `aws/sqs/orders`.
    pub(crate) source: String,
    /// Derived from the event, so that a redelivery has the same.
    pub(crate) id: String,
    /// When it happened, in milliseconds since the epoch; `None` where the event does not say.
    pub(crate) at: Option<i64>,
    /// The service's own word for what happened.
    pub(crate) event: Option<String>,
    /// What a reader of that service expects.
    pub(crate) data: Box<RawValue>,
    /// As it came.
    pub(crate) raw: Box<RawValue>,
}

/// What a queue needs to know of its message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) queue: String,
    pub(crate) receipt: String,
    pub(crate) receives: u32,
    pub(crate) body: String,
    /// What one of our own functions says that it was brought by.
    pub(crate) trigger: Option<Trigger>,
}

impl Record {
    /// What it is counted under.
    pub(crate) fn trigger(&self) -> Trigger {
        let marked = self.message.as_ref().and_then(|message| message.trigger);
        // Every source names its service second.
        marked.or_else(|| Trigger::of_name(self.source.split('/').nth(1)?)).unwrap_or(Trigger::Direct)
    }
}

/// Why a record could not be read. It goes to the dead-letter queue.
#[derive(Debug, thiserror::Error)]
#[error("the {service} record is not as {service} sends it: {problem}")]
pub(crate) struct Unreadable {
    pub(crate) service: &'static str,
    pub(crate) problem: String,
    pub(crate) raw: Box<RawValue>,
}

/// A record, or why it is none.
pub(crate) type Read = Result<Record, Unreadable>;

#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<&'a RawValue>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<serde::de::IgnoredAny>,
    detail: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(alias = "EventSource", rename = "eventSource")]
    source: Option<String>,
}

/// Takes an event apart. Records that cannot be read are given beside it.
pub(crate) fn read(event: &RawValue) -> (Event<'_>, Vec<Unreadable>) {
    if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(event.get()) {
        return (Event::Many(list), Vec::new());
    }
    let Ok(shape) = serde_json::from_str::<Shape<'_>>(event.get()) else { return (Event::One(event), Vec::new()) };
    if let Some(records) = shape.records {
        return batch(&records);
    }
    if shape.detail_type.is_some() && shape.detail.is_some() {
        return collect([bus::read(event)], Answer::Whole);
    }
    (Event::One(event), Vec::new())
}

fn batch<'a>(records: &[&'a RawValue]) -> (Event<'a>, Vec<Unreadable>) {
    let service = records.first().and_then(|record| serde_json::from_str::<Head>(record.get()).ok()?.source);
    let read: fn(&RawValue) -> Read = match service.as_deref() {
        Some("aws:sqs") => queue::read,
        Some("aws:sns") => topic::read,
        Some("aws:dynamodb") => stream::read_dynamodb,
        Some("aws:kinesis") => stream::read_kinesis,
        Some("aws:s3") => bucket::read,
        _ => unknown,
    };
    let answer = match service.as_deref() {
        Some("aws:sqs") if records.iter().all(|record| queue::is_fifo(record)) => Answer::FirstOn,
        Some("aws:sqs") => Answer::Items,
        Some("aws:dynamodb" | "aws:kinesis") => Answer::FirstOn,
        _ => Answer::Whole,
    };
    collect(records.iter().map(|record| read(record)), answer)
}

fn collect<'a>(read: impl IntoIterator<Item = Read>, answer: Answer) -> (Event<'a>, Vec<Unreadable>) {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for record in read {
        match record {
            Ok(record) => records.push(record),
            Err(error) => unreadable.push(error),
        }
    }
    (Event::Records(Batch { records, answer }), unreadable)
}

fn unknown(record: &RawValue) -> Read {
    let problem = "its eventSource is none of aws:sqs, aws:sns, aws:s3, aws:dynamodb and aws:kinesis".to_owned();
    Err(Unreadable { service: "event", problem, raw: record.to_owned() })
}

/// Reads a record into the shape that its service documents.
fn parse<'a, T: Deserialize<'a>>(service: &'static str, record: &'a RawValue) -> Result<T, Unreadable> {
    serde_json::from_str(record.get()).map_err(|error| Unreadable {
        service,
        problem: error.to_string(),
        raw: record.to_owned(),
    })
}

/// JSON as it stands, anything else as a JSON string.
fn json_or_text(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.trim().to_owned()).unwrap_or_else(|_| raw(&text))
}

/// A value as JSON.
fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    // Strings, numbers, maps with string keys: there is nothing here that cannot be written.
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The last part of a resource name: `arn:aws:sqs:eu-west-1:1:orders` → `orders`.
fn last_of_arn(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}
