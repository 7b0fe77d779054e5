//! Who is on the other end of a connection.

use serde_json::{Map, Value};

use crate::ids::{ConnectionId, InvalidId, UserId};
use crate::notification::scope;
use crate::permissions::{CLAIMS, InvalidPermission, PERMISSIONS, PROTOCOL, Permissions, USER, WEB_PUBSUB};
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
            connection,
            user: None,
            permissions,
            claims,
            protocol: Protocol::default(),
            web_pubsub: None,
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
        let web_pubsub = said(WEB_PUBSUB).map(serde_json::from_str).transpose();
        Ok(Self {
            user: said(USER).map(UserId::parse).transpose().map_err(UnknownCaller::User)?,
            permissions: permissions.map_err(UnknownCaller::Permissions)?,
            claims: claims.map_err(UnknownCaller::Claims)?.unwrap_or_default(),
            web_pubsub: web_pubsub.map_err(UnknownCaller::WebPubSub)?,
            protocol: said(PROTOCOL).and_then(Protocol::from_name).unwrap_or_default(),
            ..Self::anonymous(connection)
        })
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
