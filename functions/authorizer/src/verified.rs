//! Tokens that come in a frame, of clients that say who they are only then.

use serde_json::{Map, Value};
use tidings::UserId;
use tidings::permissions::Permissions;

use crate::claims::{Claims, Rules};
use crate::config::Deps;
use crate::token::Unverified;
use crate::{Authentication, Authorizer, Denial, Error, Refused};

/// What a good token says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Whom it is about; `None` for who is anonymous.
    pub user: Option<UserId>,
    /// What it permits.
    pub permissions: Permissions,
    /// When it ends, in seconds since the epoch; `None` where it does not say.
    pub expires_at: Option<i64>,
    /// All of its claims.
    pub claims: Map<String, Value>,
}

/// Why a token is not taken. The client is not told more; the log has the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenProblem {
    /// It is not its time, be it over or still to come: the client is to fetch another one.
    #[error("the token has expired or is not good yet")]
    Expired,
    /// It is not a good one.
    #[error("the token is not a good one: {0}")]
    Invalid(String),
    /// There is none, and one is needed.
    #[error("there is no token, and one is needed")]
    Missing,
    /// It may well be a good one.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl<S> Authorizer<S> {
    /// What a token says that came in a frame. An empty one is that of a client that is to be anonymous.
    ///
    /// # Errors
    /// When it is not a good one, or the keys cannot be read.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenProblem> {
        let deps = &self.deps;
        let anonymous = || {
            let identity = deps.anonymous(None);
            Verified { permissions: identity.permissions.unwrap_or_default(), ..Verified::default() }
        };
        let Authentication::Tokens { keys, rules, allow_anonymous } = &deps.authentication else {
            return Ok(anonymous());
        };
        if token.is_empty() {
            return if *allow_anonymous { Ok(anonymous()) } else { Err(TokenProblem::Missing) };
        }
        let recorder = deps.metrics.recorder();
        let claims = async { Unverified::read(token)?.lasting().verify(keys, rules, &recorder).await };
        let read = claims.await.and_then(|claims| Ok(verified(deps, rules, claims)?));
        read.map_err(|refused| match refused {
            Refused::Failed(error) => TokenProblem::Failed(error),
            Refused::Denied(Denial::Time(_)) => TokenProblem::Expired,
            Refused::Denied(denial) => TokenProblem::Invalid(denial.to_string()),
        })
    }
}

fn verified(deps: &Deps, rules: &Rules, claims: Claims) -> Result<Verified, Denial> {
    let user = claims.named_user(rules)?;
    let own = match &user {
        Some(named) => claims.permissions(rules, named)?,
        None => None,
    };
    let permissions = own.unwrap_or_else(|| match &user {
        Some(_) => deps.default_permissions.of(user.as_ref()),
        None => deps.anonymous_permissions.of(None),
    });
    let claims = claims.into_all();
    let expires_at = claims.get("exp").and_then(Value::as_f64).map(|seconds| seconds as i64);
    Ok(Verified { user, permissions, expires_at, claims })
}
