//! How a client connects and behaves.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use crate::retry::Backoff;

/// A token on its way.
pub(crate) type Fetching = Pin<Box<dyn Future<Output = Result<String, Box<dyn Error + Send + Sync>>> + Send>>;

/// Where tokens come from.
pub(crate) enum TokenSource {
    None,
    Fixed(String),
    Fetched(Box<dyn Fn() -> Fetching + Send + Sync>),
}

impl TokenSource {
    /// Whether the next one is the same.
    pub(crate) fn is_fixed(&self) -> bool {
        !matches!(self, Self::Fetched(_))
    }
}

impl fmt::Debug for TokenSource {
    /// Never shows a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Fixed(_) => "fixed",
            Self::Fetched(_) => "fetched",
        })
    }
}

/// Where the server looks for the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenPlace {
    Header,
    Query,
}

/// What [`crate::Builder`] sets.
pub(crate) struct Options {
    pub(crate) url: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    /// Whether it is to be told who comes to the topics and leaves them.
    pub(crate) presence: bool,
    pub(crate) token: TokenSource,
    pub(crate) token_place: TokenPlace,
    /// How long a handshake may take, with the fetching of its token.
    pub(crate) connect_within: Duration,
    /// How long a call waits for its answer.
    pub(crate) call_within: Duration,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) backoff: Backoff,
    /// The age at which a connection is replaced.
    pub(crate) renew_at: Range<Duration>,
}

/// When a silent connection is looked after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepAlive {
    /// After so long without a frame a ping is sent.
    pub(crate) ping_after: Duration,
    /// If nothing comes for so long after it, the connection is dead.
    pub(crate) pong_within: Duration,
}

impl Options {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            query: Vec::new(),
            headers: Vec::new(),
            presence: false,
            token: TokenSource::None,
            token_place: TokenPlace::Header,
            // API Gateway waits 29 s for its functions.
            connect_within: Duration::from_secs(30),
            call_within: Duration::from_secs(30),
            // API Gateway closes a connection without traffic after 10 minutes.
            keep_alive: KeepAlive { ping_after: Duration::from_secs(300), pong_within: Duration::from_secs(10) },
            backoff: Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) },
            // API Gateway closes every connection after 2 hours.
            renew_at: Duration::from_secs(105 * 60)..Duration::from_secs(115 * 60),
        }
    }
}

impl fmt::Debug for Options {
    /// Without what may be a secret: headers' values, and the query.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        let options = &mut formatter.debug_struct("Options");
        options.field("url", &url).field("headers", &headers).field("token", &self.token);
        options.field("keep_alive", &self.keep_alive).field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_secret_is_shown() {
        let mut options = Options::new("wss://example.org/prod?key=hidden".to_owned());
        options.headers.push(("x-api-key".to_owned(), "hidden".to_owned()));
        options.query.push(("code".to_owned(), "hidden".to_owned()));
        options.token = TokenSource::Fixed("hidden".to_owned());
        let shown = format!("{options:?}");
        assert!(shown.contains("x-api-key") && !shown.contains("hidden"), "{shown}");
    }
}
