//! What is done to a user's connections: `subscribe`, `unsubscribe`, `disconnect` and `refresh`.
//!
//! It is done to the connections that there are now, as Centrifugo does it. What is to hold for those to come too is a
//! durable topic, see the REST API.

use futures_util::{StreamExt, TryStreamExt, stream};
use tidings::clock::Clock;
use tidings::protocol::Protocol;
use tidings::protocol::centrifuge::{
    Disconnect, Refreshed, Subscribed, disconnect, disconnect_with, refreshed, subscribed, unsubscribed,
};
use tidings::registry::{Audience, Connection, RegistryError, Session};
use tidings::{ConnectionId, Topic, UserId};

use super::reply::{Error, Outcome};
use super::request::{Arguments, Farewell};
use super::{Call, SIDE_BY_SIDE};
use crate::connections;

/// Connections of one page.
const PAGE: u16 = 100;
/// What a client is told whose subscription a server has ended: it stays away from it.
const SERVER_UNSUBSCRIBE: (u32, &str) = (2_000, "server unsubscribe");

impl Call<'_> {
    pub(super) async fn subscribe(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let topic = super::topic(&arguments.channel)?;
        let data = match (&arguments.data, arguments.b64data.as_str()) {
            (None, "") => None,
            _ => Some(arguments.said().ok_or_else(|| Error::BAD_REQUEST.because("give JSON in `b64data`"))?),
        };
        let push = subscribed(topic.as_str(), &Subscribed { data, ..Subscribed::default() });
        let subscribe = async |connection: Connection| {
            if connection.topics.contains(&topic) {
                return Ok(());
            }
            // First: the libraries drop messages of channels that they do not know of.
            self.tell(&connection, &push).await;
            not_gone(self.deps.registry.subscribe(&connection.id, std::slice::from_ref(&topic)).await)
        };
        self.each(arguments, subscribe).await
    }

    pub(super) async fn unsubscribe(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let only = match arguments.channel.as_str() {
            "" => None,
            channel => Some(super::topic(channel)?),
        };
        let unsubscribe = async |connection: Connection| {
            let is_meant = |topic: &&Topic| !topic.is_watching() && only.as_ref().is_none_or(|only| only == *topic);
            let topics: Vec<_> = connection.topics.iter().filter(is_meant).cloned().collect();
            if topics.is_empty() {
                return Ok(());
            }
            not_gone(self.deps.registry.unsubscribe(&connection.id, &topics).await)?;
            for topic in &topics {
                let (code, reason) = SERVER_UNSUBSCRIBE;
                self.tell(&connection, &unsubscribed(topic.as_str(), code, reason)).await;
            }
            Ok(())
        };
        self.each(arguments, unsubscribe).await
    }

    pub(super) async fn disconnect(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let farewell = match &arguments.disconnect {
            Some(Farewell { code, reason }) if *code != 0 => disconnect_with(*code, reason),
            _ => disconnect(Disconnect::FORCE_NO_RECONNECT),
        };
        let close = async |connection: Connection| match arguments
            .whitelist
            .iter()
            .any(|kept| kept == connection.id.as_str())
        {
            true => Ok(()),
            false => self.close(&connection, &farewell).await,
        };
        self.each(arguments, close).await
    }

    pub(super) async fn refresh(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let now = Clock::System.milliseconds() / 1_000;
        let ends = Some(arguments.expire_at).filter(|end| *end != 0);
        let is_over = arguments.expired || ends.is_some_and(|end| end <= now);
        let refresh = async |connection: Connection| {
            let Some(session) = connection.session.clone() else { return Ok(()) };
            if is_over {
                return self.close(&connection, &disconnect(Disconnect::EXPIRED)).await;
            }
            let renewed =
                self.deps.registry.renew_session(&connection.id, &Session { expires_at: ends, ..session }).await;
            if renewed.map_err(|error| Error::internal(&error))? {
                let ttl = ends.and_then(|end| u64::try_from(end - now).ok()).unwrap_or_default();
                let told = Refreshed { client: connection.id.to_string(), expires: ends.is_some(), ttl };
                self.tell(&connection, &refreshed(&told)).await;
            }
            Ok(())
        };
        self.each(arguments, refresh).await
    }

    /// Does something to each connection that is meant: all of a user's, or one of them.
    async fn each(
        &self,
        arguments: &Arguments,
        act: impl AsyncFn(Connection) -> Result<(), Error>,
    ) -> Result<Outcome, Error> {
        let Arguments { user, client, .. } = arguments;
        if !client.is_empty() {
            let id = ConnectionId::parse(client.as_str()).map_err(|error| Error::BAD_REQUEST.because(error))?;
            self.act_on(user, &[id], &act).await?;
            return Ok(Outcome::Done {});
        }
        let named = UserId::parse(user.as_str())
            .map_err(|error| Error::BAD_REQUEST.because(format!("give a `user`, or the `client` of one: {error}")))?;
        let mut after = None;
        loop {
            let now = Clock::System.milliseconds();
            let page = self.deps.registry.page(Audience::User(&named), after.as_ref(), PAGE, now).await;
            let page = page.map_err(|error| Error::internal(&error))?;
            let ids: Vec<_> = page.connections.into_iter().map(|connection| connection.id).collect();
            self.act_on(user, &ids, &act).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Outcome::Done {}),
            }
        }
    }

    /// Those of these connections that are the user's; an empty name is that of who has none.
    async fn act_on(
        &self,
        user: &str,
        ids: &[ConnectionId],
        act: &impl AsyncFn(Connection) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let connections = self.deps.registry.connections(ids).await.map_err(|error| Error::internal(&error))?;
        let is_users = |connection: &Connection| connection.user.as_ref().map_or("", UserId::as_str) == user;
        let acts = connections.into_iter().filter(is_users).map(|connection| act(connection));
        stream::iter(acts).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    /// Tells a client of Centrifugo's something; others would not understand it. One that cannot be told is gone, or will be.
    async fn tell(&self, connection: &Connection, push: &str) {
        if connection.protocol == Protocol::Centrifuge
            && let Err(error) = self.deps.sockets.send(&connection.socket, push.to_owned()).await
        {
            tracing::info!(connection.id = %connection.id, %error, "could not tell a client");
        }
    }

    async fn close(&self, connection: &Connection, farewell: &str) -> Result<(), Error> {
        self.tell(connection, farewell).await;
        match connections::close_one(self.deps, &connection.id).await {
            Ok(()) | Err(crate::problem::Problem::NoSuchConnection) => Ok(()),
            Err(problem) => Err(Error::INTERNAL.because(problem.detail())),
        }
    }
}

/// One that is gone by now has what it should.
fn not_gone(done: Result<(), RegistryError>) -> Result<(), Error> {
    match done {
        Ok(()) | Err(RegistryError::NotConnected) => Ok(()),
        Err(error @ (RegistryError::TooManyTopics { .. } | RegistryError::TopicsTooLong { .. })) => {
            Err(Error::NOT_AVAILABLE.because(error))
        }
        Err(error) => Err(Error::internal(&error)),
    }
}
