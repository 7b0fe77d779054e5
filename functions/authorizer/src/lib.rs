//! The authorizer of a [Tidings](https://docs.rs/tidings) stack: says who a client is and what it may do.
//!
//! An application can have a way of its own beside tokens:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use tidings::{Handshake, Refusal};
//! use tidings_authorizer::{Function, Identity};
//!
//! async fn by_key(_: Arc<()>, handshake: Handshake) -> Result<Option<Identity>, Refusal> {
//!     match handshake.header("x-api-key") {
//!         Some("k1") => Ok(Some(Identity::of("shop-1")?.with_claim("plan", "gold"))),
//!         Some(_) => Err(Refusal::forbidden("there is no such key")),
//!         None => Ok(None),
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Function::new().verify(by_key).run()
//! }
//! ```
//!
//! `request` finds the client's token in the handshake, `token` verifies it with `keys` (which come from a secret or from
//! an issuer's key set), `claims` says what a good token means, `answer` is what API Gateway is told.
//!
//! A client that may not connect is an answer: API Gateway gives it status 403, and the function has not failed. That we
//! cannot read our keys is a failure, because the client may well be a good one.

mod answer;
mod claims;
pub mod config;
mod crypto;
mod fetch;
mod function;
mod identity;
pub mod keys;
mod origin;
mod reconnection;
mod request;
mod server_key;
mod token;
mod verified;
mod web_pubsub;
mod web_pubsub_key;

#[cfg(test)]
mod fuzzing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use tidings::function::{BoxFuture, Failure};
use tidings::ids::InvalidId;
use tidings::metrics::{Metric, Recorder};
use tidings::protocol::Protocol;
use tidings::protocol::web_pubsub::is_binary;
use tidings::{Handshake, Refusal};

pub use answer::Answer;
pub use config::{Authentication, Deps};
pub use function::Function;
pub use identity::Identity;
pub use request::Request;
pub use server_key::ServerKey;
pub use verified::{TokenProblem, Verified};
pub use web_pubsub_key::{WebPubSubKey, WebPubSubTokenProblem};

use claims::Claims;
use keys::KeysError;
use origin::Origins;
use request::{Credential, credential, named_user, names_itself, token};
use token::Unverified;

/// Why a client is denied that offers nothing else.
const ONLY_BINARY: &str = "only subprotocols with binary frames are offered (protobuf), which API Gateway does not carry; \
                           offer json.webpubsub.azure.v1";

/// Our own failure; the client sees status 500.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Tokens cannot be checked.
    #[error("the keys that tokens are checked with could not be read: {}", tidings::describe(.0))]
    Keys(#[source] KeysError),
    /// The event does not say what is to be allowed, or to whom.
    #[error("the event has no methodArn or no connectionId")]
    Event,
    /// The application's own way could not say who the client is.
    #[error("the application's hook failed")]
    Hook(#[source] Refusal),
    /// The application's own way says that nobody knows the client. API Gateway answers 401 to exactly this text.
    #[error("Unauthorized")]
    Unauthorized,
}

impl Failure for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Keys(_) => "KeysUnavailable",
            Self::Event => "InvalidEvent",
            Self::Hook(_) => "HookFailed",
            Self::Unauthorized => "Unauthorized",
        }
    }
}

