//! What an application's backend is told: events on a bus of EventBridge. Nothing else knows EventBridge.
//!
//! `docs/events.md` has the schema of each kind. An event may come twice; its `id` is the same then.

mod event;
mod identified;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::aws::json::{CallError, JsonClient};
use crate::function::BoxError;

pub use event::{Event, Unreached};
pub use identified::Identified;

/// What all of our events have as their `source`.
pub const SOURCE: &str = "tidings";

/// Most entries that EventBridge takes at once (`PutEvents`, API reference).
const BATCH_ENTRIES: usize = 10;
/// Most bytes that EventBridge takes at once, in one entry or in several.
const BATCH_BYTES: usize = 1_048_576;
/// How often an entry is put that EventBridge does not take.
const ATTEMPTS: u32 = 3;
/// First pause before that; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// For all attempts together: a client's handshake waits for them, and so does a delivery that has two seconds left.
const DEADLINE: Duration = Duration::from_secs(2);

/// The operation is named whole: `tests/suite/roles.rs` reads in the programs what they can call.
const PUT_EVENTS: &str = "AWSEvents.PutEvents";

/// Why events are not on the bus, or not all of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// EventBridge refused, or could not be reached.
    #[error("PutEvents failed in EventBridge")]
    EventBridge(#[source] BoxError),
    /// EventBridge took some events and not others, in several attempts.
    #[error("EventBridge did not take {count} of {total} events: {reason}")]
    Partly {
        /// How many it left.
        count: usize,
        /// Of how many that were put together.
        total: usize,
        /// What it said of the first.
        reason: String,
    },
    /// An event is larger than EventBridge takes. None was put.
    #[error("an event would be {bytes} bytes, and EventBridge takes {BATCH_BYTES}")]
    TooLarge {
        /// Its size: that of its source, its type and its detail.
        bytes: usize,
    },
    /// It took too long.
    #[error("EventBridge did not take the events within {DEADLINE:?}")]
    TimedOut,
}

type LazyClient = LazyLock<JsonClient, Box<dyn FnOnce() -> JsonClient + Send>>;

/// A bus that events are put on; [`Aws::bus`](crate::aws::Aws::bus) makes one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Arc<LazyClient>,
    name: String,
}

/// An event as EventBridge takes it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: &'static str,
    detail_type: &'static str,
    detail: String,
    event_bus_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Input<'a> {
    entries: &'a [Entry],
}

/// EventBridge's answer, with a result for each entry, in their order.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    entries: Vec<EntryResult>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryResult {
    error_code: Option<String>,
    error_message: Option<String>,
}

impl EntryResult {
    /// Why the entry was not taken, if it was not.
    fn failure(self) -> Option<String> {
        let code = self.error_code?;
        Some(self.error_message.map_or_else(|| code.clone(), |message| format!("{code}: {message}")))
    }
}

impl Entry {
    /// As EventBridge counts it (User Guide, "Calculating PutEvents event entry size").
    fn bytes(&self) -> usize {
        self.source.len() + self.detail_type.len() + self.detail.len()
    }
}

impl EventBus {
    pub(crate) fn with_client(client: impl FnOnce() -> JsonClient + Send + 'static, name: impl Into<String>) -> Self {
        Self { client: Arc::new(LazyLock::new(Box::new(client))), name: name.into() }
    }

