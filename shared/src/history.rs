//! Which audiences have a log, and for how long: the stack's parameter `History`.

use serde::Deserialize;

use crate::config::{ConfigError, optional};
use crate::ids::{Topic, UserId};
use crate::notification::Target;
use crate::pattern::{InvalidPattern, Pattern};

/// What is kept where the stack says nothing else: five minutes of everything, topics in order.
pub const DEFAULT: &str = r#"[{"to":{"topic":"**"},"seconds":300,"ordered":true},{"to":{"user":"*"},"seconds":300}]"#;

/// Longer than any invocation: what an invocation reads must not expire under its hands.
pub const LEAST_SECONDS: u32 = 60;
/// A year.
pub const MOST_SECONDS: u32 = 366 * 24 * 3_600;
/// Most messages of one log that a rule may keep.
pub const MOST_MESSAGES: u32 = 1_000_000;

/// The rules of a stack; the first that fits an audience counts. An audience without a rule has no log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    to: Audiences,
    /// `None` for no log.
    retention: Option<Retention>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Audiences {
    Topics(Pattern),
    /// Every user, or one.
    Users(Option<UserId>),
}

/// What is kept of an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// For how long a message can be read.
    pub seconds: u32,
    /// How many messages can be read, the newest; `None` for all.
    pub messages: Option<u32>,
    /// Whether messages are pushed in the order of their offsets. Of topics alone.
    pub ordered: bool,
}