/// Why a client may not connect: for the log, never for the client. It holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// A browser on a page of another site.
    #[error("the origin {0:?} is not allowed (ALLOWED_ORIGINS)")]
    Origin(String),
    /// There is no token, and anonymous access is off.
    #[error("there is no token, and anonymous access is off (ALLOW_ANONYMOUS)")]
    NoToken,
    /// There is no token, and Web PubSub wants one.
    #[error("there is no token, and clients of Web PubSub need one")]
    NoWebPubSubToken,
    /// The handshake's tokens are not all the same, or not where one is expected.
    #[error("{0}")]
    Handshake(&'static str),
    /// A client without a token must not take a name that somebody may have a token for.
    #[error("?user= is only for stacks where every client is anonymous; connect with a token")]
    NamesItself,
    /// The name is none.
    #[error("the user is not valid: {0}")]
    User(#[source] InvalidId),
    /// The token's time is over, or has not begun.
    #[error("the token {0}")]
    Time(&'static str),
    /// The token is not a good one.
    #[error("the token {0}")]
    Token(String),
    /// The stack does not speak it.
    #[error("?protocol={0} is not spoken here (PROTOCOLS)")]
    Protocol(&'static str),
    /// The application's own way says so.
    #[error("{0}")]
    Application(Refusal),
}

impl Denial {
    /// What counts it, beside [`Metric::AuthorizerDenied`].
    fn metric(&self) -> Metric {
        match self {
            Self::Origin(_) => Metric::DeniedOrigin,
            Self::NoToken | Self::NoWebPubSubToken => Metric::DeniedNoToken,
            Self::Time(_) => Metric::DeniedExpired,
            Self::Protocol(_)
            | Self::Handshake(_)
            | Self::NamesItself
            | Self::User(_)
            | Self::Token(_)
            | Self::Application(_) => Metric::DeniedInvalid,
        }
    }
}

/// Why a client that calls a function itself is not served. It is not told more than this; the log has the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It comes from a page of another site.
    #[error("pages of this origin are not allowed")]
    Origin,
    /// It shows no good token where one is needed.
    #[error("there is no good token")]
    Unauthorized,
    /// The application's own way knows it and refuses it.
    #[error("the client is refused")]
    Forbidden,
    /// It may well be a good one: who it is could not be found out.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Origin(_) => Self::Origin,
            Denial::Application(refusal) if refusal.status() != 401 => Self::Forbidden,
            _ => Self::Unauthorized,
        }
    }
}

/// What a decision ends in.
pub(crate) enum Refused {
    Denied(Denial),
    Failed(Error),
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// The application's hook refuses a client, or says by a status of 500 and more that it failed.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal.status() {
            500.. => Self::Failed(Error::Hook(refusal)),
            _ => Self::Denied(Denial::Application(refusal)),
        }
    }
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        Self::Failed(Error::Keys(error))
    }
}

pub(crate) type Hook<S> = Box<dyn Fn(Arc<S>, Handshake) -> BoxFuture<Result<Option<Identity>, Refusal>> + Send + Sync>;

/// What lets clients in: keys, rules, and an application's hook.
pub struct Authorizer<S = ()> {
    pub(crate) deps: Deps,
    pub(crate) state: Arc<S>,
    pub(crate) hook: Option<Hook<S>>,
}

impl<S> Authorizer<S> {
    /// Allows or denies the connection, as API Gateway wants to be told.
    ///
    /// # Errors
    /// When the event is not one of a handshake, the keys that the token needs cannot be read, or the application's hook
    /// says 401 or that it failed.
    pub async fn answer(&self, request: Request) -> Result<Answer, Error> {
        let resource = request.method_arn.as_deref().filter(|arn| !arn.is_empty()).ok_or(Error::Event)?;
        let handshake = request.handshake().ok_or(Error::Event)?;
        let recorder = self.deps.metrics.recorder();
        let allowed = match self.decide(&handshake, &recorder).await {
            Ok(identity) => {
                let protocol = match identity.reconnection {
                    Some(_) => Protocol::WebPubSubOutbox,
                    None => Protocol::of_handshake(&handshake, &self.deps.spoken).unwrap_or_default(),
                };
                Answer::allow(resource, &identity, protocol).map_err(Refused::Denied)
            }
            Err(refused) => Err(refused),
        };
        match allowed {
            Ok(answer) => {
                recorder.add(Metric::AuthorizerAllowed, 1);
                Ok(answer)
            }
            Err(Refused::Failed(error)) => Err(error),
            Err(Refused::Denied(denial)) => {
                recorder.add(Metric::AuthorizerDenied, 1);
                recorder.add(denial.metric(), 1);
                log(&handshake, &denial);
                match denial {
                    Denial::Application(refusal) if refusal.status() == 401 => Err(Error::Unauthorized),
                    _ => Ok(Answer::deny(resource)),
                }
            }
        }
    }

