//! Setting up a client.

use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::client::Client;
use crate::driver::Driver;
use crate::error::BuildError;
use crate::event::{Events, events};
use crate::handshake;
use crate::options::{Fetching, Options, TokenPlace, TokenSource};
use crate::position::{Log, Positions};

/// A client that is about to be made. [`Client::builder`] gives one.
#[derive(Debug)]
#[must_use = "it connects with `connect`"]
pub struct Builder {
    options: Options,
    logs: Vec<Log>,
    positions: Positions,
}

impl Client {
    /// Sets up a client for a WebSocket URL with its stage, such as `wss://abc.execute-api.eu-west-1.amazonaws.com/prod`.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder { options: Options::new(url.into()), logs: Vec::new(), positions: Positions::default() }
    }
}

impl Builder {
    /// Subscribes to a topic, as soon as there is a connection and again with each one that follows.
    pub fn topic(self, name: impl Into<String>) -> Self {
        self.log(Log::topic(name))
    }

    /// Follows the log of the connection's own user, so that what is sent to the user is recovered too. Without this such messages
    /// come only while there is a connection. A stack that keeps no log of users may refuse it: [`Event::Refused`](crate::Event).
    pub fn user_log(self) -> Self {
        self.log(Log::User)
    }

    /// Subscribes to a log.
    pub fn log(mut self, log: Log) -> Self {
        if !self.logs.contains(&log) {
            self.logs.push(log);
        }
        self
    }

    /// Where an earlier client stood, from [`Events::positions`]: of the logs that are subscribed to here, what came since is
    /// recovered.
    pub fn positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Shows this token. It has to be good for as long as the client lives: each connection shows it again.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.token = TokenSource::Fixed(token.into());
        self
    }

    /// Gets a token before each connection. A failure is told with [`Event::Disconnected`](crate::Event), and tried again.
    pub fn token_with<F, T, E>(mut self, fetch: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let fetch = move || -> Fetching {
            let fetching = fetch();
            Box::pin(async move { fetching.await.map_err(Into::into) })
        };
        self.options.token = TokenSource::Fetched(Box::new(fetch));
        self
    }

    /// Shows the token as `access_token` in the URL, instead of in the header `Authorization`. URLs are written to logs.
    pub fn token_in_query(mut self) -> Self {
        self.options.token_place = TokenPlace::Query;
        self
    }

    /// A header of the handshake.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// A parameter in the URL, as `user` where clients may name themselves.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.query.push((name.into(), value.into()));
        self
    }

    /// Lets the server also tell who comes to the topics and who leaves them, where presence of them is kept and the client
    /// has the permission; else they are refused. It comes as [`Event::Other`](crate::Event::Other), in frames of the type `presence`.
    pub fn presence(mut self) -> Self {
        self.options.presence = true;
        self
    }

    /// Sends a ping when nothing has come for so long; by default 300 s. API Gateway closes a connection that is silent for 600 s,
    /// and each ping and its answer are billed.
    pub fn ping_after(mut self, silence: Duration) -> Self {
        self.options.keep_alive.ping_after = silence;
        self
    }

    /// Gives a connection up on which nothing comes for so long after a ping, or to which nothing can be written for so long; by
    /// default 10 s.
    pub fn pong_within(mut self, patience: Duration) -> Self {
        self.options.keep_alive.pong_within = patience;
        self
    }

    /// How long a handshake may take, with the fetching of its token; by default 30 s.
    pub fn connect_within(mut self, patience: Duration) -> Self {
        self.options.connect_within = patience;
        self
    }

    /// How long a command waits for its answer, and for a connection where there is none; by default 30 s.
    pub fn call_within(mut self, patience: Duration) -> Self {
        self.options.call_within = patience;
        self
    }

    /// The upper bounds of the first pause between attempts, by default 0.5 s, and of all, by default 30 s. The bound doubles
    /// with each attempt, and the pause is anything between nothing and the bound.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.backoff.first = first;
        self.options.backoff.longest = longest;
        self
    }

    /// The age at which a connection is replaced by a new one, without a gap: a random moment in this range, by default between
    /// 1 h 45 min and 1 h 55 min. API Gateway closes every connection after 2 hours.
    pub fn renew_at(mut self, age: Range<Duration>) -> Self {
        self.options.renew_at = age;
        self
    }

    /// Begins to connect. How that goes is told by the events.
    ///
    /// # Errors
    /// When the URL, a header or the token cannot be sent; nothing was tried then.
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    pub fn connect(self) -> Result<(Client, Events), BuildError> {
        let Self { options, logs, positions } = self;
        let fixed = if let TokenSource::Fixed(token) = &options.token { Some(token.as_str()) } else { None };
        handshake::request(&options, fixed)?;
        let logs = logs.into_iter().map(|log| (log.clone(), positions.get(&log).cloned())).collect();
        let (sender, events) = events(positions);
        let (commands, received) = mpsc::unbounded_channel();
        let client = Client::new(commands, options.call_within);
        tokio::spawn(Driver::new(options, logs, sender, received).run());
        Ok((client, events))
    }
}
