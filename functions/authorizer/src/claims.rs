//! What a token says whose signature is good.

use serde_json::{Map, Value};
use tidings::UserId;
use tidings::permissions::{InvalidPermission, Permission, Permissions, for_user};

use crate::Denial;

/// By how many seconds clocks may differ.
pub(crate) const LEEWAY: u64 = 60;

/// What a token must say, and where it says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `iss` must be this, where it is set.
    pub issuer: Option<String>,
    /// `aud`, or else `client_id`, must be one of these, where there are any.
    pub audiences: Vec<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that has permissions beside `scope`.
    pub permissions_claim: String,
    /// What those scopes begin with that are permissions here.
    pub scope_prefix: String,
}

impl Rules {
    /// Nothing that a token must say.
    pub(crate) fn none() -> Self {
        let nothing = String::new;
        let (user_claim, permissions_claim, scope_prefix) = (nothing(), nothing(), nothing());
        Self { issuer: None, audiences: Vec::new(), user_claim, permissions_claim, scope_prefix }
    }
}

/// The claims of a token.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Whether the token is for us and for now, as far as `jsonwebtoken` has not checked it: `exp` and `nbf` it has.
    pub(crate) fn check(&self, rules: &Rules, now: u64, leeway: u64) -> Result<(), Denial> {
        if rules.issuer.is_some() && self.0.get("iss").and_then(Value::as_str) != rules.issuer.as_deref() {
            return Err(bad("comes from another issuer (iss) than TOKEN_ISSUER"));
        }
        self.check_audience(rules)?;
        match self.0.get("iat").map(|time| time.as_f64()) {
            None => {}
            Some(Some(time)) if time <= (now + leeway) as f64 => {}
            Some(Some(_)) => return Err(Denial::Time("was issued in the future (iat)")),
            Some(None) => return Err(bad("has an iat of another type than it should be")),
        }
        // Cognito's tokens that say who somebody is are no permit for an API, and have the same issuer and key.
        match self.0.get("token_use") {
            None => Ok(()),
            Some(Value::String(used)) if used == "access" => Ok(()),
            Some(_) => Err(bad("is no access token (token_use); send the access token")),
        }
    }

    /// Cognito's access tokens have no `aud`; they name the application that they were issued to in `client_id`.
    fn check_audience(&self, rules: &Rules) -> Result<(), Denial> {
        if rules.audiences.is_empty() {
            return Ok(());
        }
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|name| rules.audiences.iter().any(|ours| ours == name));
        let fits = match (self.0.get("aud"), self.0.get("client_id")) {
            (Some(Value::Array(audiences)), _) => audiences.iter().any(is_ours),
            (Some(audience), _) => is_ours(audience),
            (None, Some(client)) => is_ours(client),
            (None, None) => return Err(bad("has neither aud nor client_id")),
        };
        if fits { Ok(()) } else { Err(bad("is for another audience (aud or client_id) than TOKEN_AUDIENCE")) }
    }

    /// A token of one subscription opens no connection, in no protocol.
    pub(crate) fn check_opens_connections(&self) -> Result<(), Denial> {
        match self.0.contains_key("channel") {
            true => Err(bad("is one of a subscription (channel), and opens no connection")),
            false => Ok(()),
        }
    }

    /// All that it says.
    pub(crate) fn into_all(self) -> Map<String, Value> {
        self.0
    }

    /// Whom the token is about, where that is somebody.
    pub(crate) fn named_user(&self, rules: &Rules) -> Result<Option<UserId>, Denial> {
        match self.0.get(&rules.user_claim) {
            None => Ok(None),
            Some(Value::String(name)) if name.is_empty() => Ok(None),
            Some(_) => self.user(rules).map(Some),
        }
    }

    /// Whom the token is about.
    pub(crate) fn user(&self, rules: &Rules) -> Result<UserId, Denial> {
        match self.0.get(&rules.user_claim) {
            Some(Value::String(name)) => UserId::parse(name.as_str()).map_err(Denial::User),
            Some(_) => Err(Denial::Token(format!("has a {} that is not a string", rules.user_claim))),
            None => Err(Denial::Token(format!("has no {}, which names the user", rules.user_claim))),
        }
    }

    /// What the token says of permissions; `None` where it says nothing. A claim that is there and empty says: none.
    pub(crate) fn permissions(&self, rules: &Rules, user: &UserId) -> Result<Option<Permissions>, Denial> {
        let scopes = self.entries("scope")?.unwrap_or_default();
        let scopes = scopes.into_iter().filter_map(|scope| scope.strip_prefix(rules.scope_prefix.as_str()));
        let own = self.entries(&rules.permissions_claim)?;
        let is_said = own.is_some();
        let mut permissions = Vec::new();
        for entry in own.unwrap_or_default().into_iter().chain(scopes) {
            let parsed = for_user(entry, Some(user)).map(|entry| Permission::parse(&entry));
            match parsed {
                Some(Ok(permission)) => permissions.push(permission),
                // Scopes are about other things too.
                None | Some(Err(InvalidPermission::Action)) => {}
                Some(Err(problem)) => tracing::warn!(%problem, "left out a permission of a token"),
            }
        }
        Ok((is_said || !permissions.is_empty()).then(|| permissions.into_iter().collect()))
    }

    /// The entries of a claim, which may be a list or a text with spaces.
    fn entries(&self, claim: &str) -> Result<Option<Vec<&str>>, Denial> {
        let wrong = || Denial::Token(format!("has a {claim} that is neither a string nor a list of strings"));
        match self.0.get(claim) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.split_ascii_whitespace().collect())),
            Some(Value::Array(list)) => {
                list.iter().map(|entry| entry.as_str().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }
}

