//! Who a client is and what it may do.

use serde_json::Value;
use tidings::permissions::Permissions;
use tidings::web_pubsub::Client;
use tidings::{Claims, ConnectionId, Refusal, UserId};

/// Who a client is, what it may do, and what the application knows of it besides.
///
/// ```
/// use tidings::Refusal;
/// use tidings_authorizer::Identity;
///
/// fn of_key(key: &str) -> Result<Option<Identity>, Refusal> {
///     match key {
///         "k1" => Ok(Some(Identity::of("shop-1")?.with_permissions("subscribe:orders/**")?.with_claim("plan", "gold"))),
///         "" => Ok(None),
///         _ => Err(Refusal::forbidden("there is no such key")),
///     }
/// }
/// assert!(of_key("k1").unwrap().is_some());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// Its user; `None` for who is anonymous.
    pub user: Option<UserId>,
    /// What it may do; `None` for what the stack's defaults say.
    pub permissions: Option<Permissions>,
    /// What every function of the application is to know of it. User, permissions and claims have 8 KB together.
    pub claims: Claims,
    /// Its hub and roles, where it is a client of Web PubSub.
    pub web_pubsub: Option<Client>,
    /// How it comes back to its connection, where it can.
    pub(crate) reconnection: Option<Reconnection>,
}

/// What a client does about the connection that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reconnection {
    /// It gets this token for a new one.
    By(String),
    /// It comes back to this one.
    To(ConnectionId),
}

impl Identity {
    /// Nobody in particular.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Who has not said who it is: it may nothing.
    pub(crate) fn nobody() -> Self {
        Self { permissions: Some(Permissions::default()), ..Self::default() }
    }

    /// The same as a client of a hub of Web PubSub.
    pub(crate) fn in_hub(self, client: Client) -> Self {
        Self { web_pubsub: Some(client), ..self }
    }

    /// A user.
    ///
    /// # Errors
    /// When it is no name of a user: the client is refused.
    pub fn of(user: &str) -> Result<Self, Refusal> {
        let user =
            UserId::parse(user).map_err(|error| Refusal::forbidden(format!("the user is not valid: {error}")))?;
        Ok(Self { user: Some(user), ..Self::default() })
    }

    /// The same with these permissions, separated by spaces, instead of the stack's defaults.
    ///
    /// # Errors
    /// When one is none: the client is refused.
    pub fn with_permissions(mut self, permissions: &str) -> Result<Self, Refusal> {
        let parsed = Permissions::parse(permissions);
        let refused = |error| Refusal::forbidden(format!("the permissions are not valid: {error}"));
        self.permissions = Some(parsed.map_err(refused)?);
        Ok(self)
    }

    /// The same with one thing more that the application knows.
    #[must_use]
    pub fn with_claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }
}
