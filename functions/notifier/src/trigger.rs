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
use tidings::notification::Notification;
use tidings::trigger::Trigger;

/// An event, taken apart.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// A direct invoke with one notification.
    One(&'a RawValue),
    /// A direct invoke with several.
    Many(Vec<&'a RawValue>),
    /// The template's schedule: connections whose time is over are to be looked at.
    Ends,
    /// The template's other schedule: connections that do not say who they are are to be closed.
    Opening,
    /// The same one: connections that hear nothing for long are to get a sign of life.
    KeepAlive,
    /// Records of a service.
    Records(Batch),
}

/// What the template's schedules invoke with.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Schedule {
    Presence(Ends),
    Connections(Connections),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ends {
    Ends,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Connections {
    Opening,
    KeepAlive,
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
    /// What an idempotency key is unique in: the queue, the caller or client that put it there, or else the source.
    pub(crate) scope: String,
    /// Records with the same one are to be served in their order; `None` where no order is needed.
    pub(crate) order: Option<String>,
    /// A time until which it is to be delivered, whatever its time to live says: somebody sends it once more.
    pub(crate) until: Option<i64>,
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

    /// The notification that it asks for, with as long a life as it is to have.
    pub(crate) fn lasting(&self, mut notification: Notification) -> Notification {
        if let Some(until) = self.until {
            notification.last_until(until);
        }
        notification
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
    /// Ours, not the service's: see [`Record::until`].
    until: Option<i64>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(alias = "EventSource", rename = "eventSource")]
    source: Option<String>,
}

/// Takes an event apart. Records that cannot be read are given beside it. `ours` names the queue whose messages say in
/// their attributes what brought them.
pub(crate) fn read<'a>(event: &'a RawValue, ours: Option<&str>) -> (Input<'a>, Vec<Unreadable>) {
    if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(event.get()) {
        return (Input::Many(list), Vec::new());
    }
    match serde_json::from_str(event.get()) {
        Ok(Schedule::Presence(Ends::Ends)) => return (Input::Ends, Vec::new()),
        Ok(Schedule::Connections(Connections::Opening)) => return (Input::Opening, Vec::new()),
        Ok(Schedule::Connections(Connections::KeepAlive)) => return (Input::KeepAlive, Vec::new()),
        Err(_) => {}
    }
    let Ok(shape) = serde_json::from_str::<Shape<'_>>(event.get()) else { return (Input::One(event), Vec::new()) };
    if let Some(records) = shape.records {
        return batch(&records, ours, shape.until);
    }
    if shape.detail_type.is_some() && shape.detail.is_some() {
        return collect([bus::read(event)], Answer::Whole, shape.until);
    }
    (Input::One(event), Vec::new())
}

fn batch<'a>(records: &[&'a RawValue], ours: Option<&str>, until: Option<i64>) -> (Input<'a>, Vec<Unreadable>) {
    let service = records.first().and_then(|record| serde_json::from_str::<Head>(record.get()).ok()?.source);
    let read = |record: &RawValue| match service.as_deref() {
        Some("aws:sqs") => queue::read(record, ours),
        Some("aws:sns") => topic::read(record),
        Some("aws:dynamodb") => stream::read_dynamodb(record),
        Some("aws:kinesis") => stream::read_kinesis(record),
        Some("aws:s3") => bucket::read(record),
        _ => unknown(record),
    };
    let answer = match service.as_deref() {
        Some("aws:sqs") if records.iter().all(|record| queue::is_fifo(record)) => Answer::FirstOn,
        Some("aws:sqs") => Answer::Items,
        Some("aws:dynamodb" | "aws:kinesis") => Answer::FirstOn,
        _ => Answer::Whole,
    };
    collect(records.iter().map(|record| read(record)), answer, until)
}

