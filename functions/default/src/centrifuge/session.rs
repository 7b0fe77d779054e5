//! Who a client is: `connect` and `refresh`.

use std::time::Duration;

use serde_json::Value;
use tidings::Topic;
use tidings::permissions::Permissions;
use tidings::protocol::centrifuge::{Answer, Code, Connect, Connected, Disconnect, Refreshed};
use tidings::registry::{Connection, RegistryError, Session};
use tidings_authorizer::{TokenProblem, Verified};
use tokio::time::{Instant, sleep};

use super::permitted::Permitted;
use super::{Going, Identified, Step};
use crate::commands::Commands;
use crate::frame::Frame;

/// How long what comes before `connect` is carried out waits for it.
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(100);
/// A token that is over by so much ends its connection, in seconds: the libraries fetch a new one in time.
const GRACE_SECONDS: i64 = 25;
/// What the server calls itself.
const VERSION: &str = concat!("tidings ", env!("CARGO_PKG_VERSION"));

/// A connection whose client has said who it is.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// What a `connect` is answered with.
    pub(super) connected: Option<Opening>,
}

/// A `connect` that was carried out.
pub(super) struct Opening {
    pub(super) reply: Connected,
    /// What its token and its user's durable topics subscribe it to.
    channels: Vec<Topic>,
    /// Where it says that it is in them.
    at: std::collections::BTreeMap<String, tidings::protocol::centrifuge::Subscribe>,
}

/// The permissions that a client's own frame gave it.
pub(super) fn permissions(connection: &Connection) -> Permissions {
    let said = connection.session.as_ref().map(|session| session.permissions.as_str());
    // Written by us from permissions that were parsed.
    said.and_then(|text| Permissions::parse(text).ok()).unwrap_or_default()
}

/// The frame as of who the client says it is.
pub(super) fn as_said(frame: &Frame, connection: &Connection, permissions: &Permissions) -> Frame {
    let mut frame = frame.clone();
    (frame.caller.user, frame.caller.permissions) = (connection.user.clone(), permissions.clone());
    frame
}

/// What others are to be told of a failure of ours.
pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Code {
    tracing::error!(error = tidings::describe(error), "a command failed");
    Code::INTERNAL
}

fn ttl(expires_at: Option<i64>, now_ms: i64) -> u64 {
    expires_at.map_or(0, |end| u64::try_from(end - now_ms / 1_000).unwrap_or_default().max(1))
}

