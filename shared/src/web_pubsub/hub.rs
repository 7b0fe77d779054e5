//! Names of hubs and groups, and the topics that they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{InvalidId, Topic};

/// Longest name of a hub, in characters.
const LONGEST_HUB: usize = 128;
/// Longest name of a group, in characters.
const LONGEST_GROUP: usize = 1_024;

/// A namespace of groups, in lower case: its name is the same in any case. A letter, then up to 127 letters, digits and
/// characters of ``_`,.[]`` (<https://learn.microsoft.com/rest/api/webpubsub/dataplane/web-pub-sub>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hub(Topic);

/// Why a text names no hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub is not valid; use a letter, then up to 127 letters, digits and characters of _`,.[]")]
pub struct InvalidHub;

/// Why a text names no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGroup {
    /// There is nothing in it.
    #[error("the group is blank; give it a name")]
    Blank,
    /// It is longer than Web PubSub allows.
    #[error("the group has more than {LONGEST_GROUP} characters; give it a shorter name")]
    TooLong,
    /// With its hub before it, it is no topic.
    #[error("the group is not valid with its hub before it: {0}")]
    Topic(#[from] InvalidId),
}

impl Hub {
    /// The hub of this name.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(name: &str) -> Result<Self, InvalidHub> {
        let mut letters = name.chars();
        let is_first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "_`,.[]".contains(letter);
        if !is_first || !letters.all(fits) || name.len() > LONGEST_HUB {
            return Err(InvalidHub);
        }
        Topic::parse(name.to_ascii_lowercase()).map(Self).map_err(|_| InvalidHub)
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What everybody in the hub is subscribed to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0
    }

    /// The topic that a group of the hub is. Names of groups are not the same in another case.
    ///
    /// # Errors
    /// When it is no name of a group: blank, above 1,024 characters, above 1,024 bytes with the hub before it, or with
    /// control characters.
    pub fn group(&self, name: &str) -> Result<Topic, InvalidGroup> {
        if name.trim().is_empty() {
            return Err(InvalidGroup::Blank);
        }
        if name.chars().count() > LONGEST_GROUP {
            return Err(InvalidGroup::TooLong);
        }
        Ok(Topic::parse(format!("{self}/{name}"))?)
    }

    /// The group of this hub that a topic is; `None` where it is none of its groups.
    #[must_use]
    pub fn group_of<'a>(&self, topic: &'a Topic) -> Option<&'a str> {
        topic.as_str().strip_prefix(self.as_str())?.strip_prefix('/')
    }
}

/// The group that a topic is, of whatever hub; `None` where it is a hub, or nothing of Web PubSub's.
#[must_use]
pub fn group_of(topic: &Topic) -> Option<&str> {
    topic.as_str().split_once('/').map(|(_, group)| group)
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Hub {
    type Error = InvalidHub;

    fn try_from(name: String) -> Result<Self, InvalidHub> {
        Self::parse(&name)
    }
}

impl From<Hub> for String {
    fn from(hub: Hub) -> Self {
        hub.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_the_same_in_any_case_and_has_no_slash() {
        assert_eq!(Hub::parse("Chat_1.[x]").unwrap().as_str(), "chat_1.[x]");
        assert_eq!(Hub::parse("H").unwrap().topic().as_str(), "h");
        for name in ["", "1a", "a/b", "a b", "ä", "a%20", &"h".repeat(129)] {
            assert_eq!(Hub::parse(name), Err(InvalidHub), "{name}");
        }
        assert!(Hub::parse(&"h".repeat(128)).is_ok());
    }

    #[test]
    fn a_group_is_a_topic_below_its_hub_and_leads_back() {
        let hub = Hub::parse("Chat").unwrap();
        for name in ["g1", "a/b", "/", "Ä ö", "*", "a//b"] {
            let topic = hub.group(name).unwrap();
            assert_eq!(topic.as_str(), format!("chat/{name}"));
            assert_eq!((hub.group_of(&topic), group_of(&topic)), (Some(name), Some(name)));
        }
        assert_eq!(group_of(hub.topic()), None);
        assert_eq!(Hub::parse("cha").unwrap().group_of(&hub.group("g").unwrap()), None);
    }

    #[test]
    fn what_is_no_group_is_refused_with_the_reason() {
        let hub = Hub::parse("h").unwrap();
        assert_eq!(hub.group("  "), Err(InvalidGroup::Blank));
        assert_eq!(hub.group(&"g".repeat(1_025)), Err(InvalidGroup::TooLong));
        // 1,024 bytes with the hub and its slash.
        assert!(hub.group(&"g".repeat(1_022)).is_ok());
        for name in ["g".repeat(1_023), "ä".repeat(512), "a\nb".to_owned(), "\u{1}a".to_owned()] {
            assert!(matches!(hub.group(&name), Err(InvalidGroup::Topic(_))), "{name}");
        }
    }
}
