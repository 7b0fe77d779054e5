//! What a client's token says whose signature and times are good.

use serde_json::{Map, Value};

use super::audience::hub_of_client;
use super::client::Client;
use super::hub::{Hub, InvalidGroup};
use super::roles::Roles;
use crate::ids::{InvalidId, UserId};

/// Who a token speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its user; `None` for who is anonymous.
    pub user: Option<UserId>,
    /// Its hub, roles and first groups.
    pub client: Client,
}

/// Why a token opens no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaims {
    /// It is for something else, a server's call for instance.
    #[error("is not for a client of a hub (aud must be …/client/hubs/<hub>)")]
    Audience,
    /// It is for another hub than the one that the client asks for.
    #[error("is for another hub (aud) than the one that is asked for (?hub=)")]
    OtherHub,
    /// Its user is none.
    #[error("has a sub that is not valid: {0}")]
    User(#[from] InvalidId),
    /// A claim is of another type.
    #[error("has a {0} of another type than it should be")]
    Type(&'static str),
    /// A group that it names is none.
    #[error("names a group that is not valid (webpubsub.group): {0}")]
    Group(#[from] InvalidGroup),
}

/// What a token says to somebody who asks for `hub`, or for none in particular.
///
/// # Errors
/// When it is not a client's, or is for another hub.
pub fn claimed(claims: &Map<String, Value>, hub: Option<&Hub>) -> Result<Claimed, InvalidClaims> {
    let audiences = texts(claims, "aud")?;
    let hubs: Vec<_> = audiences.iter().filter_map(|audience| hub_of_client(audience)).collect();
    let first = hubs.first().ok_or(InvalidClaims::Audience)?;
    let hub = hub.unwrap_or(first).clone();
    if !hubs.contains(&hub) {
        return Err(InvalidClaims::OtherHub);
    }
    let user = match claims.get("sub") {
        None | Some(Value::Null) => None,
        Some(Value::String(user)) if user.is_empty() => None,
        Some(Value::String(user)) => Some(UserId::parse(user.as_str())?),
        Some(_) => return Err(InvalidClaims::Type("sub")),
    };
    let groups = texts(claims, "webpubsub.group")?;
    groups.iter().try_for_each(|group| hub.group(group).map(drop))?;
    let roles = Roles::from(texts(claims, "role")?);
    Ok(Claimed { user, client: Client { roles, groups, ..Client::of(hub) } })
}

/// A claim that may be one text or a list of texts; nothing where it is not there.
fn texts(claims: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, InvalidClaims> {
    let wrong = || InvalidClaims::Type(name);
    match claims.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            list.iter().map(|entry| entry.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::roles::Right;
    use super::*;

    const AUDIENCE: &str = "http://localhost:36627/client/hubs/h1";

    fn read(claims: &Value, hub: Option<&str>) -> Result<Claimed, InvalidClaims> {
        claimed(claims.as_object().unwrap(), hub.map(|hub| Hub::parse(hub).unwrap()).as_ref())
    }

    #[test]
    fn a_token_of_the_server_library_says_who_the_client_is() {
        let claims = json!({
            "role": ["webpubsub.sendToGroup.g1"], "webpubsub.group": ["g1"], "iat": 1_795_520_783, "exp": 1_795_521_083,
            "aud": AUDIENCE, "sub": "u1",
        });
        let claimed = read(&claims, Some("H1")).unwrap();
        assert_eq!(claimed.user.unwrap().as_str(), "u1");
        assert_eq!((claimed.client.hub.as_str(), claimed.client.groups), ("h1", vec!["g1".to_owned()]));
        assert!(claimed.client.roles.allow(Right::SendToGroup, "g1"));
        let bare = read(&json!({"aud": AUDIENCE}), None).unwrap();
        assert_eq!(bare, Claimed { user: None, client: Client::of(Hub::parse("h1").unwrap()) });
    }

    #[test]
    fn lists_of_one_may_come_as_a_text() {
        let claims = json!({"aud": [AUDIENCE], "role": "webpubsub.joinLeaveGroup", "webpubsub.group": "g"});
        let claimed = read(&claims, Some("h1")).unwrap();
        assert!(claimed.client.roles.allow_on_all(Right::JoinLeaveGroup));
        assert_eq!(claimed.client.groups, ["g"]);
    }

    #[test]
    fn each_token_that_opens_nothing_says_why() {
        for (claims, hub, expected) in [
            (json!({}), Some("h1"), InvalidClaims::Audience),
            (json!({"aud": "https://x/api/hubs/h1/:send"}), Some("h1"), InvalidClaims::Audience),
            (json!({"aud": AUDIENCE}), Some("h2"), InvalidClaims::OtherHub),
            (json!({"aud": 7}), None, InvalidClaims::Type("aud")),
            (json!({"aud": AUDIENCE, "sub": 7}), None, InvalidClaims::Type("sub")),
            (json!({"aud": AUDIENCE, "role": [1]}), None, InvalidClaims::Type("role")),
            (json!({"aud": AUDIENCE, "webpubsub.group": [" "]}), None, InvalidClaims::Group(InvalidGroup::Blank)),
        ] {
            assert_eq!(read(&claims, hub), Err(expected), "{claims}");
        }
        assert!(matches!(read(&json!({"aud": AUDIENCE, "sub": "a\n"}), None), Err(InvalidClaims::User(_))));
    }
}