impl<S: 'static> Commands<S> {
    /// The connection as its client has said who it is. What comes before that is stored waits for it.
    pub(super) async fn known(&self, frame: &Frame) -> Result<Result<Opened, Code>, Disconnect> {
        let end = Instant::now() + PATIENCE;
        loop {
            let connection = match self.services.registry.connection(&frame.caller.connection).await {
                Ok(Some(connection)) => connection,
                Ok(None) => return Err(Disconnect::FORCE_RECONNECT),
                Err(error) => return Ok(Err(internal(&error))),
            };
            if let Some(session) = &connection.session {
                let now = self.services.clock.milliseconds() / 1_000;
                let is_over = session.expires_at.is_some_and(|end| end + GRACE_SECONDS < now);
                let refreshes = frame.text.contains("\"refresh\"");
                return match is_over && !refreshes {
                    true => Err(Disconnect::EXPIRED),
                    false => Ok(Ok(Opened { connection, connected: None })),
                };
            }
            if Instant::now() >= end {
                return Ok(Err(Code::INTERNAL));
            }
            sleep(PAUSE).await;
        }
    }

    /// Carries out `connect`.
    pub(super) async fn connect(&self, frame: &Frame, asked: &Connect) -> Result<Result<Opened, Code>, Disconnect> {
        let services = &self.services;
        let verified = match self.verify(frame, &asked.token).await {
            Ok(verified) => verified,
            Err(problem) => return told(problem),
        };
        let registry = &services.registry;
        let mut connection = match registry.connection(&frame.caller.connection).await {
            Ok(Some(connection)) if connection.session.is_none() => connection,
            Ok(Some(_)) => return Err(Disconnect::BAD_REQUEST),
            Ok(None) => return Err(Disconnect::FORCE_RECONNECT),
            Err(error) => return Ok(Err(internal(&error))),
        };
        connection.user = verified.user.clone();
        connection.session = Some(session(&verified));
        match registry.identify(&connection).await {
            Ok(true) => {}
            Ok(false) => return Err(Disconnect::FORCE_RECONNECT),
            Err(error) => return Ok(Err(internal(&error))),
        }
        let channels = match self.channels(&verified).await {
            Ok(channels) => channels,
            Err(error) => return Ok(Err(internal(&error))),
        };
        tracing::info!(connection.id = %connection.id, client = asked.name, "connected");
        self.tell(&connection).await;
        let expires_at = verified.expires_at;
        let reply = Connected {
            client: connection.id.to_string(),
            version: VERSION,
            expires: expires_at.is_some(),
            ttl: ttl(expires_at, services.clock.milliseconds()),
            ping: services.ping,
            ..Connected::default()
        };
        let connected = Opening { reply, channels, at: asked.subs.clone() };
        Ok(Ok(Opened { connection, connected: Some(connected) }))
    }

    /// Has the bus told, if there is one. The client is let in even if that fails: who is connected is what the registry says.
    async fn tell(&self, connection: &Connection) {
        if !self.services.tells_backend {
            return;
        }
        let message = tidings::events::Identified::of(connection).to_message();
        if let Err(error) =
            self.services.notifications.send(vec![message], connection.id.as_str(), Duration::ZERO).await
        {
            let error = tidings::describe(&error);
            tracing::error!(connection.id = %connection.id, error, "nobody is told that it connected");
        }
    }

    /// Who the client is by its token, or by what the authorizer found in the address.
    async fn verify(&self, frame: &Frame, token: &str) -> Result<Verified, TokenProblem> {
        let caller = &frame.caller;
        if token.is_empty() && caller.user.is_some() {
            let mut verified = Verified::default();
            (verified.user, verified.permissions) = (caller.user.clone(), caller.permissions.clone());
            return Ok(verified);
        }
        let Some(tokens) = &self.services.tokens else { return Err(TokenProblem::Missing) };
        let verified = tokens.verify(token).await?;
        match verified.claims.contains_key("channel") {
            true => Err(TokenProblem::Invalid("it is one of a subscription".to_owned())),
            false => Ok(verified),
        }
    }

    /// What a client is subscribed to without asking: by its token, and by its user's durable topics.
    async fn channels(&self, verified: &Verified) -> Result<Vec<Topic>, RegistryError> {
        let own = verified.claims.get("channels").and_then(Value::as_array).into_iter().flatten();
        let subs = verified.claims.get("subs").and_then(Value::as_object).into_iter().flat_map(|subs| subs.keys());
        let names = own.filter_map(Value::as_str).chain(subs.map(String::as_str));
        let mut channels: Vec<_> = names.filter_map(|name| Topic::parse(name).ok()).collect();
        if let Some(user) = &verified.user {
            channels.extend(self.services.registry.durable_topics(user).await?);
        }
        channels.sort_unstable();
        channels.dedup();
        Ok(channels)
    }
}

fn session(verified: &Verified) -> Session {
    Session {
        permissions: verified.permissions.to_string(),
        expires_at: verified.expires_at,
        info: verified.claims.get("info").map(Value::to_string),
    }
}

/// What a client is told whose token is not taken.
fn told<T>(problem: TokenProblem) -> Result<Result<T, Code>, Disconnect> {
    tracing::info!(reason = %problem, "a token is not taken");
    match problem {
        TokenProblem::Expired => Ok(Err(Code::TOKEN_EXPIRED)),
        TokenProblem::Missing => Err(Disconnect::BAD_REQUEST),
        TokenProblem::Failed(error) => Ok(Err(internal(&error))),
        _ => Err(Disconnect::INVALID_TOKEN),
    }
}

