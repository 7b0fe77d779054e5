//! What the environment says, checked before the first event.

use http::Uri;
use tidings::aws::{self, Aws};
use tidings::config::{ConfigError, optional, parsed, required};
use tidings::metrics::Metrics;
use tidings::permissions::{Permission, Permissions, for_user};
use tidings::protocol::Spoken;
use tidings::{UserId, ids::InvalidId};

use crate::claims::Rules;
use crate::fetch;
use crate::identity::Identity;
use crate::keys::{Jwks, Keys, Refresh};
pub use crate::origin::Origins;
use crate::web_pubsub_key::WebPubSubKey;

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// How clients show who they are.
    pub authentication: Authentication,
    /// What a client may do whose token does not say it.
    pub default_permissions: PermissionTemplates,
    /// What a client without a token may do, where it may connect.
    pub anonymous_permissions: PermissionTemplates,
    /// From which pages browsers may connect.
    pub origins: Origins,
    /// What clients may speak.
    pub spoken: Spoken,
    /// What tokens of Web PubSub are verified with, where its clients may come.
    pub web_pubsub: Option<WebPubSubKey>,
    /// Whether those of its clients that can come back to their connections.
    pub web_pubsub_reliable: bool,
    /// What counts.
    pub metrics: Metrics,
}

/// How clients show who they are.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in the whole process")]
pub enum Authentication {
    /// By a token.
    Tokens {
        /// What tokens are verified with.
        keys: Keys,
        /// What a token must say.
        rules: Rules,
        /// Whether a client without a token may connect, without a name.
        allow_anonymous: bool,
    },
    /// Not at all: a client may call itself what it likes. Tokens are not looked at.
    Anonymous,
}

/// Permissions that may have `{user}` in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermissionTemplates(Vec<String>);

impl Deps {
    /// Reads the environment: `AUTHENTICATION`, `ALLOW_ANONYMOUS`, `TOKEN_SECRET_ARN`, `TOKEN_ISSUER`, `TOKEN_AUDIENCE`,
    /// `JWKS_URL`, `USER_CLAIM`, `PERMISSIONS_CLAIM`, `SCOPE_PREFIX`, `DEFAULT_PERMISSIONS`, `ANONYMOUS_PERMISSIONS`,
    /// `ALLOWED_ORIGINS`, `PROTOCOLS`, `WEBPUBSUB_KEY`, the name of the secret that tokens of Web PubSub are signed with, and
    /// `RELIABLE`.
    ///
    /// # Errors
    /// When one is missing or not what it should be; the error names it.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            authentication: Authentication::from_env()?,
            default_permissions: templates("DEFAULT_PERMISSIONS")?,
            anonymous_permissions: templates("ANONYMOUS_PERMISSIONS")?,
            origins: origins()?,
            spoken: Spoken::from_env()?,
            web_pubsub: match optional("WEBPUBSUB_KEY") {
                Some(secret) => Some(WebPubSubKey::new(Aws::from_env()?.secret(secret), Refresh::default())),
                None => None,
            },
            web_pubsub_reliable: parsed("RELIABLE", false, "use true or false", |_| true)?,
            metrics: Metrics::from_env(),
        })
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self, user: Option<UserId>) -> Identity {
        Identity { permissions: Some(self.anonymous_permissions.of(user.as_ref())), user, ..Identity::default() }
    }

    /// The same with the stack's defaults, where nobody says what it may do.
    pub(crate) fn with_defaults(&self, mut identity: Identity) -> Identity {
        let user = identity.user.as_ref();
        let defaults = if user.is_some() { &self.default_permissions } else { &self.anonymous_permissions };
        let permissions = identity.permissions.take().unwrap_or_else(|| defaults.of(user));
        identity.permissions = Some(permissions);
        identity
    }
}

impl Authentication {
    fn from_env() -> Result<Self, ConfigError> {
        let expected = "use hs256, jwks or anonymous";
        let name = required("AUTHENTICATION", expected)?;
        let keys = match name.as_str() {
            "anonymous" => return Ok(Self::Anonymous),
            "hs256" => {
                let arn = required("TOKEN_SECRET_ARN", "it names the secret that tokens are signed with")?;
                Keys::new(Aws::from_env()?.secret(arn), Refresh::default())
            }
            "jwks" => Keys::new(jwks()?, Refresh::default()),
            _ => return Err(ConfigError::Invalid { name: "AUTHENTICATION", value: name, expected }),
        };
        let allow_anonymous = parsed("ALLOW_ANONYMOUS", false, "use true or false", |_| true)?;
        Ok(Self::Tokens { keys, rules: Rules::from_env(), allow_anonymous })
    }
}

