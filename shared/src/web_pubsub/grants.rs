//! What servers have granted and denied a connection since it was made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::roles::Right;

/// Most bytes that what is granted and denied a connection may have, as JSON: it stands in the connection's row.
pub const MAX_GRANT_BYTES: usize = 4 * 1_024;

/// What a connection was granted and denied, beside its roles. What was said of one group counts before what was said of
/// all, and that before its roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Grants {
    #[serde(skip_serializing_if = "Said::is_empty")]
    send_to_group: Said,
    #[serde(skip_serializing_if = "Said::is_empty")]
    join_leave_group: Said,
}

/// What was said of one right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<String, bool>,
}

/// There is no room for what else is to be granted or denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is granted and denied the connection would have more than {MAX_GRANT_BYTES} bytes; grant all groups at once"
)]
pub struct GrantsFull;

impl Said {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Grants {
    /// Whether nothing was granted or denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with a right granted, or denied, on one group, or on all: what was said of single groups is void then.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn with(mut self, right: Right, group: Option<&str>, is_granted: bool) -> Result<Self, GrantsFull> {
        let said = match right {
            Right::SendToGroup => &mut self.send_to_group,
            Right::JoinLeaveGroup => &mut self.join_leave_group,
        };
        match group {
            Some(group) => drop(said.groups.insert(group.to_owned(), is_granted)),
            None => *said = Said { all: Some(is_granted), groups: BTreeMap::new() },
        }
        if self.to_json().len() > MAX_GRANT_BYTES { Err(GrantsFull) } else { Ok(self) }
    }

    /// Whether a right is granted or denied on a group, or on all of them (`None`); `None` where nothing was said of it.
    #[must_use]
    pub fn say(&self, right: Right, group: Option<&str>) -> Option<bool> {
        let said = match right {
            Right::SendToGroup => &self.send_to_group,
            Right::JoinLeaveGroup => &self.join_leave_group,
        };
        group.and_then(|group| said.groups.get(group).copied()).or(said.all)
    }

    /// As the connection's row has it.
    pub(crate) fn to_json(&self) -> String {
        // Names and truth can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Right::{JoinLeaveGroup, SendToGroup};

    #[test]
    fn what_was_said_of_a_group_counts_before_what_was_said_of_all() {
        let grants = Grants::default();
        assert_eq!((grants.say(SendToGroup, Some("g")), grants.is_empty()), (None, true));
        let grants = grants.with(SendToGroup, Some("g"), false).unwrap().with(JoinLeaveGroup, None, true).unwrap();
        assert_eq!(grants.say(SendToGroup, Some("g")), Some(false));
        assert_eq!((grants.say(SendToGroup, Some("h")), grants.say(SendToGroup, None)), (None, None));
        assert_eq!((grants.say(JoinLeaveGroup, Some("g")), grants.say(JoinLeaveGroup, None)), (Some(true), Some(true)));
        let read: Grants = serde_json::from_str(&grants.to_json()).unwrap();
        assert_eq!(read, grants);
        let all = grants.with(SendToGroup, None, true).unwrap();
        assert_eq!(all.say(SendToGroup, Some("g")), Some(true), "what is said of all is said of each");
    }

    #[test]
    fn there_is_an_end_to_what_a_row_takes() {
        let mut grants = Grants::default();
        let mut count = 0;
        while let Ok(more) = grants.clone().with(SendToGroup, Some(&format!("group-{count:03}")), true) {
            (grants, count) = (more, count + 1);
        }
        assert!((200..400).contains(&count), "{count}");
    }
}
