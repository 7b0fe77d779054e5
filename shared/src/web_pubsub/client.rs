//! Who a client of Web PubSub is, beside its user.

use serde::{Deserialize, Serialize};

use super::grants::Grants;
use super::hub::Hub;
use super::roles::{Right, Roles};

/// A client's hub and what its token lets it do there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Where it is.
    pub hub: Hub,
    /// What it may do.
    #[serde(default)]
    pub roles: Roles,
    /// The groups that it is in from the beginning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Where its frames go, where it offered no subprotocol and they are no events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_to: Option<SendsTo>,
}

/// The group that all frames of a client are messages to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendsTo {
    /// Its name.
    pub group: String,
    /// Whether the sender itself gets nothing.
    #[serde(default)]
    pub no_echo: bool,
}

impl Client {
    /// Somebody in a hub who may do nothing with groups.
    #[must_use]
    pub fn of(hub: Hub) -> Self {
        Self { hub, roles: Roles::default(), groups: Vec::new(), sends_to: None }
    }

    /// Whether it may do this on a group, or on all of them (`None`), with what it was granted and denied since.
    #[must_use]
    pub fn may(&self, grants: &Grants, right: Right, group: Option<&str>) -> bool {
        grants.say(right, group).unwrap_or_else(|| match group {
            Some(group) => self.roles.allow(right, group),
            None => self.roles.allow_on_all(right),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_of_one_group_beats_a_role_with_a_pattern_and_a_grant_adds_to_it() {
        let text = r#"{"hub":"Chat","roles":["webpubsub.sendToGroups.a*","other"],"groups":["g"]}"#;
        let client: Client = serde_json::from_str(text).unwrap();
        let may = |grants: &Grants, group| client.may(grants, Right::SendToGroup, Some(group));
        let none = Grants::default();
        assert!(may(&none, "a1") && !may(&none, "b"));
        let denied = none.with(Right::SendToGroup, Some("a1"), false).unwrap();
        assert!(!may(&denied, "a1") && may(&denied, "a2"));
        assert!(may(&denied.with(Right::SendToGroup, Some("b"), true).unwrap(), "b"));
        let written = r#"{"hub":"chat","roles":["webpubsub.sendToGroups.a*"],"groups":["g"]}"#;
        assert_eq!(serde_json::to_string(&client).unwrap(), written);
    }
}
