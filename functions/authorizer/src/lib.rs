//! The authorizer of `$connect`: says who a client is and what it may do.
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
pub mod keys;
mod origin;
mod request;
mod token;

#[cfg(test)]
mod fuzzing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use lambda_runtime::Diagnostic;
use tidings::metrics::{Metric, Tally};
use tidings::permissions::Permissions;
use tidings::{UserId, ids::InvalidId};

pub use answer::Answer;
pub use config::{Authentication, Deps};
pub use request::Request;

use claims::Claims;
use keys::KeysError;
use request::Credential;
use token::Unverified;

/// Our own failure; the client sees status 500.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Tokens cannot be checked.
    #[error("the keys that tokens are checked with could not be read: {}", tidings::describe(.0))]
    Keys(#[source] KeysError),
    /// The event does not say what is to be allowed.
    #[error("the event has no methodArn")]
    Event,
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let error_type = match &error {
            Error::Keys(_) => "KeysUnavailable",
            Error::Event => "InvalidEvent",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
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
}

impl Denial {
    /// What counts it, beside [`Metric::AuthorizerDenied`].
    fn metric(&self) -> Metric {
        match self {
            Self::Origin(_) => Metric::DeniedOrigin,
            Self::NoToken => Metric::DeniedNoToken,
            Self::Time(_) => Metric::DeniedExpired,
            Self::Handshake(_) | Self::NamesItself | Self::User(_) | Self::Token(_) => Metric::DeniedInvalid,
        }
    }
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) user: Option<UserId>,
    pub(crate) permissions: Permissions,
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

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        Self::Failed(Error::Keys(error))
    }
}

/// Allows or denies the connection.
///
/// # Errors
/// When that cannot be decided, because keys cannot be read.
pub async fn handle(deps: &Deps, request: Request) -> Result<Answer, Error> {
    let resource = request.method_arn.as_deref().filter(|arn| !arn.is_empty()).ok_or(Error::Event)?;
    let tally = deps.metrics.tally();
    let allowed = match decide(deps, &request, &tally).await {
        Ok(client) => Answer::allow(resource, &client).map_err(Refused::Denied),
        Err(refused) => Err(refused),
    };
    match allowed {
        Ok(answer) => {
            tally.add(Metric::AuthorizerAllowed, 1);
            Ok(answer)
        }
        Err(Refused::Failed(error)) => Err(error),
        Err(Refused::Denied(denial)) => {
            tally.add(Metric::AuthorizerDenied, 1);
            tally.add(denial.metric(), 1);
            let shown = request.token().ok().flatten().map(|token| token::shown(&token)).unwrap_or_default();
            tracing::info!(
                connection.id = request.connection_id(),
                reason = %denial,
                token.kid = shown.key_id,
                token.iss = shown.issuer,
                "denied a handshake"
            );
            Ok(Answer::deny(resource))
        }
    }
}

async fn decide(deps: &Deps, request: &Request, tally: &Tally) -> Result<Client, Refused> {
    origin::check(&deps.origins, request)?;
    let Authentication::Tokens { keys, rules, allow_anonymous } = &deps.authentication else {
        return Ok(deps.anonymous(request.named_user()?));
    };
    match request.credential()? {
        Credential::Token(token) => {
            let claims = Unverified::read(&token)?.verify(keys, rules, tally).await?;
            Ok(client_of(deps, rules, &claims)?)
        }
        Credential::None if !allow_anonymous => Err(Denial::NoToken.into()),
        Credential::None if request.names_itself() => Err(Denial::NamesItself.into()),
        Credential::None => Ok(deps.anonymous(None)),
    }
}

fn client_of(deps: &Deps, rules: &claims::Rules, claims: &Claims) -> Result<Client, Denial> {
    let user = claims.user(rules)?;
    let permissions = match claims.permissions(rules, &user)? {
        Some(permissions) => permissions,
        None => deps.default_permissions.of(Some(&user)),
    };
    Ok(Client { user: Some(user), permissions })
}
