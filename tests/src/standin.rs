//! A stand-in for `@connections` whose sockets misbehave on demand: the faults that the local gateway cannot provoke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Credentials, Region};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tidings::aws::http_client_to;
use tidings::delivery::{Management, Sockets};
use tokio::net::TcpListener;

/// What a socket does when it is posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes every message.
    Takes,
    /// 410 for ever.
    Gone,
    /// 410 until this long after the first post, as in a handshake.
    GoneFor(Duration),
    /// 400 `Invalid connectionId`.
    Invalid,
    /// This status for so many posts, then takes messages.
    Answers(u16, u32),
    /// Takes so many messages, then answers this status for ever.
    TakesAndAnswers(u32, u16),
    /// Does not answer the first post, and does not deliver it.
    HangsOnce,
    /// Never answers.
    Hangs,
}

/// One socket, as it was used.
#[derive(Debug, Clone)]
pub struct Used {
    /// What it does.
    pub behaviour: Behaviour,
    /// The messages that it took.
    pub messages: Vec<Bytes>,
    /// All posts, taken or not.
    pub posts: u32,
    /// Whether somebody closed it.
    pub is_closed: bool,
    /// Closings that are still refused with 500.
    failing_closes: u32,
    first_post: Option<Instant>,
}

/// A time in which the whole account is refused.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// It begins with the post after so many.
    pub after: u32,
    /// How long it lasts.
    pub lasts: Duration,
    /// What is answered.
    pub status: u16,
    /// Of all posts, the share that is refused.
    pub share: f64,
}

/// The posts of all sockets together.
#[derive(Debug, Default)]
struct Posts {
    count: u32,
    outage: Option<Outage>,
    began: Option<Instant>,
    last: Option<Instant>,
    longest_pause: Duration,
}

/// The stand-in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Standin {
    sockets: Arc<Mutex<HashMap<String, Used>>>,
    posts: Arc<Mutex<Posts>>,
    /// How long a post is on its way at most, there and back each.
    slowness: Arc<Mutex<Duration>>,
    /// Of posts that are taken, the share that is not answered.
    silence: Arc<Mutex<f64>>,
    /// Of all posts, the share that is refused with 429.
    throttled: Arc<Mutex<f64>>,
    endpoint: String,
}

impl Standin {
    /// Starts it on a port of its own.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/dev", listener.local_addr().unwrap());
        let standin = Self {
            sockets: Arc::default(),
            posts: Arc::default(),
            slowness: Arc::default(),
            silence: Arc::default(),
            throttled: Arc::default(),
            endpoint,
        };
        let router = Router::new().route("/dev/{at}/{id}", post(take).delete(close)).with_state(standin.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        standin
    }

    /// Adds a socket; one that was not added answers 410.
    pub fn add(&self, id: &str, behaviour: Behaviour) {
        let used =
            Used { behaviour, messages: Vec::new(), posts: 0, is_closed: false, failing_closes: 0, first_post: None };
        self.sockets.lock().unwrap().insert(id.to_owned(), used);
    }

    /// Refuses so many closings of a socket with 500.
    ///
    /// # Panics
    /// When there is no such socket.
    pub fn fail_closing(&self, id: &str, times: u32) {
        self.sockets.lock().unwrap().get_mut(id).unwrap().failing_closes = times;
    }

    /// Notes something among the messages of a socket: what its client did then.
    ///
    /// # Panics
    /// When there is no such socket.
    pub fn note(&self, id: &str, what: &serde_json::Value) {
        self.sockets.lock().unwrap().get_mut(id).unwrap().messages.push(Bytes::from(what.to_string()));
    }

    /// Lets each post take up to this long on its way, and its answer as long.
    ///
    /// # Panics
    /// When a thread of the stand-in has panicked.
    pub fn slow_down(&self, most: Duration) {
        *self.slowness.lock().unwrap() = most;
    }

    /// Leaves a share of all posts without an answer, though their messages are taken.
    ///
    /// # Panics
    /// When a thread of the stand-in has panicked.
    pub fn lose_answers(&self, share: f64) {
        *self.silence.lock().unwrap() = share;
    }

    /// Refuses a share of all posts with 429.
    ///
    /// # Panics
    /// When a thread of the stand-in has panicked.
    pub fn throttle(&self, share: f64) {
        *self.throttled.lock().unwrap() = share;
    }

    async fn on_the_way(&self) {
        let most = *self.slowness.lock().unwrap();
        if !most.is_zero() {
            tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
        }
    }

    /// Refuses the whole account for a while.
    pub fn fail(&self, outage: Outage) {
        *self.posts.lock().unwrap() = Posts { outage: Some(outage), ..Posts::default() };
    }

