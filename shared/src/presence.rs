//! Who is there: in the topics that the stack's parameter `Presence` names, and at all where a bus is told of users.
//!
//! Who is there is what the rows of connections say. Who was told of it is written beside each user, see [`State`]. Whoever
//! changes a row asks for a [`Check`] through the notification queue; whoever gets that reconciles the two.

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, optional};
use crate::ids::{ConnectionId, Topic, UserId};
use crate::pattern::Pattern;

/// Above so many connections in a topic nobody is told who comes and goes: each would be told of each.
pub const MOST_TOLD_OF: usize = 500;

/// The topics in which it is kept who is there: the stack's parameter `Presence`.
#[derive(Debug, Clone, Default)]
pub struct Presence(Vec<Pattern>);

impl Presence {
    /// Understands a JSON list of patterns.
    ///
    /// # Errors
    /// When it is none; the error names the pattern and the fix.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let patterns: Vec<String> = serde_json::from_str(text).map_err(|error| {
            ConfigError::Presence(format!("it is not a JSON list of patterns such as [\"room/**\"] ({error})"))
        })?;
        let patterns = patterns.iter().enumerate().map(|(number, pattern)| {
            Pattern::parse(pattern).map_err(|error| ConfigError::Presence(format!("pattern {number}: {error}")))
        });
        patterns.collect::<Result<_, _>>().map(Self)
    }

    /// Reads `PRESENCE`; no topics where it is not set.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        optional("PRESENCE").map_or(Ok(Self::default()), |text| Self::parse(&text))
    }

    /// Whether it is kept nowhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is kept who is in this topic.
    #[must_use]
    pub fn is_kept(&self, topic: &Topic) -> bool {
        !topic.is_watching() && self.0.iter().any(|pattern| pattern.matches(topic))
    }
}

/// Of whom it is kept whether they are there: a user in a topic, or a user with any connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Where; `None` for anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// Who.
    pub user: UserId,
}

/// A message of the notification queue: somebody is to look whether what was told of a user is still true.
///
/// It is no notification and cannot be taken for one. Whoever may send to the queue may ask for a look: it does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// At whom.
    #[serde(rename = "presence")]
    pub subject: Subject,
    /// Whether that was done, and only others are still to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
}

impl Check {
    /// Reads a message; `None` where it is another one.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }

    /// The message.
    #[must_use]
    pub fn to_message(&self) -> String {
        // Names and a flag: there is nothing here that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A message of the notification queue: those who follow a topic's connections are to be told whether this one is in it.
///
/// It says only who is meant and how they are shown: whether they are there is what the table says by then. So it may come
/// late, or twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// The connection.
    #[serde(rename = "moved")]
    pub connection: ConnectionId,
    /// Its user, unless it is anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The topic.
    pub topic: Topic,
    /// What others are shown of it, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
}

/// A connection that is in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Which one.
    pub connection: ConnectionId,
    /// Its user, unless it is anonymous.
    pub user: Option<UserId>,
    /// What others are shown of it, as JSON.
    pub info: Option<String>,
}

impl Moved {
    /// Reads a message; `None` where it is another one.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }

    /// The message.
    #[must_use]
    pub fn to_message(&self) -> String {
        // Names: there is nothing here that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is written of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Whether the last change was that the user came.
    pub told: bool,
    /// The last change: milliseconds since the epoch, or one more than the one before.
    pub change: i64,
    /// Whether that change still has to be told.
    pub unsent: bool,
}

impl State {
    /// Whether it says of a user what is said where nothing is written.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        !self.told && !self.unsent
    }

    /// The change that is due, where it was just seen whether the user is there; `None` where there is none.
    #[must_use]
    pub fn after(self, is_there: bool, now: i64) -> Option<Self> {
        (self.told != is_there).then(|| Self { told: is_there, change: now.max(self.change + 1), unsent: true })
    }
}

/// Who is in a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Here {
    /// How many: users, and connections without one.
    pub count: u64,
    /// How many connections they have.
    pub connections: u64,
    /// The first of them that have a name, by their names.
    pub users: Vec<Present>,
    /// Whether there are more users than these, or so many connections that not all were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The last list of changes that was told before all this was read.
    pub change: i64,
}

/// A user who is in a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Present {
    /// Who.
    pub user: UserId,
    /// With how many connections.
    pub connections: u64,
    /// Since when, in milliseconds since the epoch.
    pub since: i64,
}