/// Why rules cannot be used. Names the rule by its place, from 0 on, its field, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHistory {
    /// No list of rules.
    #[error("not a JSON list of rules such as {{\"to\":{{\"topic\":\"orders/**\"}},\"seconds\":3600}} ({0})")]
    Shape(String),
    /// A pattern of topics is none.
    #[error("rule {rule}, `to.topic`: {source}")]
    Topic {
        /// Which rule.
        rule: usize,
        /// Why.
        source: InvalidPattern,
    },
    /// Neither every user nor one.
    #[error("rule {rule}, `to.user`: use \"*\" for every user, or the id of one")]
    User {
        /// Which rule.
        rule: usize,
    },
    /// Too short or too long.
    #[error(
        "rule {rule}, `seconds`: {seconds} is out of range; use 0 for no log, or {LEAST_SECONDS} to {MOST_SECONDS}"
    )]
    Seconds {
        /// Which rule.
        rule: usize,
        /// What it says.
        seconds: u64,
    },
    /// None or too many.
    #[error("rule {rule}, `messages`: {messages} is out of range; use 1 to {MOST_MESSAGES}, or leave it out for all")]
    Messages {
        /// Which rule.
        rule: usize,
        /// What it says.
        messages: u64,
    },
    /// Order of what has no log.
    #[error(
        "rule {rule}, `ordered`: there is no order without a log; give `seconds` of {LEAST_SECONDS} or more, or leave it out"
    )]
    OrderedWithoutLog {
        /// Which rule.
        rule: usize,
    },
    /// Order of a user's messages.
    #[error("rule {rule}, `ordered`: it is for topics alone, clients sort a user's messages by offset; leave it out")]
    OrderedUser {
        /// Which rule.
        rule: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    to: WrittenTarget,
    seconds: u64,
    messages: Option<u64>,
    #[serde(default)]
    ordered: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenTarget {
    Topic(String),
    User(String),
}

impl History {
    /// Understands a list of rules.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidHistory> {
        let written: Vec<Written> =
            serde_json::from_str(text).map_err(|error| InvalidHistory::Shape(error.to_string()))?;
        written
            .into_iter()
            .enumerate()
            .map(|(rule, written)| Rule::check(rule, written))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads `HISTORY`; [`DEFAULT`] where it is not set.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn from_env() -> Result<Self, ConfigError> {
        let text = optional("HISTORY").unwrap_or_else(|| DEFAULT.to_owned());
        Self::parse(&text).map_err(|error| ConfigError::History(error.to_string()))
    }

    /// What is kept of a topic; `None` where it has no log.
    #[must_use]
    pub fn of_topic(&self, topic: &Topic) -> Option<Retention> {
        self.first(|to| matches!(to, Audiences::Topics(pattern) if pattern.matches(topic)))
    }

    /// What is kept for a user; `None` where there is no log.
    #[must_use]
    pub fn of_user(&self, user: &UserId) -> Option<Retention> {
        self.first(|to| matches!(to, Audiences::Users(one) if one.as_ref().is_none_or(|one| one == user)))
    }

    /// What is kept of an audience; `None` where it has no log. Connections and everyone never have one.
    #[must_use]
    pub fn of(&self, target: &Target) -> Option<Retention> {
        match target {
            Target::Topic(topic) => self.of_topic(topic),
            Target::User(user) => self.of_user(user),
            _ => None,
        }
    }

    fn first(&self, fits: impl Fn(&Audiences) -> bool) -> Option<Retention> {
        self.0.iter().find(|rule| fits(&rule.to))?.retention
    }
}

impl Rule {
    fn check(rule: usize, written: Written) -> Result<Self, InvalidHistory> {
        let Written { to, seconds, messages, ordered } = written;
        let to = match to {
            WrittenTarget::Topic(pattern) => {
                let pattern = Pattern::parse(&pattern).map_err(|source| InvalidHistory::Topic { rule, source })?;
                Audiences::Topics(pattern)
            }
            WrittenTarget::User(user) if user == "*" => Audiences::Users(None),
            WrittenTarget::User(user) => {
                Audiences::Users(Some(UserId::parse(user).map_err(|_| InvalidHistory::User { rule })?))
            }
        };
        if ordered && matches!(to, Audiences::Users(_)) {
            return Err(InvalidHistory::OrderedUser { rule });
        }
        if ordered && seconds == 0 {
            return Err(InvalidHistory::OrderedWithoutLog { rule });
        }
        let allowed = u64::from(LEAST_SECONDS)..=u64::from(MOST_SECONDS);
        if seconds != 0 && !allowed.contains(&seconds) {
            return Err(InvalidHistory::Seconds { rule, seconds });
        }
        if let Some(messages) = messages.filter(|count| !(1..=u64::from(MOST_MESSAGES)).contains(count)) {
            return Err(InvalidHistory::Messages { rule, messages });
        }
        // Both are within their ranges.
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let retention = Retention { seconds: narrow(seconds), messages: messages.map(narrow), ordered };
        Ok(Self { to, retention: (seconds > 0).then_some(retention) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let history = History::parse(
            r#"[{"to":{"topic":"ticks/**"},"seconds":0},{"to":{"topic":"ticks/*"},"seconds":60},
                {"to":{"topic":"orders/*"},"seconds":86400,"messages":10,"ordered":true},{"to":{"user":"u1"},"seconds":90}]"#,
        )
        .unwrap();
        assert_eq!(history.of_topic(&topic("ticks/1")), None);
        let orders = Retention { seconds: 86_400, messages: Some(10), ordered: true };
        assert_eq!(history.of_topic(&topic("orders/1")), Some(orders));
        assert_eq!(history.of_topic(&topic("other")), None);
        let user = |name: &str| history.of_user(&UserId::parse(name).unwrap()).map(|kept| kept.seconds);
        assert_eq!((user("u1"), user("u2")), (Some(90), None));
        assert_eq!(history.of(&Target::Everyone), None);
    }

    #[test]
    fn by_default_topics_are_kept_in_order_and_users_too_for_five_minutes() {
        let history = History::parse(DEFAULT).unwrap();
        let kept = |ordered| Some(Retention { seconds: 300, messages: None, ordered });
        assert_eq!(history.of_topic(&topic("a/b")), kept(true));
        assert_eq!(history.of_user(&UserId::parse("u").unwrap()), kept(false));
        assert_eq!(History::parse("[]").unwrap(), History::default());
    }

    #[test]
    fn what_cannot_be_used_names_its_rule_its_field_and_the_fix() {
        for (rule, error) in [
            (
                r#"{"to":{"topic":"a"},"seconds":59}"#,
                "rule 0, `seconds`: 59 is out of range; use 0 for no log, or 60 to",
            ),
            (r#"{"to":{"topic":"a"},"seconds":1}"#, "rule 0, `seconds`: 1 is out of range"),
            (r#"{"to":{"topic":"a*"},"seconds":60}"#, "rule 0, `to.topic`: `*` must be a whole segment"),
            (r#"{"to":{"user":""},"seconds":60}"#, "rule 0, `to.user`: use \"*\" for every user"),
            (r#"{"to":{"topic":"a"},"seconds":60,"messages":0}"#, "rule 0, `messages`: 0 is out of range"),
            (
                r#"{"to":{"topic":"a"},"seconds":0,"ordered":true}"#,
                "rule 0, `ordered`: there is no order without a log",
            ),
            (r#"{"to":{"user":"*"},"seconds":60,"ordered":true}"#, "rule 0, `ordered`: it is for topics alone"),
            (r#"{"to":"everyone","seconds":60}"#, "not a JSON list of rules such as"),
            (r#"{"to":{"topic":"a"},"minutes":60}"#, "not a JSON list of rules such as"),
        ] {
            let told = History::parse(&format!("[{rule}]")).unwrap_err().to_string();
            assert!(told.starts_with(error), "{rule}: {told}");
        }
    }
}