    /// The longest time between two posts since [`fail`](Self::fail).
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.posts.lock().unwrap().longest_pause
    }

    /// What became of a socket.
    #[must_use]
    pub fn used(&self, id: &str) -> Used {
        self.sockets.lock().unwrap()[id].clone()
    }

    /// Where it listens, with its stage.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many messages each socket took that is not gone for ever.
    #[must_use]
    pub fn live_counts(&self) -> Vec<usize> {
        let sockets = self.sockets.lock().unwrap();
        let live = sockets.values().filter(|used| used.behaviour != Behaviour::Gone);
        live.map(|used| used.messages.len()).collect()
    }

    /// How many messages each socket took.
    #[must_use]
    pub fn counts(&self) -> HashMap<String, usize> {
        self.sockets.lock().unwrap().iter().map(|(id, used)| (id.clone(), used.messages.len())).collect()
    }

    /// The stand-in as functions use it that make a call now and then: without retries, and `deadline` for each call.
    #[must_use]
    pub fn client(&self, deadline: Duration) -> Management {
        Management::new(management(&self.endpoint, deadline))
    }

    /// The stand-in as the notifier posts to it, with `deadline` for each post.
    ///
    /// # Panics
    /// Never: its endpoint is a URL.
    #[must_use]
    pub fn sockets(&self, deadline: Duration) -> Sockets {
        let credentials = Credentials::new("local", "local", None, None, "tests");
        let client = http_client_to(&self.endpoint).unwrap();
        Sockets::new(&self.endpoint, "us-east-1", credentials, client, deadline).unwrap()
    }

    fn decide(&self, id: &str, message: &Bytes) -> Option<Response> {
        if let Some(status) = self.posts.lock().unwrap().refusal(Instant::now()) {
            return Some((StatusCode::from_u16(status).unwrap(), r#"{"message":"the account"}"#).into_response());
        }
        let mut sockets = self.sockets.lock().unwrap();
        let Some(used) = sockets.get_mut(id) else { return Some(gone()) };
        if used.is_closed {
            return Some(gone());
        }
        used.posts += 1;
        let first = *used.first_post.get_or_insert_with(Instant::now);
        match used.behaviour {
            Behaviour::Gone => return Some(gone()),
            Behaviour::GoneFor(time) if first.elapsed() < time => return Some(gone()),
            Behaviour::Invalid => {
                let headers = [("x-amzn-ErrorType", "BadRequestException")];
                let body = format!(r#"{{"message":"Invalid connectionId: {id}"}}"#);
                return Some((StatusCode::BAD_REQUEST, headers, body).into_response());
            }
            Behaviour::Answers(status, times) if used.posts <= times => return Some(injected(status)),
            Behaviour::TakesAndAnswers(times, status) if used.posts > times => return Some(injected(status)),
            _ if fastrand::f64() < *self.throttled.lock().unwrap() => return Some(injected(429)),
            Behaviour::HangsOnce if used.posts == 1 => return None,
            Behaviour::Hangs => return None,
            _ => used.messages.push(message.clone()),
        }
        Some(StatusCode::OK.into_response())
    }
}

impl Posts {
    /// Counts a post; the status that refuses it, if one does.
    fn refusal(&mut self, now: Instant) -> Option<u16> {
        let pause = self.last.map_or(Duration::ZERO, |last| now.duration_since(last));
        (self.last, self.longest_pause) = (Some(now), self.longest_pause.max(pause));
        self.count += 1;
        let outage = self.outage.filter(|outage| self.count > outage.after)?;
        let began = *self.began.get_or_insert(now);
        (now.duration_since(began) < outage.lasts && fastrand::f64() < outage.share).then_some(outage.status)
    }
}

/// A client of the management API at `endpoint`: without retries, and `deadline` for each call.
#[must_use]
pub fn management(endpoint: &str, deadline: Duration) -> aws_sdk_apigatewaymanagement::Client {
    let config = aws_sdk_apigatewaymanagement::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .timeout_config(TimeoutConfig::builder().operation_timeout(deadline).build())
        .retry_config(RetryConfig::disabled())
        .http_client(crate::engine::http());
    aws_sdk_apigatewaymanagement::Client::from_conf(config.build())
}

fn injected(status: u16) -> Response {
    (StatusCode::from_u16(status).unwrap(), r#"{"message":"injected"}"#).into_response()
}

fn gone() -> Response {
    (StatusCode::GONE, [("x-amzn-ErrorType", "GoneException")]).into_response()
}

async fn close(State(standin): State<Standin>, Path((_, id)): Path<(String, String)>) -> Response {
    match standin.sockets.lock().unwrap().get_mut(&id) {
        Some(used) if used.failing_closes > 0 => {
            used.failing_closes -= 1;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(used) if !used.is_closed => {
            used.is_closed = true;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => gone(),
    }
}

async fn take(State(standin): State<Standin>, Path((_, id)): Path<(String, String)>, message: Bytes) -> Response {
    standin.on_the_way().await;
    match standin.decide(&id, &message) {
        Some(response) => {
            let is_lost = fastrand::f64() < *standin.silence.lock().unwrap();
            match is_lost {
                true => std::future::pending().await,
                false => standin.on_the_way().await,
            }
            response
        }
        None => std::future::pending().await,
    }
}
