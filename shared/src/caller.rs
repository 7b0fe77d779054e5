//! Who is on the other end of a connection.

use serde_json::{Map, Value};

use crate::ids::{ConnectionId, InvalidId, Socket, UserId};
use crate::notification::scope;
use crate::permissions::{
    CLAIMS, InvalidPermission, PERMISSIONS, PROTOCOL, Permissions, RECONNECTION, RECOVERED, USER, WEB_PUBSUB,
};
use crate::protocol::Protocol;
use crate::trigger::Trigger;
use crate::web_pubsub::Client;

/// What an application's authorizer knows of a client beside its user.
pub type Claims = Map<String, Value>;

/// A client, as the authorizer knew it when it connected.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Caller {
    /// Its connection.
    pub connection: ConnectionId,
    /// What carries that now: another socket than the first one where the client has come back to it.
    pub socket: Socket,
    /// Its user; `None` for who is anonymous.
    pub user: Option<UserId>,
    /// What it may do of itself.
    pub permissions: Permissions,
    /// What the application's authorizer knows of it.
    pub claims: Claims,
    /// What it speaks, as far as the authorizer says so: one that is not ours.
    pub protocol: Protocol,
    /// Its hub and roles, where it is a client of Web PubSub.
    pub web_pubsub: Option<Client>,
    /// What it comes back by to its connection, where it can.
    pub reconnection_token: Option<String>,
    /// Where it comes from.
    pub source_ip: Option<String>,
    /// API Gateway's id of what it sent.
    pub request_id: String,
}

/// Why it is not known who a client is.
#[derive(Debug, thiserror::Error)]
pub enum UnknownCaller {
    /// The route has no authorizer, or none that lets anybody in.
    #[error("no authorizer has let this client in; the route $connect needs one that gives `user` and `permissions`")]
    Unauthorized,
    /// The authorizer's user is none.
    #[error("the authorizer's `user` is not valid: {0}")]
    User(#[source] InvalidId),
    /// The authorizer's permissions are none.
    #[error("the authorizer's `permissions` are not valid: {0}")]
    Permissions(#[source] InvalidPermission),
    /// The authorizer's claims are none.
    #[error("the authorizer's `claims` are no JSON object")]
    Claims(#[source] serde_json::Error),
    /// The connection that the authorizer says it has come back to is none.
    #[error("the authorizer's `recovered` is not valid: {0}")]
    Recovered(#[source] InvalidId),
    /// What the authorizer says of a client of Web PubSub is nothing.
    #[error("the authorizer's `webPubSub` is no client of a hub")]
    WebPubSub(#[source] serde_json::Error),
}

impl Caller {
    /// Somebody who may nothing.
    #[must_use]
    pub fn anonymous(connection: ConnectionId) -> Self {
        let (permissions, claims) = (Permissions::default(), Claims::new());
        Self {
            socket: connection.first_socket(),
            connection,
            user: None,
            permissions,
            claims,
            protocol: Protocol::default(),
            web_pubsub: None,
            reconnection_token: None,
            source_ip: None,
            request_id: String::new(),
        }
    }

    /// Reads what the authorizer said: `said` gives the value of a field of its context.
    ///
    /// # Errors
    /// When there was no authorizer, or what it said is not valid.
    pub fn read<'a>(connection: ConnectionId, said: impl Fn(&str) -> Option<&'a str>) -> Result<Self, UnknownCaller> {
        let said = |name: &str| said(name).filter(|value| !value.is_empty());
        said("principalId").ok_or(UnknownCaller::Unauthorized)?;
        let permissions = Permissions::parse(said(PERMISSIONS).unwrap_or_default());
        let claims = said(CLAIMS).map(serde_json::from_str).transpose();
        let socket = connection.first_socket();
        let recovered = said(RECOVERED).map(ConnectionId::parse).transpose().map_err(UnknownCaller::Recovered)?;
        let web_pubsub = said(WEB_PUBSUB).map(serde_json::from_str).transpose();
        Ok(Self {
            user: said(USER).map(UserId::parse).transpose().map_err(UnknownCaller::User)?,
            permissions: permissions.map_err(UnknownCaller::Permissions)?,
            claims: claims.map_err(UnknownCaller::Claims)?.unwrap_or_default(),
            web_pubsub: web_pubsub.map_err(UnknownCaller::WebPubSub)?,
            protocol: said(PROTOCOL).and_then(Protocol::from_name).unwrap_or_default(),
            reconnection_token: said(RECONNECTION).map(str::to_owned),
            socket,
            ..Self::anonymous(recovered.unwrap_or(connection))
        })
    }

    /// Whether another socket than the first one carries its connection.
    #[must_use]
    pub fn has_come_back(&self) -> bool {
        self.socket != self.connection.first_socket()
    }

    /// What the ids of its notifications are unique in: its user, or the connection where it has none.
    #[must_use]
    pub fn scope(&self) -> String {
        let client = match &self.user {
            Some(user) => ["user", user.as_str()],
            None => ["connection", self.connection.as_str()],
        };
        scope(Trigger::Client, &client)
    }
}