impl<'a, S: 'static> Identified<'a, S> {
    /// Subscribes a new client to what it is subscribed to without asking, and adds that to its reply.
    pub(super) async fn server_subscriptions(
        &self,
        id: u32,
        opening: &mut Opening,
    ) -> Result<Vec<Going<'a>>, Disconnect> {
        let mut going = Vec::new();
        let asked = std::mem::take(&mut opening.channels).into_iter().map(|topic| {
            let asked = opening.at.get(topic.as_str()).cloned().unwrap_or_default();
            Permitted::new(topic, asked)
        });
        let mut all: Vec<_> = asked.collect();
        self.note(all.iter_mut()).await;
        for permitted in all {
            let step = self.subscribe_permitted(&permitted, super::place(id)).await;
            let subscribed = match step {
                Step::Live(Answer::Subscribe(subscribed), on_its_way) => {
                    going.push(*on_its_way);
                    subscribed
                }
                Step::Answer(Answer::Subscribe(subscribed)) => subscribed,
                Step::End(why) => return Err(why),
                _ => return Err(Disconnect::INSUFFICIENT_STATE),
            };
            opening.reply.subs.insert(permitted.topic.to_string(), subscribed);
        }
        Ok(going)
    }

    /// Takes a new token of the connection, for the same user.
    pub(super) async fn refresh(&self, token: &str) -> Step<'a> {
        if token.is_empty() {
            return Step::End(Disconnect::BAD_REQUEST);
        }
        let verified = match self.commands.verify(self.frame, token).await {
            Ok(verified) => verified,
            // The library comes again, with another one.
            Err(TokenProblem::Expired) => return Step::End(Disconnect::EXPIRED),
            Err(problem) => return step(told::<()>(problem)),
        };
        if verified.user != self.connection.user {
            return Step::End(Disconnect::INVALID_TOKEN);
        }
        match self.services().registry.renew_session(&self.connection.id, &session(&verified)).await {
            Ok(true) => Step::Answer(Answer::Refresh(Refreshed {
                client: self.connection.id.to_string(),
                expires: verified.expires_at.is_some(),
                ttl: ttl(verified.expires_at, self.services().clock.milliseconds()),
            })),
            Ok(false) => Step::End(Disconnect::FORCE_RECONNECT),
            Err(error) => Step::Answer(internal(&error).into()),
        }
    }

    /// Takes a new token of a subscription.
    pub(super) async fn refresh_subscription(&self, channel: &str, token: &str) -> Step<'a> {
        match self.permitted_by(channel, token).await {
            Ok(expires_at) => Step::Answer(Answer::SubRefresh(Refreshed {
                client: String::new(),
                expires: expires_at.is_some(),
                ttl: ttl(expires_at, self.services().clock.milliseconds()),
            })),
            Err(step) => step,
        }
    }

    /// When a subscription ends that a token permits; what the client is told where it does not permit it.
    pub(super) async fn permitted_by(&self, channel: &str, token: &str) -> Result<Option<i64>, Step<'a>> {
        let Some(tokens) = &self.services().tokens else { return Err(Step::Answer(Code::PERMISSION_DENIED.into())) };
        let denied = || Step::Answer(Code::PERMISSION_DENIED.into());
        let verified = tokens.verify(token).await.map_err(|problem| match problem {
            TokenProblem::Invalid(_) => denied(),
            problem => step(told::<()>(problem)),
        })?;
        match verified.claims.get("channel").and_then(Value::as_str) {
            None => Err(denied()),
            Some(meant) if meant == channel && verified.user == self.connection.user => Ok(verified.expires_at),
            // A good token in the wrong place: something is wrong with the whole client.
            Some(_) => Err(Step::End(Disconnect::INVALID_TOKEN)),
        }
    }

    /// For how long a subscription lasts whose token ends then, in seconds.
    pub(super) fn ttl(&self, expires_at: Option<i64>) -> u64 {
        ttl(expires_at, self.services().clock.milliseconds())
    }
}

fn step<'a>(told: Result<Result<(), Code>, Disconnect>) -> Step<'a> {
    match told {
        Ok(Ok(())) => Step::Silence,
        Ok(Err(code)) => Step::Answer(code.into()),
        Err(end) => Step::End(end),
    }
}