    /// Who a client is that calls a function itself, without a connection, and what it may do: its permissions are those that
    /// it would have as a connection. In the log, `connection` of its request stands for the connection.
    ///
    /// # Errors
    /// When it may not connect either, or the keys that its token needs cannot be read.
    pub async fn identify(&self, request: &Handshake) -> Result<Identity, Rejection> {
        match self.decide(request, &self.deps.metrics.recorder()).await {
            Ok(identity) => Ok(identity),
            Err(Refused::Failed(error)) => Err(error.into()),
            Err(Refused::Denied(denial)) => {
                log(request, &denial);
                Err(denial.into())
            }
        }
    }

    /// The pages from which clients may come.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.deps.origins
    }

    async fn decide(&self, handshake: &Handshake, recorder: &Recorder) -> Result<Identity, Refused> {
        let deps = &self.deps;
        origin::check(&deps.origins, handshake)?;
        let protocol = self.protocol(handshake)?;
        let said = match &self.hook {
            Some(hook) => hook(Arc::clone(&self.state), handshake.clone()).await?,
            None => None,
        };
        if protocol.is_web_pubsub() {
            return web_pubsub::identify(deps, said, (protocol, handshake), recorder).await;
        }
        if let Some(identity) = said {
            return Ok(deps.with_defaults(identity));
        }
        let Authentication::Tokens { keys, rules, allow_anonymous } = &deps.authentication else {
            return Ok(deps.anonymous(named_user(handshake)?));
        };
        match credential(handshake)? {
            Credential::Token(token) => {
                let claims = Unverified::read(&token)?.verify(keys, rules, recorder).await?;
                claims.check_opens_connections()?;
                Ok(identity_of(deps, rules, &claims)?)
            }
            // Its first frame says who it is.
            Credential::None if protocol.identifies_in_a_frame() => Ok(Identity::nobody()),
            Credential::None if !allow_anonymous => Err(Denial::NoToken.into()),
            Credential::None if names_itself(handshake) => Err(Denial::NamesItself.into()),
            Credential::None => Ok(deps.anonymous(None)),
        }
    }
}

impl<S> Authorizer<S> {
    /// What the client would speak, if that is spoken here.
    fn protocol(&self, handshake: &Handshake) -> Result<Protocol, Denial> {
        let spoken = &self.deps.spoken;
        let known = Protocol::of_handshake(handshake, spoken);
        let is_offered = handshake.subprotocols().any(|name| spoken.offered(name).is_some());
        if !is_offered && handshake.subprotocols().any(is_binary) {
            return Err(Denial::Handshake(ONLY_BINARY));
        }
        let protocol = known.unwrap_or_default();
        if protocol.has_outbox() {
            return Err(Denial::Handshake("who recovers offers json.reliable.webpubsub.azure.v1"));
        }
        match spoken.has(protocol) {
            true => Ok(protocol),
            false => Err(Denial::Protocol(protocol.name())),
        }
    }
}

/// Who a good token speaks of.
fn identity_of(deps: &Deps, rules: &claims::Rules, claims: &Claims) -> Result<Identity, Denial> {
    let user = claims.user(rules)?;
    let permissions = claims.permissions(rules, &user)?;
    Ok(deps.with_defaults(Identity { user: Some(user), permissions, ..Identity::default() }))
}

fn log(handshake: &Handshake, denial: &Denial) {
    let shown = token(handshake).ok().flatten().map(|token| token::shown(&token)).unwrap_or_default();
    tracing::info!(
        connection.id = %handshake.connection,
        reason = %denial,
        token.kid = shown.key_id,
        token.iss = shown.issuer,
        "denied a handshake"
    );
}

impl<S> fmt::Debug for Authorizer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("deps", &self.deps).finish_non_exhaustive()
    }
}
