//! Events as they happen, by Server-Sent Events.
//!
//! First what the ring still holds, then what comes. Each message is a batch with the number of its last event as its
//! id, so that a browser that has lost the stream goes on where it was.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde_json::json;

use tidings_local_observe::{Cursor, Observer};

/// Events in one message.
const BATCH: usize = 250;

/// Between two messages, so that a storm of events makes few of them.
const PAUSE: Duration = Duration::from_millis(40);

/// How soon a browser tries again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn stream(
    State(observer): State<Observer>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let after = headers.get("last-event-id").and_then(|id| resume(observer.run(), id.to_str().ok()?));
    // The page forgets what it has when the run is another one.
    let hello = Event::default().event("hello").retry(RETRY).data(json!({"run": observer.run()}).to_string());
    let cursor = observer.follow(after.unwrap_or(0));
    let run = observer.run().to_owned();
    let stream = stream::unfold((cursor, run, Some(hello)), next);
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// The reader, the run it reads from, and what is to be said first.
type Following = (Cursor, String, Option<Event>);

async fn next((mut cursor, run, hello): Following) -> Option<(Result<Event, Infallible>, Following)> {
    if let Some(hello) = hello {
        return Some((Ok(hello), (cursor, run, None)));
    }
    let batch = cursor.next(BATCH).await?;
    if batch.events.len() < BATCH {
        tokio::time::sleep(PAUSE).await;
    }
    let last = batch.events.last().map_or(0, |event| event.seq);
    // Texts and numbers always have a JSON form.
    let data = serde_json::to_string(&batch).unwrap_or_default();
    Some((Ok(Event::default().id(format!("{run}-{last}")).data(data)), (cursor, run, None)))
}

/// The number behind which to go on, if the id is of this run.
fn resume(run: &str, id: &str) -> Option<u64> {
    id.strip_prefix(run)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_this_run_is_gone_on_from() {
        assert_eq!(resume("abc", "abc-17"), Some(17));
        assert_eq!(resume("abc", "abd-17"), None);
        assert_eq!(resume("abc", "17"), None);
        assert_eq!(resume("abc", "abc-x"), None);
    }
}