    /// The bus's name or ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts events, in as few requests as EventBridge allows. What it does not take is put three times in all, and
    /// all of it together ends after two seconds.
    ///
    /// # Errors
    /// When EventBridge has not taken all of them; which it has is not known then, so all are to be put again, under the
    /// same ids.
    pub async fn put(&self, events: &[Event<'_>]) -> Result<(), EventsError> {
        let entries = events.iter().map(|event| self.entry(event)).collect();
        let batches = batches(entries)?;
        let put = async {
            for batch in batches {
                self.put_batch(batch).await?;
            }
            Ok(())
        };
        timeout(DEADLINE, put).await.unwrap_or(Err(EventsError::TimedOut))
    }

    fn entry(&self, event: &Event<'_>) -> Entry {
        Entry {
            source: SOURCE,
            detail_type: event.detail_type(),
            detail: event.detail(),
            event_bus_name: self.name.clone(),
        }
    }

    async fn put_batch(&self, batch: Vec<Entry>) -> Result<(), EventsError> {
        let total = batch.len();
        let (mut left, mut attempt) = (batch, 1);
        loop {
            let Some((untaken, reason)) = self.put_once(left).await? else { return Ok(()) };
            if attempt == ATTEMPTS {
                return Err(EventsError::Partly { count: untaken.len(), total, reason });
            }
            tracing::debug!(count = untaken.len(), reason, "events are put again");
            sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            (left, attempt) = (untaken, attempt + 1);
        }
    }

    /// Puts entries; what EventBridge did not take of them, and why not the first.
    async fn put_once(&self, entries: Vec<Entry>) -> Result<Option<(Vec<Entry>, String)>, EventsError> {
        let failed = |error: CallError| EventsError::EventBridge(Box::new(error));
        let answer: Answer = self.client.call(PUT_EVENTS, &Input { entries: &entries }).await.map_err(failed)?;
        let results = answer.entries.into_iter().map(EntryResult::failure);
        let (untaken, mut reasons): (Vec<_>, Vec<_>) =
            entries.into_iter().zip(results).filter_map(|(entry, failure)| Some((entry, failure?))).unzip();
        Ok((!untaken.is_empty()).then(|| (untaken, reasons.swap_remove(0))))
    }
}

/// Entries in groups that EventBridge takes at once, in their order.
fn batches(entries: Vec<Entry>) -> Result<Vec<Vec<Entry>>, EventsError> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut room = 0;
    for entry in entries {
        let bytes = entry.bytes();
        if bytes > BATCH_BYTES {
            return Err(EventsError::TooLarge { bytes });
        }
        match batches.last_mut().filter(|batch| bytes <= room && batch.len() < BATCH_ENTRIES) {
            Some(batch) => {
                room -= bytes;
                batch.push(entry);
            }
            None => {
                room = BATCH_BYTES - bytes;
                batches.push(vec![entry]);
            }
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_credential_types::Credentials;
    use bytes::Bytes;
    use http::{Request, Response};
    use serde_json::{Value, json};

    use super::*;
    use crate::aws::json;
    use crate::aws::transport::{Exchange, Transport};
    use crate::ids::UserId;

    /// Answers each request with the next of its answers, and keeps what was asked.
    #[derive(Debug, Clone, Default)]
    struct Standin(Arc<Mutex<(Vec<Value>, Vec<Value>)>>);

    impl Transport for Standin {
        fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
            let (answers, asked) = &mut *self.0.lock().unwrap();
            asked.push(serde_json::from_slice(request.body()).unwrap());
            let answer = match answers.is_empty() {
                true => return Box::pin(std::future::pending()),
                false => answers.remove(0),
            };
            Box::pin(async move { Ok(Response::new(Bytes::from(answer.to_string()))) })
        }
    }

    fn bus(answers: &[Value]) -> (EventBus, Standin) {
        let standin = Standin(Arc::new(Mutex::new((answers.to_vec(), Vec::new()))));
        let transport = Box::new(standin.clone());
        let client = || {
            let credentials = Credentials::new("id", "secret", None, None, "test");
            json::JsonClient::new(
                json::EVENTS,
                "http://bus.test".to_owned(),
                "eu-west-1".to_owned(),
                credentials,
                transport,
            )
        };
        (EventBus::with_client(client, "shop"), standin)
    }

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|number| UserId::parse(format!("u{number}")).unwrap()).collect()
    }

    async fn put(bus: &EventBus, users: &[UserId]) -> Result<(), EventsError> {
        let events: Vec<_> = users.iter().map(|user| Event::UserOnline { user, at: 5 }).collect();
        bus.put(&events).await
    }

    /// The users of each request.
    fn asked(standin: &Standin) -> Vec<Vec<String>> {
        let user = |entry: &Value| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
            detail["user"].as_str().unwrap().to_owned()
        };
        let requests = standin.0.lock().unwrap().1.clone();
        requests.iter().map(|request| request["Entries"].as_array().unwrap().iter().map(user).collect()).collect()
    }

    fn failed() -> Value {
        json!({"ErrorCode": "InternalFailure", "ErrorMessage": "no"})
    }

    #[tokio::test]
    async fn an_entry_names_bus_source_and_type_and_has_its_detail_as_text() {
        let (bus, standin) = bus(&[json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})]);
        put(&bus, &users(1)).await.unwrap();
        let expected = json!({
            "Source": "tidings",
            "DetailType": "User Online",
            "Detail": r#"{"id":"user-online-u0-5","user":"u0","at":5}"#,
            "EventBusName": "shop",
        });
        assert_eq!(standin.0.lock().unwrap().1, [json!({"Entries": [expected]})]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_not_taken_is_put_again() {
        let taken = json!({"EventId": "1"});
        let answers =
            [json!({"FailedEntryCount": 1, "Entries": [taken, failed(), taken]}), json!({"Entries": [taken]})];
        let (bus, standin) = bus(&answers);
        put(&bus, &users(3)).await.unwrap();
        assert_eq!(asked(&standin), [vec!["u0", "u1", "u2"], vec!["u1"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_taken_is_an_error_with_its_reason() {
        let taken = json!({"EventId": "1"});
        let answers =
            [json!({"Entries": [taken, failed()]}), json!({"Entries": [failed()]}), json!({"Entries": [failed()]})];
        let (bus, _) = bus(&answers);
        let error = put(&bus, &users(2)).await.unwrap_err();
        assert_eq!(error.to_string(), "EventBridge did not take 1 of 2 events: InternalFailure: no");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_does_not_answer_costs_two_seconds() {
        let (bus, _) = bus(&[]);
        let begin = tokio::time::Instant::now();
        assert!(matches!(put(&bus, &users(1)).await, Err(EventsError::TimedOut)));
        assert_eq!(begin.elapsed().as_secs(), 2);
    }

    fn entry(bytes: usize) -> Entry {
        Entry { source: "", detail_type: "", detail: "x".repeat(bytes), event_bus_name: "default".to_owned() }
    }

    #[test]
    fn a_batch_has_ten_entries_and_one_mebibyte_at_most() {
        let sizes = |bytes: &[usize]| {
            let batches = batches(bytes.iter().copied().map(entry).collect()).unwrap();
            batches.iter().map(|batch| batch.iter().map(Entry::bytes).collect()).collect::<Vec<Vec<_>>>()
        };
        assert_eq!(sizes(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(&[1; 11]), [vec![1; 10], vec![1]]);
        assert_eq!(sizes(&[BATCH_BYTES - 1, 1, 1]), [vec![BATCH_BYTES - 1, 1], vec![1]]);
        let error = batches(vec![entry(BATCH_BYTES + 1)]).unwrap_err();
        assert_eq!(error.to_string(), "an event would be 1048577 bytes, and EventBridge takes 1048576");
    }
}
