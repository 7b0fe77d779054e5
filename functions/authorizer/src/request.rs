//! The event of an authorizer, and where a client can put its token.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidings::handshake::TOKEN_SUBPROTOCOL;
use tidings::{ConnectionId, Handshake, UserId};

use crate::Denial;

/// The part of API Gateway's `REQUEST` authorizer event that matters here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    pub(crate) method_arn: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    query_string_parameters: Option<BTreeMap<String, String>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    request_context: Context,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    connection_id: Option<String>,
    request_id: Option<String>,
    identity: Identity,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    source_ip: Option<String>,
}

/// What a client shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    None,
    Token(String),
}

impl Request {
    /// The handshake that it is about; `None` where it does not say which connection would come of it.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        let context = &self.request_context;
        let mut handshake = Handshake::new(ConnectionId::parse(context.connection_id.as_deref()?).ok()?);
        handshake.source_ip = context.identity.source_ip.clone();
        handshake.request_id = context.request_id.clone().unwrap_or_default();
        for (name, value) in all(self.headers.as_ref(), self.multi_value_headers.as_ref()) {
            handshake = handshake.with_header(name, value);
        }
        let (single, multiple) = (&self.query_string_parameters, &self.multi_value_query_string_parameters);
        for (name, value) in all(single.as_ref(), multiple.as_ref()) {
            handshake = handshake.with_query(name, value);
        }
        Some(handshake)
    }
}

/// What the client shows to say who it is.
pub(crate) fn credential(handshake: &Handshake) -> Result<Credential, Denial> {
    Ok(token(handshake)?.map_or(Credential::None, Credential::Token))
}

/// The token, from any of its three places: `?access_token=`, `Authorization: Bearer`, or a subprotocol.
pub(crate) fn token(handshake: &Handshake) -> Result<Option<String>, Denial> {
    let mut tokens = handshake.queries("access_token").collect::<Vec<_>>();
    for value in handshake.headers("authorization") {
        tokens.push(bearer(value).ok_or(Denial::Handshake("the Authorization header is not `Bearer <token>`"))?);
    }
    let offers = handshake.headers("sec-websocket-protocol").flat_map(|list| list.split(',')).map(str::trim);
    tokens.extend(offers.filter_map(|offer| offer.strip_prefix(TOKEN_SUBPROTOCOL)));
    let Some((first, others)) = tokens.split_first() else { return Ok(None) };
    if others.iter().any(|other| other != first) {
        return Err(Denial::Handshake("the handshake has several tokens, which are not the same"));
    }
    if first.is_empty() {
        return Err(Denial::Handshake("the token is empty"));
    }
    Ok(Some((*first).to_owned()))
}

/// Whether the client says by itself who it is.
pub(crate) fn names_itself(handshake: &Handshake) -> bool {
    handshake.query("user").is_some()
}

/// The user that the client calls itself.
pub(crate) fn named_user(handshake: &Handshake) -> Result<Option<UserId>, Denial> {
    handshake.query("user").map(UserId::parse).transpose().map_err(Denial::User)
}

/// Every name with each of its values: from the lists where there are any, for they hold what the map does.
fn all<'a>(
    single: Option<&'a BTreeMap<String, String>>,
    multiple: Option<&'a BTreeMap<String, Vec<String>>>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let single = single.filter(|_| multiple.is_none()).into_iter().flatten();
    let single = single.map(|(name, value)| (name.as_str(), value.as_str()));
    let multiple = multiple.into_iter().flatten();
    let each =
        |(name, values): (&'a String, &'a Vec<String>)| values.iter().map(|value| (name.as_str(), value.as_str()));
    single.chain(multiple.flat_map(each))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(event: Value) -> Result<Option<String>, Denial> {
        let mut event = event;
        event["requestContext"] = json!({"connectionId": "c="});
        super::token(&serde_json::from_value::<Request>(event).unwrap().handshake().unwrap())
    }

    #[test]
    fn a_token_is_found_in_each_of_its_three_places() {
        for event in [
            json!({"queryStringParameters": {"access_token": "a.b.c"}}),
            json!({"multiValueQueryStringParameters": {"access_token": ["a.b.c"]}}),
            json!({"headers": {"Authorization": "Bearer a.b.c"}}),
            json!({"headers": {"authorization": "bearer  a.b.c "}}),
            json!({"multiValueHeaders": {"Sec-WebSocket-Protocol": ["tidings.v1.json, access_token.a.b.c"]}}),
            json!({"headers": {"sec-websocket-protocol": "access_token.a.b.c,raw"}}),
        ] {
            assert_eq!(token(event.clone()), Ok(Some("a.b.c".to_owned())), "{event}");
        }
    }

    #[test]
    fn no_token_is_none_and_null_is_no_token() {
        for event in [
            json!({}),
            json!({"headers": null, "multiValueHeaders": null, "queryStringParameters": null}),
            json!({"headers": {"Sec-WebSocket-Protocol": "tidings.v1.json"}}),
            json!({"queryStringParameters": {"Access_Token": "a"}}),
        ] {
            assert_eq!(token(event.clone()), Ok(None), "{event}");
        }
    }

    #[test]
    fn the_same_token_may_come_twice_and_two_tokens_may_not() {
        let twice = json!({"headers": {"Authorization": "Bearer a"}, "queryStringParameters": {"access_token": "a"}});
        assert_eq!(token(twice), Ok(Some("a".to_owned())));
        for event in [
            json!({"headers": {"Authorization": "Bearer a"}, "queryStringParameters": {"access_token": "b"}}),
            json!({"headers": {"Authorization": "Bearer a", "authorization": "Bearer b"}}),
            json!({"multiValueHeaders": {"Authorization": ["Bearer a", "Bearer b"]}}),
            json!({"multiValueQueryStringParameters": {"access_token": ["a", "b"]}}),
            json!({"headers": {"Sec-WebSocket-Protocol": "access_token.a, access_token.b"}}),
            json!({"headers": {"Sec-WebSocket-Protocol": "access_token.a, access_token."}}),
        ] {
            assert!(matches!(token(event.clone()), Err(Denial::Handshake(_))), "{event}");
        }
    }

    #[test]
    fn a_place_for_a_token_without_one_is_not_the_same_as_none() {
        for event in [
            json!({"queryStringParameters": {"access_token": ""}}),
            json!({"headers": {"Authorization": "Basic dTpw"}}),
            json!({"headers": {"Authorization": "Bearer"}}),
            json!({"headers": {"Authorization": ""}}),
            json!({"headers": {"Sec-WebSocket-Protocol": "tidings.v1.json, access_token."}}),
        ] {
            assert!(matches!(token(event.clone()), Err(Denial::Handshake(_))), "{event}");
        }
    }
}