fn collect<'a>(
    read: impl IntoIterator<Item = Read>,
    answer: Answer,
    until: Option<i64>,
) -> (Input<'a>, Vec<Unreadable>) {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for record in read {
        match record {
            Ok(record) => records.push(Record { until: record.until.or(until), ..record }),
            Err(error) => unreadable.push(error),
        }
    }
    (Input::Records(Batch { records, answer }), unreadable)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings::notification::is_scope;

    use super::*;

    const OURS: &str = "NotificationQueue";

    fn records(event: &Value) -> Vec<Record> {
        let event = raw(event);
        match read(&event, Some(OURS)) {
            (Input::Records(batch), unreadable) if unreadable.is_empty() => batch.records,
            other => panic!("records expected: {other:?}"),
        }
    }

    fn record(record: &Value) -> Record {
        let mut records = records(&json!({"Records": [record]}));
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    /// An example of the events that the services send.
    fn example(name: &str) -> Value {
        let path = format!("{}/../../tests/events/triggers/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn changed(value: &Value, changes: &[(&str, Value)]) -> Value {
        let mut value = value.clone();
        for (pointer, change) in changes {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name] = change.clone();
        }
        value
    }

    #[test]
    fn an_s3_event_without_a_sequencer_is_told_from_the_next_one_and_known_when_it_comes_again() {
        let mut tagged = example("s3")["Records"][0].clone();
        tagged["eventName"] = json!("ObjectTagging:Put");
        tagged["s3"]["object"].as_object_mut().unwrap().remove("sequencer");
        let id = record(&tagged).id;
        assert_eq!(record(&tagged).id, id, "a redelivery");
        for change in [
            ("/eventTime", json!("1970-01-01T00:00:01.000Z")),
            ("/responseElements/x-amz-request-id", json!("EXAMPLE2")),
            ("/eventName", json!("ObjectTagging:Delete")),
            ("/s3/object/versionId", json!("v2")),
            ("/s3/object/key", json!("other")),
            ("/s3/bucket/name", json!("other")),
        ] {
            assert_ne!(record(&changed(&tagged, std::slice::from_ref(&change))).id, id, "{change:?}");
        }
        tagged.as_object_mut().unwrap().remove("responseElements");
        assert!(record(&tagged).id.starts_with("s3-"));
    }

    #[test]
    fn a_sequencer_alone_tells_the_events_of_a_key_apart() {
        let put = example("s3")["Records"][0].clone();
        let id = record(&put).id;
        assert_eq!(record(&changed(&put, &[("/responseElements/x-amz-request-id", json!("EXAMPLE2"))])).id, id);
        assert_ne!(record(&changed(&put, &[("/s3/object/sequencer", json!("0B"))])).id, id);
    }

    #[test]
    fn a_change_of_a_table_is_named_by_its_event_id() {
        let ids: Vec<_> = records(&example("dynamodb")).into_iter().map(|record| record.id).collect();
        assert_eq!(ids[0], "ExampleTableWithStream-c4ca4238a0b923820dcc509a6f75849b");
    }

    #[test]
    fn each_source_and_each_queue_has_a_scope_of_its_own() {
        let sqs = example("sqs")["Records"][0].clone();
        let queue = |arn: &str| changed(&sqs, &[("/eventSourceARN", json!(arn))]);
        let s3 = example("s3")["Records"][0].clone();
        let sns = example("sns")["Records"][0].clone();
        let bus = example("eventbridge");
        let scopes: Vec<_> = [
            record(&queue("arn:aws:sqs:r:1:a")),
            record(&queue("arn:aws:sqs:r:1:b")),
            record(&queue("arn:aws:sqs:r:2:a")),
            record(&s3),
            record(&changed(&s3, &[("/s3/bucket/name", json!("other"))])),
            record(&sns),
            record(&changed(&sns, &[("/Sns/TopicArn", json!("arn:aws:sns:r:1:other"))])),
            records(&bus).remove(0),
            records(&changed(&bus, &[("/source", json!("other"))])).remove(0),
            records(&example("dynamodb")).remove(0),
            records(&example("kinesis")).remove(0),
        ]
        .into_iter()
        .map(|record| record.scope)
        .collect();
        let different: std::collections::BTreeSet<_> = scopes.iter().collect();
        assert_eq!(different.len(), scopes.len(), "{scopes:?}");
        assert!(scopes.iter().all(|scope| is_scope(scope)), "{scopes:?}");
        assert_eq!(record(&s3).scope, scopes[3], "a redelivery");
    }

    #[test]
    fn what_a_topic_sends_has_the_same_scope_by_itself_and_through_a_queue() {
        let sns = example("sns")["Records"][0].clone();
        let mut envelope = sns["Sns"].clone();
        envelope["Type"] = json!("Notification");
        let queued = changed(&example("sqs")["Records"][0], &[("/body", json!(envelope.to_string()))]);
        assert_eq!((record(&queued).scope, record(&queued).id), (record(&sns).scope, record(&sns).id));
    }

    #[test]
    fn only_our_own_queue_says_who_put_a_message_there() {
        let mark = |value: &str| json!({"stringValue": value, "dataType": "String"});
        let marked = |queue: &str, scope: &str| {
            let arn = json!(format!("arn:aws:sqs:r:1:{queue}"));
            let marks = json!({"trigger": mark("rest"), "scope": mark(scope)});
            let sqs = &example("sqs")["Records"][0];
            record(&changed(sqs, &[("/eventSourceARN", arn), ("/messageAttributes", marks)]))
        };
        let ours = marked(OURS, "rest-0123");
        assert_eq!((ours.trigger(), ours.scope.as_str()), (Trigger::Rest, "rest-0123"));
        let other = marked("orders", "rest-0123");
        assert_eq!(other.trigger(), Trigger::Sqs);
        assert!(other.scope.starts_with("sqs-"), "{}", other.scope);
        assert!(marked(OURS, "a#b").scope.starts_with("sqs-"), "what is no scope does not reach into a key");
    }

    #[test]
    fn only_streams_and_fifo_queues_need_an_order() {
        let order = |event: &Value| records(event).into_iter().map(|record| record.order).collect::<Vec<_>>();
        let key = || Some(r#"{"Id":{"N":"101"}}"#.to_owned());
        assert_eq!(order(&example("dynamodb")), [key(), key(), key()]);
        assert_eq!(order(&example("kinesis")), [Some("partitionKey-03".to_owned())]);
        let queue = |arn: &str| {
            let sqs = &example("sqs")["Records"][0];
            record(&changed(sqs, &[("/eventSourceARN", json!(arn)), ("/attributes/MessageGroupId", json!("g"))])).order
        };
        assert_eq!(queue("arn:aws:sqs:r:1:a.fifo"), Some("g".to_owned()));
        assert_eq!(queue("arn:aws:sqs:r:1:a"), None, "a fair queue has groups and no order");
        assert_eq!([order(&example("s3")), order(&example("sns"))], [[None], [None]]);
    }

    #[test]
    fn an_event_that_is_sent_once_more_lasts_until_the_time_that_it_names() {
        let event = |until: Value| changed(&example("s3"), &[("/until", until)]);
        let lasting = |event: &Value| {
            let id = tidings::NotificationId::parse("n").unwrap();
            let defaults = tidings::notification::Defaults { id, at: 1_795_520_783_000 };
            let notification = Notification::parse(r#"{"to":"everyone","data":1,"ttl":60}"#, &defaults).unwrap();
            let notification = records(event).remove(0).lasting(notification);
            (notification.at, notification.ttl)
        };
        assert_eq!(lasting(&event(Value::Null)), (1_795_520_783_000, 60));
        assert_eq!(lasting(&event(json!(1_795_520_783_001_i64))), (1_795_520_783_000, 60), "it never shortens a life");
        assert_eq!(lasting(&event(json!(1_795_520_983_001_i64))), (1_795_520_783_000, 201));
        assert_eq!(lasting(&event(json!(i64::MAX))).1, tidings::notification::MAX_TTL_SECONDS);
        let bus = changed(&example("eventbridge"), &[("/until", json!(1_795_520_983_000_i64))]);
        assert_eq!(lasting(&bus).1, 200);
    }
}
