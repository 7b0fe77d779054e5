//! API Gateway's `@connections`: takes signed posts in this process, and writes down what became of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use tidings::aws::{Exchange, Transport};
use tokio::time::{Instant, sleep, sleep_until};

use super::account::Account;
use super::rows;
use super::time::{Time, above};

/// What an environment needs for one post: it makes 8,300 of them a second.
const CPU: Duration = Duration::from_micros(120);

/// Clients that do not read.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// Members of this audience.
    pub audience: &'static str,
    /// How many, evenly spread over it.
    pub members: usize,
    /// Of how many.
    pub of: usize,
    /// When they begin to read, in seconds.
    pub until: f64,
}

impl Slow {
    fn sockets(self) -> HashSet<String> {
        (0..self.members).map(|member| rows::socket(self.audience, member * self.of / self.members)).collect()
    }
}

/// The stand-in. Clones share what they see.
#[derive(Debug, Clone)]
pub struct Gateway {
    seen: Arc<Mutex<Seen>>,
    time: Time,
}

/// One post, as it was answered.
#[derive(Debug, Clone, Copy)]
pub struct Post {
    /// When it came, in seconds.
    pub at: f64,
    /// The answer.
    pub status: u16,
}

/// Everything that came.
#[derive(Debug)]
pub struct Seen {
    /// What decides.
    pub account: Account,
    /// Posts in their order.
    pub posts: Vec<Post>,
    /// When each socket got each message, by the message's label.
    pub deliveries: HashMap<String, HashMap<String, Vec<f64>>>,
    /// Sockets that were closed, and when, in seconds.
    pub closed: BTreeMap<String, f64>,
    slow: HashSet<String>,
    reads_from: f64,
}

/// An environment's way to the API.
#[derive(Debug)]
struct Port {
    gateway: Gateway,
    processor: Processor,
}

impl Transport for Port {
    fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
        Box::pin(async move { Ok(self.gateway.answer(&self.processor, request).await) })
    }
}

/// An environment's one processor.
#[derive(Debug, Default)]
struct Processor(Mutex<Option<Instant>>);

impl Gateway {
    /// An API whose clients all read, but for `slow`.
    #[must_use]
    pub fn new(account: Account, slow: Option<Slow>, time: Time) -> Self {
        let sockets = slow.map(Slow::sockets).unwrap_or_default();
        let seen = Seen {
            account,
            posts: Vec::new(),
            deliveries: HashMap::new(),
            closed: BTreeMap::new(),
            slow: sockets,
            reads_from: slow.map_or(0.0, |slow| slow.until),
        };
        Self { seen: Arc::new(Mutex::new(seen)), time }
    }

    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one environment reaches the API with.
    #[must_use]
    pub fn transport(&self) -> impl Transport + use<> {
        Port { gateway: self.clone(), processor: Processor::default() }
    }

    async fn answer(&self, processor: &Processor, request: Request<Bytes>) -> Response<Bytes> {
        if let Some(turn) = processor.turn() {
            sleep_until(turn).await;
        }
        let (parts, body) = request.into_parts();
        let socket = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let socket = percent_encoding::percent_decode_str(socket).decode_utf8().unwrap().into_owned();
        let status = match parts.method {
            Method::POST => self.seen().post(self.time.seconds(), socket, &body),
            Method::DELETE => self.seen().close(self.time.seconds(), socket),
            other => unreachable!("the notifier does not {other}"),
        };
        sleep(match status {
            403 | 429 => above(0.006, 0.002),
            _ => above(0.012, 0.008),
        })
        .await;
        let body = match status {
            403 => r#"{"message":"Forbidden"}"#,
            429 => r#"{"message":"Too Many Requests"}"#,
            _ => "",
        };
        Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
    }
}

impl Seen {
    fn post(&mut self, at: f64, socket: String, body: &[u8]) -> u16 {
        let status = match self.account.answer(at) {
            200 if self.closed.contains_key(&socket) => 410,
            200 if at < self.reads_from && self.slow.contains(&socket) => 429,
            status => status,
        };
        self.posts.push(Post { at, status });
        if status == 200 {
            self.deliveries.entry(label(body).to_owned()).or_default().entry(socket).or_default().push(at);
        }
        status
    }

    fn close(&mut self, at: f64, socket: String) -> u16 {
        if self.closed.contains_key(&socket) {
            return 410;
        }
        self.closed.insert(socket, at);
        204
    }
}

impl Processor {
    /// Takes the next moment for a post; `None` where it is now.
    fn turn(&self) -> Option<Instant> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = free.map_or(now, |free| free.max(now));
        *free = Some(turn + CPU);
        // Tokio's clock has no shorter ticks.
        (turn > now + Duration::from_millis(1)).then_some(turn)
    }
}

/// What marks a message: its data up to `|`, after which there may be anything.
#[must_use]
pub fn label(message: &[u8]) -> &str {
    let begin = message.windows(8).position(|window| window == br#""data":""#).map_or(message.len(), |at| at + 8);
    let rest = &message[begin..];
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'|')).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_the_label_in_its_data() {
        let message = br#"{"type":"message","id":"x","topic":"t","at":1,"ttl":3600,"data":"s3-17|more"}"#;
        assert_eq!((label(message), label(b"{}"), label(br#"{"data":"a"}"#)), ("s3-17", "", "a"));
    }

    #[test]
    fn one_processor_makes_so_many_posts_and_no_more() {
        let processor = Processor::default();
        let now = Instant::now();
        let last = (0..8_301).filter_map(|_| processor.turn()).last().unwrap();
        assert!(last - now < Duration::from_millis(1_010), "{:?}", last - now);
        assert!(last - now > Duration::from_millis(980), "{:?}", last - now);
    }
}
