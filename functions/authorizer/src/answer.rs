//! What API Gateway is told.

use std::collections::BTreeMap;

use serde::Serialize;
use tidings::permissions::{CLAIMS, PERMISSIONS, PROTOCOL, RECONNECTION, RECOVERED, USER, WEB_PUBSUB};
use tidings::protocol::Protocol;

use crate::Denial;
use crate::identity::{Identity, Reconnection};

/// API Gateway takes no more than 8 KB from an authorizer and fails the handshake with 500 otherwise.
const MOST_BYTES: usize = 8 * 1024;

/// Stands for a client without a name.
const NOBODY: &str = "anonymous";

/// A policy for one method, and who the client is: the context comes back with every event of the connection, in
/// `requestContext.authorizer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    principal_id: String,
    policy_document: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<BTreeMap<&'static str, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

impl Answer {
    /// Lets this client in, if API Gateway can carry what is to be said about it.
    pub(crate) fn allow(resource: &str, client: &Identity, protocol: Protocol) -> Result<Self, Denial> {
        let user = client.user.as_ref().map(|user| user.as_str().to_owned());
        let permissions = client.permissions.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut context = BTreeMap::from([(PERMISSIONS, permissions)]);
        context.extend(user.clone().map(|user| (USER, user)));
        if protocol.has_other_frames() {
            context.insert(PROTOCOL, protocol.name().to_owned());
        }
        if let Some(client) = &client.web_pubsub {
            // Names can be written.
            context.insert(WEB_PUBSUB, serde_json::to_string(client).unwrap_or_default());
        }
        match &client.reconnection {
            Some(Reconnection::By(token)) => drop(context.insert(RECONNECTION, token.clone())),
            Some(Reconnection::To(connection)) => drop(context.insert(RECOVERED, connection.to_string())),
            None => {}
        }
        if !client.claims.is_empty() {
            // Texts and numbers under text: there is nothing in it that cannot be written.
            context.insert(CLAIMS, serde_json::to_string(&client.claims).unwrap_or_default());
        }
        let answer = Self {
            principal_id: user.unwrap_or_else(|| NOBODY.to_owned()),
            policy_document: policy("Allow", resource),
            context: Some(context),
        };
        match serde_json::to_vec(&answer) {
            Ok(bytes) if bytes.len() <= MOST_BYTES => Ok(answer),
            _ => {
                let fix = "give it fewer ones, or shorter ones with `*` and `**`";
                Err(Denial::Token(format!(
                    "has more permissions and claims than the 8 KB that API Gateway carries; {fix}"
                )))
            }
        }
    }

    /// Lets nobody in.
    pub(crate) fn deny(resource: &str) -> Self {
        Self { principal_id: NOBODY.to_owned(), policy_document: policy("Deny", resource), context: None }
    }
}

fn policy(effect: &'static str, resource: &str) -> Policy {
    let statement = Statement { action: "execute-api:Invoke", effect, resource: resource.to_owned() };
    Policy { version: "2012-10-17", statement: [statement] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings::UserId;
    use tidings::permissions::Permissions;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect";

    fn client(user: Option<&str>, permissions: &str) -> Identity {
        let user = user.map(|user| UserId::parse(user).unwrap());
        Identity { user, permissions: Some(Permissions::parse(permissions).unwrap()), ..Identity::default() }
    }

    #[test]
    fn an_answer_names_this_method_and_nothing_else() {
        let answer = Answer::allow(ARN, &client(Some("u1"), "subscribe:a publish:b/*"), Protocol::default()).unwrap();
        let policy = |effect| {
            json!({"Version": "2012-10-17", "Statement": [
                {"Action": "execute-api:Invoke", "Effect": effect, "Resource": ARN}]})
        };
        let context = json!({"user": "u1", "permissions": "subscribe:a publish:b/*"});
        let allow = json!({"principalId": "u1", "policyDocument": policy("Allow"), "context": context});
        assert_eq!(serde_json::to_value(answer).unwrap(), allow);
        let deny = json!({"principalId": "anonymous", "policyDocument": policy("Deny")});
        assert_eq!(serde_json::to_value(Answer::deny(ARN)).unwrap(), deny);
    }

    #[test]
    fn a_client_without_a_name_has_no_user() {
        let answer = serde_json::to_value(Answer::allow(ARN, &client(None, ""), Protocol::default()).unwrap()).unwrap();
        assert_eq!((&answer["principalId"], &answer["context"]), (&json!("anonymous"), &json!({"permissions": ""})));
    }

    #[test]
    fn what_api_gateway_cannot_carry_is_denied() {
        let many = |count: usize| {
            let entries = (0..count).map(|number| format!("subscribe:orders/{number:05}"));
            entries.collect::<Vec<_>>().join(" ")
        };
        assert!(Answer::allow(ARN, &client(Some("u"), &many(300)), Protocol::default()).is_ok());
        let denial = Answer::allow(ARN, &client(Some("u"), &many(400)), Protocol::default()).unwrap_err();
        assert!(denial.to_string().contains("8 KB"), "{denial}");
    }
}
