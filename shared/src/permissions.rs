//! What a connection may do: which topics it may subscribe to and publish to, and of which it may know who is there.
//!
//! A permission is an action and a pattern of topics, `subscribe:orders/*`, `publish:chat/**` or `presence:chat/**`. The authorizer writes
//! them into its context, and `connect` and `default` read them from there with every event; nothing else knows how they
//! are written.
//!
//! See [`Pattern`] for what a pattern can say. A user's id in it stays within its own segment ([`for_user`]), so no user can
//! name itself into somebody else's topics.

use std::fmt;

use crate::ids::{Topic, UserId};
use crate::pattern::{InvalidPattern, Pattern, escaped};

/// Under which name the authorizer's context has the user.
pub const USER: &str = "user";

/// Under which name the authorizer's context has what the application knows of a client, as the text of a JSON object.
pub const CLAIMS: &str = "claims";

/// Under which name the authorizer's context has the connection's protocol, where it is none of ours.
pub const PROTOCOL: &str = "protocol";

/// Under which name the authorizer's context has what a client of Web PubSub is, as the text of a JSON object.
pub const WEB_PUBSUB: &str = "webPubSub";

/// Under which name the authorizer's context has the permissions.
pub const PERMISSIONS: &str = "permissions";
/// The field of its context with what a client of Web PubSub comes back by to its connection.
pub const RECONNECTION: &str = "reconnectionToken";
/// The field of its context with the connection that a client of Web PubSub has come back to.
pub const RECOVERED: &str = "recovered";

/// Stands for the user's id wherever permissions come from.
const PLACEHOLDER: &str = "{user}";

/// What can be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// To be told of a topic.
    Subscribe,
    /// To notify the subscribers of a topic.
    Publish,
    /// To be told who is subscribed to a topic.
    Presence,
}

/// One action on the topics of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    action: Action,
    pattern: Pattern,
}

/// All that a connection may do. Without any it may do nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

/// Why a text is no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermission {
    /// It begins with something else, as most OAuth scopes do.
    #[error("a permission must begin with subscribe:, publish: or presence:")]
    Action,
    /// It does not say which topics.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl Action {
    /// The word that permissions begin with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
        }
    }
}

impl Permission {
    /// Understands one permission.
    ///
    /// # Errors
    /// When it is none; [`InvalidPermission::Action`] tells what is not meant to be one.
    pub fn parse(text: &str) -> Result<Self, InvalidPermission> {
        let (action, pattern) = match text.split_once(':') {
            Some(("subscribe", pattern)) => (Action::Subscribe, pattern),
            Some(("publish", pattern)) => (Action::Publish, pattern),
            Some(("presence", pattern)) => (Action::Presence, pattern),
            _ => return Err(InvalidPermission::Action),
        };
        Ok(Self { action, pattern: Pattern::parse(pattern)? })
    }

    /// Whether it allows this.
    #[must_use]
    pub fn allows(&self, action: Action, topic: &Topic) -> bool {
        self.action == action && self.pattern.matches(topic)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action.name(), self.pattern)
    }
}

impl Permissions {
    /// Understands permissions that are separated by spaces. None at all is an empty text.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn parse(text: &str) -> Result<Self, InvalidPermission> {
        text.split_ascii_whitespace().map(Permission::parse).collect()
    }

    /// Whether they allow this.
    #[must_use]
    pub fn allow(&self, action: Action, topic: &Topic) -> bool {
        self.0.iter().any(|permission| permission.allows(action, topic))
    }

    /// The first of these topics that they do not allow this on.
    #[must_use]
    pub fn first_refused<'a>(&self, action: Action, topics: &'a [Topic]) -> Option<&'a Topic> {
        topics.iter().find(|topic| !self.allow(action, topic))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().collect())
    }
}

impl fmt::Display for Permissions {
    /// As [`Permissions::parse`] understands them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, permission) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { " " })?;
            permission.fmt(f)?;
        }
        Ok(())
    }
}