impl Here {
    /// As many of the names as there is room for, in bytes of JSON.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        let mut size = 0;
        let fitting = self.users.iter().take_while(|present| {
            // Names and numbers can be written; a comma follows.
            size += serde_json::to_string(present).map_or(0, |text| text.len() + 1);
            size <= bytes
        });
        let fitting = fitting.count();
        self.more |= fitting < self.users.len();
        self.users.truncate(fitting);
        self
    }

    /// Counts a connection; those of one user come one after the other.
    pub(crate) fn add(&mut self, user: Option<UserId>, since: i64, last: &mut Option<UserId>, most: usize) {
        self.connections += 1;
        if user.is_some() && user == *last {
            if let Some(known) = self.users.last_mut().filter(|known| Some(&known.user) == user.as_ref()) {
                (known.connections, known.since) = (known.connections + 1, known.since.min(since));
            }
            return;
        }
        self.count += 1;
        last.clone_from(&user);
        match user {
            Some(user) if self.users.len() < most => self.users.push(Present { user, connections: 1, since }),
            Some(_) => self.more = true,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    #[test]
    fn it_is_kept_of_the_topics_that_a_pattern_names_and_of_no_other() {
        let presence = Presence::parse(r#"["room/**","lobby"]"#).unwrap();
        let kept = |name: &str| presence.is_kept(&topic(name));
        assert!(kept("room/1") && kept("lobby") && !kept("room") && !kept("orders/1"));
        assert!(!Presence::parse(r#"["**"]"#).unwrap().is_kept(&topic("lobby").watching()));
        assert!(!Presence::parse("[]").unwrap().is_kept(&topic("lobby")));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_place_and_fix() {
        for (text, error) in [
            ("room", "the environment variable PRESENCE is not valid: it is not a JSON list of patterns such as"),
            (r#"{"topic":"a"}"#, "the environment variable PRESENCE is not valid: it is not a JSON list"),
            (
                r#"["a","room-*"]"#,
                "the environment variable PRESENCE is not valid: pattern 1: `*` must be a whole segment",
            ),
            (r#"[""]"#, "the environment variable PRESENCE is not valid: pattern 0: the pattern is empty"),
        ] {
            let told = Presence::parse(text).unwrap_err().to_string();
            assert!(told.starts_with(error), "{text}: {told}");
        }
    }

    #[test]
    fn a_look_is_read_as_it_was_written_and_a_notification_is_none() {
        let user = UserId::parse("u\"1").unwrap();
        for (topic, seen) in [(Some(topic("room/1")), true), (None, false)] {
            let look = Check { subject: Subject { topic, user: user.clone() }, seen };
            assert_eq!(Check::parse(&look.to_message()), Some(look));
        }
        for other in [r#"{"to":"everyone","data":1}"#, r#"{"presence":"ends"}"#, "x", r#"{"presence":{"topic":"a"}}"#] {
            assert_eq!(Check::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_change_is_due_where_what_was_told_is_not_what_is_seen_and_changes_only_rise() {
        let absent = State::default();
        assert_eq!(absent.after(false, 7), None);
        let came = absent.after(true, 7).unwrap();
        assert_eq!(came, State { told: true, change: 7, unsent: true });
        assert_eq!(came.after(true, 9), None, "also where it was not sent: there is no other change");
        assert_eq!(
            came.after(false, 3),
            Some(State { told: false, change: 8, unsent: true }),
            "a clock that is behind"
        );
    }

    #[test]
    fn users_are_counted_once_with_all_their_connections_and_nameless_connections_one_by_one() {
        let mut here = Here::default();
        let mut last = None;
        for (user, since) in [("", 9), ("", 8), ("a", 7), ("a", 5), ("a", 6), ("b", 1), ("c", 2), ("c", 3)] {
            here.add(UserId::parse(user).ok(), since, &mut last, 2);
        }
        let present = |user: &str, connections, since| {
            let user = UserId::parse(user).unwrap();
            Present { user, connections, since }
        };
        let users = vec![present("a", 3, 5), present("b", 1, 1)];
        assert_eq!(here, Here { count: 5, connections: 8, users: users.clone(), more: true, change: 0 });
        let size = serde_json::to_string(&users).unwrap().len();
        assert_eq!(here.clone().within(size).users, users);
        assert_eq!(
            Here { more: false, ..here }.within(size - 2),
            Here { count: 5, connections: 8, users: users[..1].to_vec(), more: true, change: 0 }
        );
    }
}
