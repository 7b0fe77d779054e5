//! The server API of Centrifugo, `POST /api/<method>`: for backends that use its libraries.
//!
//! Its callers show a key, which this function looks at itself: no authorizer of API Gateway's stands before its route.
//! `request` reads what is asked for, `reply` writes what is answered; both are pure. What a stack does not have is refused
//! with the error by which Centrifugo says that something is not available.

mod channels;
mod publishing;
mod reply;
mod request;
mod users;

use futures_util::{StreamExt, stream};
use tidings::Topic;
use tidings::metrics::Recorder;
use tidings_authorizer::ServerKey;

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;
use reply::{Error, InBatch, Outcome};
use request::{Arguments, Method, Named};

/// The key of its route in API Gateway.
pub(crate) const ROUTE: &str = "POST /api/{method}";
/// Commands of a batch, and channels of a broadcast.
const MOST: usize = 1_000;
/// What is done side by side.
const SIDE_BY_SIDE: usize = 32;

/// A call, or a command of a batch.
struct Call<'a> {
    deps: &'a Deps,
    event: &'a Event,
    /// Which command of a batch it is.
    place: usize,
}

/// Answers one call.
pub(crate) async fn answer(deps: &Deps, event: &Event, recorder: &Recorder) -> Result<Response, Problem> {
    let Some(key) = &deps.server_key else { return Err(Problem::NoSuchPath) };
    if !is_admitted(key, event, recorder).await? {
        return Ok(Response::empty(401));
    }
    let name = event.variable("method").unwrap_or_default();
    let Some(method) = Method::of(name) else { return Ok(reply::plain(404, "404 page not found")) };
    let arguments = event.text().and_then(|body| match Arguments::read(&body) {
        Ok(arguments) => Some(arguments),
        Err(error) => {
            tracing::info!(%error, "a body of the server API is none");
            None
        }
    });
    let Some(arguments) = arguments else { return Ok(reply::plain(400, "Bad Request")) };
    let call = Call { deps, event, place: 0 };
    if method == Method::Batch {
        return Ok(call.batch(&arguments).await);
    }
    let in_statuses = event.header("x-centrifugo-error-mode") == Some("transport");
    Ok(reply::response(call.run(method, &arguments).await, in_statuses))
}

/// Whether the caller shows the key: in a header of its own, else as what authorizes it. Not in the address, which is logged.
async fn is_admitted(key: &ServerKey, event: &Event, recorder: &Recorder) -> Result<bool, Problem> {
    let Some(given) = shown(event.header("x-api-key"), event.header("authorization")) else { return Ok(false) };
    key.admits(given, recorder).await.map_err(|error| Problem::internal(&error))
}

fn shown<'a>(own: Option<&'a str>, authorization: Option<&'a str>) -> Option<&'a str> {
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return Some(own);
    }
    let mut words = authorization?.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), Some(key), None) if scheme.eq_ignore_ascii_case("apikey") => Some(key),
        _ => None,
    }
}

/// The topic of a channel.
fn topic(channel: &str) -> Result<Topic, Error> {
    Topic::parse(channel).map_err(|error| Error::BAD_REQUEST.because(error))
}

impl Call<'_> {
    async fn run(&self, method: Method, arguments: &Arguments) -> Result<Outcome, Error> {
        if let Some(name) = arguments.unserved(method) {
            return Err(Error::NOT_AVAILABLE.because(format!("`{name}` is not served here")));
        }
        match method {
            Method::Publish => self.publish(arguments).await,
            Method::Broadcast => self.broadcast(arguments).await,
            Method::Subscribe => self.subscribe(arguments).await,
            Method::Unsubscribe => self.unsubscribe(arguments).await,
            Method::Disconnect => self.disconnect(arguments).await,
            Method::Refresh => self.refresh(arguments).await,
            Method::History => self.history(arguments).await,
            Method::HistoryRemove => self.history_remove(arguments).await,
            Method::Presence => self.presence(arguments).await,
            Method::PresenceStats => self.presence_stats(arguments).await,
            Method::Channels => self.channels(arguments).await,
            Method::Info => self.info().await,
            Method::Rpc if arguments.method.is_empty() => Err(Error::BAD_REQUEST),
            // A batch has none in it, and nobody extends the API by methods of its own.
            Method::Rpc | Method::Batch => Err(Error::NOT_FOUND),
        }
    }

    /// Carries out commands, one after the other unless the caller wants them side by side.
    async fn batch(&self, arguments: &Arguments) -> Response {
        let commands = &arguments.commands;
        if commands.len() > MOST {
            return reply::plain(400, "Bad Request");
        }
        let at_once = if arguments.parallel { SIDE_BY_SIDE } else { 1 };
        let replies = commands.iter().enumerate().map(|(place, named)| {
            let call = Call { place, ..*self };
            async move { call.in_batch(named.as_ref()).await }
        });
        let replies: Vec<_> = stream::iter(replies).buffered(at_once).collect().await;
        reply::batch(&replies)
    }

    async fn in_batch(&self, named: Option<&Named>) -> InBatch {
        let Some(named) = named else { return reply::in_batch("", Err(Error::BAD_REQUEST)) };
        let Some((method, given)) = request::command(named) else { return reply::in_batch("", Err(Error::NOT_FOUND)) };
        let done = match Arguments::read(given.get()) {
            Ok(arguments) => self.run(method, &arguments).await,
            Err(error) => Err(Error::BAD_REQUEST.because(error)),
        };
        reply::in_batch(method.name(), done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_in_a_header_of_its_own_or_as_what_authorizes() {
        assert_eq!(shown(Some("k"), Some("apikey other")), Some("k"));
        assert_eq!(shown(Some(""), Some("apikey k")), Some("k"));
        assert_eq!(shown(None, Some(" ApiKey  k ")), Some("k"));
        for other in ["", "k", "apikey", "Bearer k", "apikey k k"] {
            assert_eq!(shown(None, Some(other)), None, "{other:?}");
        }
        assert_eq!(shown(None, None), None);
    }
}
