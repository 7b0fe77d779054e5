//! What came of a command: for the log and the metrics, and for the client where the registry refused it.

use tidings::Topic;
use tidings::metrics::{Metric, Recorder};
use tidings::protocol::ReplyBody;
use tidings::registry::RegistryError;

use crate::frame::Frame;
use crate::services::Error;

/// What a reply has room for beside messages, in bytes: names of topics above all.
const ROOM: usize = 4 * 1_024;

/// Messages that one reply may have, in bytes.
pub(crate) const MOST_BYTES: usize = tidings::delivery::MAX_MESSAGE_BYTES - ROOM;

/// Counts and logs what was done with topics.
pub(crate) fn note(frame: &Frame, recorder: &Recorder, topics: &[Topic], metric: Metric, done: &str) {
    recorder.add(metric, topics.len() as u64);
    let names: Vec<_> = topics.iter().map(Topic::as_str).collect();
    tracing::info!(connection.id = %frame.caller.connection, topic = names.join(" "), "{done}");
}

/// What the client is told where the registry refuses.
pub(crate) fn refused(error: RegistryError) -> Result<ReplyBody, Error> {
    error.into_client_error().map(ReplyBody::Error).map_err(Error::Registry)
}
