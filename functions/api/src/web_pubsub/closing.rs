//! Whether somebody is there, and sending them away.

use tidings::ConnectionId;
use tidings::protocol::centrifuge::{Disconnect, disconnect};
use tidings::protocol::{Protocol, web_pubsub};
use tidings::registry::{Audience, Connection};

use super::Call;
use super::failure::Failure;
use super::operation::Whose;
use super::parameters::Parameters;
use super::recipients::{Choice, now};
use crate::connections::close_one;
use crate::problem::Problem;
use crate::response::Response;

/// Connections of a page, where one is enough.
const FIRST_LOOK: u16 = 1;
/// Why a connection is closed, where nobody says.
const CLOSED: &str = "Closed by REST API.";

impl Call<'_> {
    /// Whether there is such a connection, a connection of the user, or a member of the group. Read consistently: who has just
    /// joined is there.
    pub(super) async fn exists(&self, whose: &Whose) -> Result<Response, Failure> {
        let is_there = match (whose, self.audience(whose)) {
            (Whose::Connection(Some(id)), _) => self.connection(id).await?.is_some(),
            (_, Some(audience)) => self.has_somebody(audience).await?,
            (_, None) => false,
        };
        if is_there { Ok(Response::empty(200)) } else { Err(Failure::ABSENT) }
    }

    async fn has_somebody(&self, audience: Audience<'_>) -> Result<bool, Failure> {
        let mut after = None;
        loop {
            let page = self.deps.registry.page(audience, after.as_ref(), FIRST_LOOK, now()).await?;
            match page.next {
                _ if !page.connections.is_empty() => return Ok(true),
                None => return Ok(false),
                next => after = next,
            }
        }
    }

    /// A connection that is there. One of Web PubSub's is only in its own hub.
    pub(super) async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, Failure> {
        let connection = self.deps.registry.connection(id).await?;
        let is_here = |connection: &Connection| {
            let known = connection.web_pubsub.as_ref();
            known.is_none_or(|known| known.client.hub == self.hub) && !connection.is_expired(now())
        };
        Ok(connection.filter(is_here))
    }

    /// Closes those who are meant, and tells them why where their protocol has words for it. Answers 204, whether somebody was
    /// there or not.
    pub(super) async fn close(&self, whose: &Whose, parameters: &mut Parameters) -> Result<Response, Failure> {
        let reason = parameters.take("reason")?.unwrap_or_else(|| CLOSED.to_owned());
        match (whose, self.audience(whose)) {
            (Whose::Connection(Some(id)), _) => self.close_one(id, &reason).await?,
            (_, Some(audience)) => {
                let choice = Choice::without(parameters);
                self.each(audience, &choice, async |id| self.close_one(&id, &reason).await).await?;
            }
            (_, None) => {}
        }
        Ok(Response::empty(204))
    }

    async fn close_one(&self, id: &ConnectionId, reason: &str) -> Result<(), Failure> {
        let Some(connection) = self.connection(id).await? else { return Ok(()) };
        if let Some(farewell) = farewell(connection.protocol, reason)
            && let Err(error) = self.deps.sockets.send(&connection.socket, farewell).await
        {
            tracing::info!(connection.id = %id, %error, "could not say why it is closed");
        }
        match close_one(self.deps, id).await {
            Ok(()) | Err(Problem::NoSuchConnection) => Ok(()),
            // It is in its handshake: it can be closed in a moment.
            Err(Problem::StillOpening) => Err(Failure::TOO_MANY_CONNECTIONS),
            Err(_) => Err(Failure::INTERNAL),
        }
    }
}

/// What a client is told before it is sent away.
fn farewell(protocol: Protocol, reason: &str) -> Option<String> {
    match protocol {
        Protocol::Centrifuge => Some(disconnect(Disconnect::FORCE_NO_RECONNECT)),
        protocol if protocol.has_system_frames() => Some(web_pubsub::disconnected(reason)),
        _ => None,
    }
}