fn bad(problem: &str) -> Denial {
    Denial::Token(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules {
            issuer: None,
            audiences: vec!["app".to_owned(), "web".to_owned()],
            user_claim: "sub".to_owned(),
            permissions_claim: "permissions".to_owned(),
            scope_prefix: String::new(),
        }
    }

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_token_is_for_one_of_our_audiences_by_aud_or_else_by_client_id() {
        for (value, good) in [
            (json!({"aud": "app"}), true),
            (json!({"aud": ["other", "web"]}), true),
            (json!({"client_id": "web"}), true),
            (json!({"aud": "other", "client_id": "app"}), false),
            (json!({"aud": []}), false),
            (json!({"aud": null, "client_id": "app"}), false),
            (json!({"aud": ["app2", 7]}), false),
            (json!({"aud": {"app": 1}}), false),
            (json!({"client_id": ["app"]}), false),
            (json!({}), false),
        ] {
            assert_eq!(claims(value.clone()).check(&rules(), 0, LEEWAY).is_ok(), good, "{value}");
        }
        let any = Rules { audiences: vec![], ..rules() };
        assert!(claims(json!({})).check(&any, 0, LEEWAY).is_ok());
    }

    #[test]
    fn a_token_from_the_future_or_for_something_else_is_refused() {
        for (value, good) in [
            (json!({"iat": 1060}), true),
            (json!({"iat": 1060.5}), false),
            (json!({"iat": 1061}), false),
            (json!({"iat": 1e300}), false),
            (json!({"iat": "1000"}), false),
            (json!({"iat": null}), false),
            (json!({"token_use": "access"}), true),
            (json!({"token_use": "id"}), false),
            (json!({"token_use": 1}), false),
        ] {
            let rules = Rules { audiences: vec![], ..rules() };
            assert_eq!(claims(value.clone()).check(&rules, 1000, LEEWAY).is_ok(), good, "{value}");
        }
    }

    #[test]
    fn the_user_is_a_string_that_is_a_name() {
        assert_eq!(claims(json!({"sub": "u|1"})).user(&rules()).unwrap().as_str(), "u|1");
        let other = Rules { user_claim: "email".to_owned(), ..rules() };
        assert_eq!(claims(json!({"sub": "u", "email": "a@b"})).user(&other).unwrap().as_str(), "a@b");
        for value in [
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": null}),
            json!({"sub": ["u"]}),
            json!({"sub": "a\nb"}),
            json!({"sub": "a\u{0}"}),
            json!({"sub": "a\u{9b}31m"}),
            json!({"sub": "u".repeat(257)}),
        ] {
            assert!(claims(value.clone()).user(&rules()).is_err(), "{value}");
        }
    }

    fn permissions_with(rules: &Rules, value: Value) -> Option<String> {
        let user = UserId::parse("u/1").unwrap();
        claims(value).permissions(rules, &user).unwrap().map(|permissions| permissions.to_string())
    }

    #[test]
    fn permissions_come_from_scopes_and_from_their_own_claim() {
        let check = |value: Value, expected: Option<&str>| {
            assert_eq!(permissions_with(&rules(), value.clone()).as_deref(), expected, "{value}");
        };
        check(json!({"scope": "openid subscribe:a/* publish:b"}), Some("subscribe:a/* publish:b"));
        check(json!({"scope": ["subscribe:a"], "permissions": ["publish:b", "read:c"]}), Some("publish:b subscribe:a"));
        check(json!({"permissions": "subscribe:a publish:b"}), Some("subscribe:a publish:b"));
        check(json!({"permissions": ["subscribe:users/{user}/**"]}), Some("subscribe:users/u%2F1/**"));
        check(json!({"permissions": ["subscribe:a b"]}), Some("subscribe:a%20b"));
        check(json!({"permissions": ["subscribe:a-*", "subscribe:ok"]}), Some("subscribe:ok"));
        // Said, and nothing.
        check(json!({"permissions": []}), Some(""));
        check(json!({"permissions": ["read:books"], "scope": "openid"}), Some(""));
        // Not said.
        check(json!({"scope": "openid profile"}), None);
        check(json!({"scope": "https://api.example.com/subscribe:a"}), None);
        check(json!({"permissions": null}), None);
        check(json!({}), None);
    }

    #[test]
    fn with_a_prefix_only_scopes_of_our_own_resource_server_count() {
        let rules = Rules { scope_prefix: "https://api.example.com/".to_owned(), ..rules() };
        let scope = "https://api.example.com/subscribe:a https://other.example.com/subscribe:b subscribe:c";
        assert_eq!(permissions_with(&rules, json!({"scope": scope})).as_deref(), Some("subscribe:a"));
    }

    #[test]
    fn permissions_of_another_shape_are_refused() {
        let user = UserId::parse("u").unwrap();
        for value in [
            json!({"permissions": {"subscribe:a": true}}),
            json!({"permissions": [1]}),
            json!({"permissions": true}),
            json!({"scope": 7}),
        ] {
            assert!(claims(value.clone()).permissions(&rules(), &user).is_err(), "{value}");
        }
    }
}
