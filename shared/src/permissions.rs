//! What a connection may do: which topics it may subscribe to and publish to.
//!
//! A permission is an action and a pattern of topics, `subscribe:orders/*` or `publish:chat/**`. The authorizer writes
//! them into its context, and `connect` and `default` read them from there with every event; nothing else knows how they
//! are written.
//!
//! In a pattern `*` stands for one segment of a topic, and `**` at the end for one segment or more. All else stands for
//! itself, except that `%` and two hexadecimal digits write a byte that has a meaning here: a space (`%20`, because spaces
//! separate permissions), `%2A`, `%25`. A segment with an encoded slash (`%2F`) matches nothing, as no topic's segment has
//! one. [`for_user`] relies on that: no user can name itself into somebody else's topics.

use std::fmt;

use crate::ids::{Topic, UserId};

/// Under which name the authorizer's context has the user.
pub const USER: &str = "user";

/// Under which name the authorizer's context has what the application knows of a client, as the text of a JSON object.
pub const CLAIMS: &str = "claims";

/// Under which name the authorizer's context has the permissions.
pub const PERMISSIONS: &str = "permissions";

/// Stands for the user's id wherever permissions come from.
const PLACEHOLDER: &str = "{user}";

/// Longest pattern in bytes, as long as the longest topic.
const LONGEST_PATTERN: usize = 1_024;

/// What can be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// To be told of a topic.
    Subscribe,
    /// To notify the subscribers of a topic.
    Publish,
}

/// One action on the topics of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    action: Action,
    pattern: Vec<Segment>,
}

/// All that a connection may do. Without any it may do nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

/// Why a text is no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPermission {
    /// It begins with something else, as most OAuth scopes do.
    #[error("a permission must begin with subscribe: or publish:")]
    Action,
    /// It names no topics.
    #[error("the pattern of a permission is empty; write ** for every topic")]
    Empty,
    /// It is longer than a topic can be.
    #[error("the pattern of a permission is longer than 1024 bytes")]
    TooLong,
    /// A `*` is only a part of a segment.
    #[error("`*` must be a whole segment between slashes; write %2A where the character is meant")]
    Star,
    /// Something comes after `**`.
    #[error("`**` must be the last segment")]
    Rest,
    /// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("`%` must be followed by two hexadecimal digits that make UTF-8; write %25 where the character is meant")]
    Escape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// This text.
    Literal(String),
    /// `*`
    Any,
    /// `**`
    Rest,
}

impl Action {
    /// The word that permissions begin with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
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
            _ => return Err(InvalidPermission::Action),
        };
        if pattern.is_empty() {
            return Err(InvalidPermission::Empty);
        }
        if pattern.len() > LONGEST_PATTERN {
            return Err(InvalidPermission::TooLong);
        }
        let pattern = pattern.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        match pattern.iter().position(|segment| *segment == Segment::Rest) {
            Some(place) if place + 1 < pattern.len() => Err(InvalidPermission::Rest),
            _ => Ok(Self { action, pattern }),
        }
    }

    /// Whether it allows this.
    #[must_use]
    pub fn allows(&self, action: Action, topic: &Topic) -> bool {
        if self.action != action {
            return false;
        }
        let mut names = topic.as_str().split('/');
        for segment in &self.pattern {
            let Some(name) = names.next() else { return false };
            match segment {
                Segment::Literal(text) if text == name => {}
                Segment::Literal(_) => return false,
                Segment::Any => {}
                Segment::Rest => return true,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.action.name())?;
        for (number, segment) in self.pattern.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "/" })?;
            match segment {
                Segment::Literal(text) => f.write_str(&escaped(text))?,
                Segment::Any => f.write_str("*")?,
                Segment::Rest => f.write_str("**")?,
            }
        }
        Ok(())
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

impl Segment {
    fn parse(text: &str) -> Result<Self, InvalidPermission> {
        match text {
            "*" => Ok(Self::Any),
            "**" => Ok(Self::Rest),
            text if text.contains('*') => Err(InvalidPermission::Star),
            text => unescaped(text).map(Self::Literal).ok_or(InvalidPermission::Escape),
        }
    }
}

/// The text with `%XX` for every character that separates or means something.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' ' | '\t' | '\n' | '\x0c' | '\r' | '%' | '/' | '*' | '{' | '}' => {
                escaped.push_str(&format!("%{:02X}", u32::from(character)));
            }
            character => escaped.push(character),
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let [high, low] = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
            bytes.push(u8::try_from(high? * 16 + low?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
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
            ("subscribe:", InvalidPermission::Empty),
            (long.as_str(), InvalidPermission::TooLong),
            ("subscribe:order-*", InvalidPermission::Star),
            ("subscribe:a/***", InvalidPermission::Star),
            ("subscribe:**/a", InvalidPermission::Rest),
            ("subscribe:**/**", InvalidPermission::Rest),
            ("subscribe:a%2", InvalidPermission::Escape),
            ("subscribe:a%zz", InvalidPermission::Escape),
            ("subscribe:a%+1", InvalidPermission::Escape),
            ("subscribe:%FF", InvalidPermission::Escape),
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
