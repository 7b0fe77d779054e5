//! What there is to see, as the console gets it.

use serde::Serialize;

use super::mask;

/// How many bytes of a text are kept.
const SHOWN: usize = 8 * 1024;

/// Read beyond that before tokens are looked for, so that none is cut in two and so overlooked.
const MARGIN: usize = 8 * 1024;

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    /// A client asked to connect, and how that ended.
    Handshake(Handshake),
    /// A message from a client, or one that the gateway sent to it by itself.
    Frame(Frame),
    /// A function was invoked, or has ended: two events with the same `id`.
    Invocation(Invocation),
    /// A call of the `@connections` API.
    Push(Push),
    /// An event on a bus of EventBridge.
    Bus(BusEvent),
    /// A message that was published to a topic of SNS.
    Topic(TopicMessage),
    /// A connection is over.
    Close(Close),
}

/// A text without tokens, cut to a few kilobytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Its beginning.
    pub text: String,
    /// How long the whole was, in bytes.
    pub bytes: usize,
    /// Whether `text` is not the whole.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl Text {
    /// Masks and cuts a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut masked = mask::text(&text[..text.floor_char_boundary(SHOWN + MARGIN)]).into_owned();
        masked.truncate(masked.floor_char_boundary(SHOWN));
        Self { text: masked, bytes: text.len(), cut: text.len() > SHOWN }
    }
}

/// A client's opening request and its answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The id that it got; absent where it was refused before it had one.
    pub connection: Option<String>,
    /// The request's path.
    pub path: String,
    /// Its query, tokens masked.
    pub query: Vec<(String, String)>,
    /// The subprotocols that it offered, tokens masked.
    pub offered: Vec<String>,
    /// Headers worth showing, tokens masked.
    pub headers: Vec<(String, String)>,
    /// The client's address.
    pub source_ip: String,
    /// 101, or that of the refusal.
    pub status: u16,
    /// The subprotocol that was chosen, tokens masked.
    pub subprotocol: Option<String>,
    /// From the request to its answer, in milliseconds.
    pub duration_ms: f64,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// One text message.
#[derive(Debug, Serialize)]
pub struct Frame {
    /// Whose.
    pub connection: String,
    /// Which way.
    pub direction: Direction,
    /// The route that was chosen; for an answer, the one that it came from. Absent where no route fits.
    pub route: Option<String>,
    /// Whether it is one of API Gateway's own error frames.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub error: bool,
    /// The message.
    pub body: Text,
}

/// A function at work.
#[derive(Debug, Clone, Serialize)]
pub struct Invocation {
    /// The same at its start and its end.
    pub id: u64,
    /// The function's logical id.
    pub function: String,
    /// The connection that the event is about, if it is about one.
    pub connection: Option<String>,
    /// What kind of event it was: `CONNECT`, `MESSAGE`, `authorizer`, `aws:sqs`, `direct` and the like.
    pub event: String,
    /// The route key, for events of API Gateway.
    pub route: Option<String>,
    /// Size of the event in bytes.
    pub bytes: usize,
    /// Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The function returned something.
    Ok,
    /// The function failed.
    Failed,
    /// It did not run.
    Refused,
    /// Its caller went away.
    Abandoned,
}

/// The end of an invocation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// What the function saw as its request id; empty where that is not known.
    pub request_id: String,
    /// What it returned, or its error.
    pub answer: Text,
    /// Its last log lines, tokens masked.
    pub log: Text,
}

/// A call of the `@connections` API.
#[derive(Debug, Serialize)]
pub struct Push {
    /// The connection that was named.
    pub connection: String,
    /// `POST`, `GET` or `DELETE`.
    pub method: String,
    /// The answer's.
    pub status: u16,
    /// The message, where one was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
}

/// An event on a bus of EventBridge: somebody put it, or a schedule fired.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BusEvent {
    /// The bus.
    pub bus: String,
    /// What the event says that it comes from.
    pub source: String,
    /// What it says that happened.
    pub detail_type: String,
    /// The rules that it matched, each with what its targets are.
    pub rules: Vec<String>,
    /// All of it.
    pub body: Text,
}

/// A message for a topic of SNS.
#[derive(Debug, Serialize)]
pub struct TopicMessage {
    /// The topic's name.
    pub topic: String,
    /// Its subject, if it has one.
    pub subject: Option<String>,
    /// What becomes of it, for each subscriber that gets it.
    pub subscribers: Vec<String>,
    /// How many subscribers' filter policies keep it away.
    pub filtered: usize,
    /// The message.
    pub body: Text,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// The client closed it.
    Client,
    /// The gateway did: a timeout, a bad frame, or because it was told to.
    Gateway,
    /// The network broke.
    Network,
}

/// The end of a connection.
#[derive(Debug, Serialize)]
pub struct Close {
    /// Whose.
    pub connection: String,
    /// The code that `$disconnect` sees.
    pub code: u16,
    /// The reason that `$disconnect` sees.
    pub reason: Text,
    /// Who ended it.
    pub by: Actor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_says_how_long_it_was() {
        assert_eq!(Text::of("hi"), Text { text: "hi".to_owned(), bytes: 2, cut: false });
        let long = "€".repeat(10_000);
        let cut = Text::of(&long);
        assert_eq!((cut.text.len(), cut.bytes, cut.cut), (SHOWN - SHOWN % 3, 30_000, true));
    }

    #[test]
    fn a_token_at_the_cut_is_masked_all_the_same() {
        let before = format!("{:width$}", "", width = SHOWN - 10);
        let cut = Text::of(&format!(r#"{before}"access_token":"{}""#, "s3cret".repeat(500)));
        assert!(cut.cut && !cut.text.contains("s3cret"), "{}", cut.text);
    }
}