/// A permission's text with the user in the place of `{user}`; `None` where it has that place and nobody is named.
///
/// Whatever the user's id has in it, it stays within its own segment and stands for itself.
#[must_use]
pub fn for_user(text: &str, user: Option<&UserId>) -> Option<String> {
    if !text.contains(PLACEHOLDER) {
        return Some(text.to_owned());
    }
    Some(text.replace(PLACEHOLDER, &escaped(user?.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        for (pattern, allowed, refused) in [
            ("orders", &["orders"][..], &["orders/1", "order", "Orders", "orders/"][..]),
            ("orders/*", &["orders/1", "orders/", "orders/ü"], &["orders", "orders/1/2", "order/1"]),
            ("*/news", &["a/news", "/news"], &["news", "a/b/news", "a/news/"]),
            ("orders/**", &["orders/1", "orders/1/2/3", "orders/"], &["orders", "order/1"]),
            ("**", &["a", "a/b", "/", "//"], &[]),
            ("*/**", &["a/b", "a/b/c"], &["a"]),
            ("a%20b/%2A", &["a b/*"], &["a b/c", "a%20b/*"]),
            ("a%2Fb", &[], &["a/b", "a%2Fb"]),
        ] {
            let permission = Permission::parse(&format!("subscribe:{pattern}")).unwrap();
            for name in allowed {
                assert!(permission.allows(Action::Subscribe, &topic(name)), "{pattern} {name}");
                assert!(!permission.allows(Action::Publish, &topic(name)), "another action: {pattern} {name}");
            }
            for name in refused {
                assert!(!permission.allows(Action::Subscribe, &topic(name)), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_is_no_permission_is_told_why() {
        let long = format!("publish:{}", "x".repeat(1_025));
        for (text, error) in [
            ("openid", InvalidPermission::Action),
            ("", InvalidPermission::Action),
            ("Subscribe:a", InvalidPermission::Action),
            ("write:orders", InvalidPermission::Action),
            ("subscribe:", InvalidPattern::Empty.into()),
            (long.as_str(), InvalidPattern::TooLong.into()),
            ("subscribe:order-*", InvalidPattern::Star.into()),
            ("subscribe:a/***", InvalidPattern::Star.into()),
            ("subscribe:**/a", InvalidPattern::Rest.into()),
            ("subscribe:**/**", InvalidPattern::Rest.into()),
            ("subscribe:a%2", InvalidPattern::Escape.into()),
            ("subscribe:a%zz", InvalidPattern::Escape.into()),
            ("subscribe:a%+1", InvalidPattern::Escape.into()),
            ("subscribe:%FF", InvalidPattern::Escape.into()),
        ] {
            assert_eq!(Permission::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn several_are_separated_by_spaces_and_none_allows_nothing() {
        let permissions = Permissions::parse(" subscribe:a  publish:b/* ").unwrap();
        assert!(permissions.allow(Action::Subscribe, &topic("a")));
        assert!(permissions.allow(Action::Publish, &topic("b/1")));
        assert!(!permissions.allow(Action::Publish, &topic("a")));
        assert_eq!(permissions.to_string(), "subscribe:a publish:b/*");
        let topics = [topic("a"), topic("b"), topic("c")];
        assert_eq!(permissions.first_refused(Action::Subscribe, &topics), Some(&topics[1]));
        assert_eq!(Permissions::parse(""), Ok(Permissions::default()));
        assert!(!Permissions::default().allow(Action::Subscribe, &topic("a")));
    }

    /// A user's or topic's name with everything in it that could mean something.
    fn name(random: &mut fastrand::Rng) -> String {
        let characters = ['a', 'b', '/', '*', '%', ' ', '{', '}', '2', 'F', ':', '.', 'ü', '\u{a0}', '"', '|'];
        (0..random.usize(1..12)).map(|_| characters[random.usize(..characters.len())]).collect()
    }

    #[test]
    fn whatever_a_user_is_called_it_stays_in_its_own_segment() {
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..20_000 {
            let user = UserId::parse(name(&mut random)).unwrap();
            let text = for_user("subscribe:users/{user}/**", Some(&user)).unwrap();
            assert_eq!(text.split_ascii_whitespace().count(), 1, "{user:?} {text}");
            let permission = Permission::parse(&text).unwrap();
            let other = name(&mut random);
            let asked = topic(&format!("users/{other}/inbox"));
            let own = asked.as_str().split('/').nth(1) == Some(user.as_str());
            assert_eq!(permission.allows(Action::Subscribe, &asked), own, "{user:?} {asked:?}");
            assert!(!permission.allows(Action::Subscribe, &topic(&other)) || other.starts_with("users/"));
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut valid = 0;
        for _ in 0..50_000 {
            let Ok(permission) = Permission::parse(&format!("publish:{}", name(&mut random))) else { continue };
            valid += 1;
            assert_eq!(Permission::parse(&permission.to_string()), Ok(permission.clone()), "{permission}");
            assert_eq!(Permissions::parse(&permission.to_string()).unwrap().iter().collect::<Vec<_>>(), [&permission]);
        }
        assert!(valid > 5_000, "{valid}");
    }

    #[test]
    fn a_pattern_without_stars_allows_the_topic_of_its_own_name_and_no_other() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..20_000 {
            let (one, other) = (topic(&name(&mut random)), topic(&name(&mut random)));
            let pattern: Vec<_> = one.as_str().split('/').map(escaped).collect();
            let permission = Permission::parse(&format!("subscribe:{}", pattern.join("/"))).unwrap();
            assert!(permission.allows(Action::Subscribe, &one), "{one:?}");
            assert_eq!(permission.allows(Action::Subscribe, &other), one == other, "{one:?} {other:?}");
        }
    }

    #[test]
    fn nobody_has_what_needs_a_name() {
        assert_eq!(for_user("subscribe:users/{user}", None), None);
        assert_eq!(for_user("subscribe:news", None).as_deref(), Some("subscribe:news"));
    }
}