/// Where the keys of the issuer are. The issuer and the audience are required: its keys also sign the tokens that it
/// issues for other applications.
fn jwks() -> Result<Jwks, ConfigError> {
    let issuer = required("TOKEN_ISSUER", "AUTHENTICATION is jwks, and tokens must come from this issuer")?;
    required("TOKEN_AUDIENCE", "AUTHENTICATION is jwks, and tokens must be for this audience")?;
    let expected = "use an https URL (http only for this machine)";
    let url = read("JWKS_URL", expected, fetch::url)?;
    let endpoint = url.as_ref().map_or_else(|| issuer.clone(), Uri::to_string);
    let client = aws::http_client_to(&endpoint).map_err(|error| ConfigError::Certificates(error.to_string()))?;
    match url {
        Some(url) => Ok(Jwks::at(client, url)),
        None => Jwks::of_issuer(client, &issuer).ok_or(ConfigError::Invalid {
            name: "TOKEN_ISSUER",
            value: issuer,
            expected: "use an https URL, or name the keys with JWKS_URL",
        }),
    }
}

impl Rules {
    fn from_env() -> Self {
        let audiences = optional("TOKEN_AUDIENCE").unwrap_or_default();
        let audiences = audiences.split(',').map(str::trim).filter(|audience| !audience.is_empty());
        Self {
            issuer: optional("TOKEN_ISSUER"),
            audiences: audiences.map(str::to_owned).collect(),
            user_claim: optional("USER_CLAIM").unwrap_or_else(|| "sub".to_owned()),
            permissions_claim: optional("PERMISSIONS_CLAIM").unwrap_or_else(|| "permissions".to_owned()),
            scope_prefix: optional("SCOPE_PREFIX").unwrap_or_default(),
        }
    }
}

impl PermissionTemplates {
    /// Understands permissions that are separated by spaces. `None` when one of them is none, for whatever user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let user: Result<UserId, InvalidId> = UserId::parse("u");
        let user = user.ok()?;
        let entries = text.split_ascii_whitespace().map(|entry| {
            Permission::parse(&for_user(entry, Some(&user))?).ok()?;
            Some(entry.to_owned())
        });
        entries.collect::<Option<_>>().map(Self)
    }

    /// The permissions of this user. One that names the user is nobody's without one.
    #[must_use]
    pub fn of(&self, user: Option<&UserId>) -> Permissions {
        // What does not fit a topic's length with this user in it allows nothing.
        self.0.iter().filter_map(|entry| Permission::parse(&for_user(entry, user)?).ok()).collect()
    }
}

fn origins() -> Result<Origins, ConfigError> {
    let expected = "list origins such as https://app.example.com, separated by commas";
    Ok(read("ALLOWED_ORIGINS", expected, Origins::parse)?.unwrap_or_default())
}

fn templates(name: &'static str) -> Result<PermissionTemplates, ConfigError> {
    let expected = "list permissions such as subscribe:users/{user}/** or publish:chat/*, separated by spaces";
    Ok(read(name, expected, PermissionTemplates::parse)?.unwrap_or_default())
}

/// A variable that need not be set.
fn read<T>(
    name: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = optional(name) else { return Ok(None) };
    match parse(&value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(ConfigError::Invalid { name, value, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_for_each_user_and_need_one_where_they_name_it() {
        let templates = PermissionTemplates::parse("subscribe:users/{user}/** publish:news").unwrap();
        let user = UserId::parse("a/b *").unwrap();
        assert_eq!(templates.of(Some(&user)).to_string(), "subscribe:users/a%2Fb%20%2A/** publish:news");
        assert_eq!(templates.of(None).to_string(), "publish:news");
        assert_eq!(
            PermissionTemplates::parse("subscribe:{user"),
            Some(PermissionTemplates(vec!["subscribe:{user".into()]))
        );
        for text in ["read:orders", "subscribe:a-*", "subscribe:a, publish:**/b"] {
            assert_eq!(PermissionTemplates::parse(text), None, "{text}");
        }
    }
}
