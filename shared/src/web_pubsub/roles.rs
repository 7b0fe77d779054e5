//! What a token's roles let a client do.
//!
//! `webpubsub.sendToGroup` is about every group, `webpubsub.sendToGroup.<group>` about one, and `webpubsub.sendToGroups.<pattern>`
//! about those that look like the pattern; the same for `joinLeaveGroup`
//! (<https://learn.microsoft.com/azure/azure-web-pubsub/concept-client-protocols#permissions>). A role that is none of
//! these lets nobody do anything.

use serde::{Deserialize, Serialize};

use super::hub::Hub;
use crate::pattern::escaped;
use crate::permissions::{Action, Permission, Permissions};

const PREFIX: &str = "webpubsub.";
/// Most stars that a pattern may have.
const MOST_STARS: usize = 5;

/// What a client of Web PubSub can be allowed to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// To send to it, as a member or not.
    SendToGroup,
    /// To join it and to leave it.
    JoinLeaveGroup,
}

/// The roles of a client, as its token has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Roles(Vec<Role>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Role {
    right: Right,
    groups: Groups,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Groups {
    All,
    One(String),
    Like(Vec<Piece>),
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This letter.
    Letter(char),
    /// `?`: one that is no dot.
    One,
    /// `*`: as many as there are that are no dots.
    Some,
    /// `**`: as many as there are.
    All,
}

impl Right {
    const ALL: [Self; 2] = [Self::SendToGroup, Self::JoinLeaveGroup];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SendToGroup => "sendToGroup",
            Self::JoinLeaveGroup => "joinLeaveGroup",
        }
    }

    /// The right of this name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name().eq_ignore_ascii_case(name))
    }

    /// What it is among our own permissions.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::SendToGroup => Action::Publish,
            Self::JoinLeaveGroup => Action::Subscribe,
        }
    }
}

impl Roles {
    /// Whether they allow this on a group.
    #[must_use]
    pub fn allow(&self, right: Right, group: &str) -> bool {
        self.0.iter().any(|role| role.right == right && role.groups.have(group))
    }

    /// Whether they allow this on every group.
    #[must_use]
    pub fn allow_on_all(&self, right: Right) -> bool {
        self.0.iter().any(|role| role.right == right && role.groups == Groups::All)
    }

    /// Those of them as our own permissions that these can say: all but patterns. They allow nothing that the roles do not.
    #[must_use]
    pub fn permissions(&self, hub: &Hub) -> Permissions {
        self.0.iter().filter_map(|role| role.permission(hub)).collect()
    }
}

impl Role {
    fn parse(text: String) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let found = Right::ALL.into_iter().find_map(|right| Some((right, rest.strip_prefix(right.name())?)));
        let (right, rest) = found?;
        let groups = match (rest, rest.strip_prefix('.'), rest.strip_prefix("s.")) {
            ("", _, _) => Groups::All,
            (_, Some(group), _) if !group.is_empty() => Groups::One(group.to_owned()),
            (_, _, Some(pattern)) => Groups::Like(pieces(pattern)?),
            _ => return None,
        };
        Some(Self { right, groups, text })
    }

    fn permission(&self, hub: &Hub) -> Option<Permission> {
        let below = match &self.groups {
            Groups::All => "**".to_owned(),
            Groups::One(group) => group.split('/').map(escaped).collect::<Vec<_>>().join("/"),
            Groups::Like(_) => return None,
        };
        Permission::parse(&format!("{}:{hub}/{below}", self.right.action().name())).ok()
    }
}

impl From<Vec<String>> for Roles {
    fn from(roles: Vec<String>) -> Self {
        Self(roles.into_iter().filter_map(Role::parse).collect())
    }
}

impl From<Roles> for Vec<String> {
    fn from(roles: Roles) -> Self {
        roles.0.into_iter().map(|role| role.text).collect()
    }
}

impl Groups {
    fn have(&self, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => name == group,
            Self::Like(pieces) => fits(pieces, group),
        }
    }
}

/// A pattern taken apart; `None` where it is none.
fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let (mut pieces, mut stars) = (Vec::new(), 0);
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        pieces.push(match letter {
            '\\' => Piece::Letter(letters.next()?),
            '?' => Piece::One,
            '*' if letters.next_if_eq(&'*').is_some() => {
                stars += 2;
                Piece::All
            }
            '*' => {
                stars += 1;
                Piece::Some
            }
            letter => Piece::Letter(letter),
        });
    }
    (!pieces.is_empty() && stars <= MOST_STARS).then_some(pieces)
}

/// Whether a name looks like a pattern: all places of the pattern are kept that the name can be at, so that no name takes
/// longer than its length times the pattern's.
fn fits(pieces: &[Piece], name: &str) -> bool {
    let mut at = vec![false; pieces.len() + 1];
    at[0] = true;
    skip_stars(pieces, &mut at);
    for letter in name.chars() {
        let mut next = vec![false; pieces.len() + 1];
        for (place, piece) in pieces.iter().enumerate().filter(|(place, _)| at[*place]) {
            match piece {
                Piece::Letter(own) if *own == letter => next[place + 1] = true,
                Piece::One if letter != '.' => next[place + 1] = true,
                Piece::Some if letter != '.' => next[place] = true,
                Piece::All => next[place] = true,
                Piece::Letter(_) | Piece::One | Piece::Some => {}
            }
        }
        skip_stars(pieces, &mut next);
        at = next;
    }
    at[pieces.len()]
}

/// A star may stand for nothing.
fn skip_stars(pieces: &[Piece], at: &mut [bool]) {
    for (place, piece) in pieces.iter().enumerate() {
        at[place + 1] |= at[place] && matches!(piece, Piece::Some | Piece::All);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Right::{JoinLeaveGroup, SendToGroup};

    fn roles(texts: &[&str]) -> Roles {
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_role_is_about_all_groups_or_one_and_about_one_right() {
        let all = roles(&["webpubsub.sendToGroup"]);
        assert!(all.allow(SendToGroup, "any.thing/at all") && all.allow_on_all(SendToGroup));
        assert!(!all.allow(JoinLeaveGroup, "g"));
        let one = roles(&["webpubsub.joinLeaveGroup.g.1"]);
        assert!(one.allow(JoinLeaveGroup, "g.1") && !one.allow_on_all(JoinLeaveGroup));
        assert!(!one.allow(JoinLeaveGroup, "g") && !one.allow(JoinLeaveGroup, "G.1") && !one.allow(SendToGroup, "g.1"));
    }

    #[test]
    fn what_is_no_role_allows_nothing() {
        for text in [
            "",
            "sendToGroup",
            "webpubsub.",
            "webpubsub.sendToGroup.",
            "webpubsub.sendToGroups",
            "webpubsub.sendToGroups.",
            "webpubsub.sendToGroupx",
            "webpubsub.sendtogroup",
            "webpubsub.sendToGroups.a\\",
            "webpubsub.sendToGroups.*a*b*c*d*e*f",
        ] {
            assert_eq!(roles(&[text]), Roles::default(), "{text}");
        }
    }

    #[test]
    fn patterns_stop_at_dots_unless_they_have_two_stars() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let roles = roles(&[&format!("webpubsub.sendToGroups.{pattern}")]);
            for name in yes {
                assert!(roles.allow(SendToGroup, name), "{pattern} {name}");
            }
            for name in no {
                assert!(!roles.allow(SendToGroup, name), "{pattern} {name}");
            }
            assert!(!roles.allow(JoinLeaveGroup, yes[0]) && !roles.allow_on_all(SendToGroup));
        };
        check("room.*", &["room.1", "room.", "room.ab/c"], &["room", "room.1.2", "Room.1", "xroom.1"]);
        check("room.**", &["room.1", "room.1.2", "room."], &["room", "rooms.1"]);
        check("**", &["a", "a.b", "ä/ö"], &[]);
        check("a?c", &["abc", "aüc"], &["ac", "a.c", "abbc"]);
        check("a\\*b\\?", &["a*b?"], &["axb?", "a*bx"]);
        check("*.*.x", &["a.b.x", "..x"], &["a.x", "a.b.c.x"]);
        check("*a*a*a*a*", &[&"a".repeat(1_024)], &[&"b".repeat(1_024)]);
    }

    #[test]
    fn as_our_own_permissions_they_allow_the_same_groups_or_fewer_and_nothing_outside_the_hub() {
        let hub = Hub::parse("h").unwrap();
        let texts = [
            "webpubsub.sendToGroup",
            "webpubsub.joinLeaveGroup.a/b",
            "webpubsub.joinLeaveGroup.*",
            "webpubsub.joinLeaveGroup.c %2F",
            "webpubsub.joinLeaveGroups.**",
        ];
        let roles = roles(&texts);
        let permissions = roles.permissions(&hub);
        assert_eq!(
            permissions.to_string(),
            "publish:h/** subscribe:h/a/b subscribe:h/%2A subscribe:h/c%20%252F",
            "patterns are not said"
        );
        let topic = |name: &str| crate::Topic::parse(name).unwrap();
        for name in ["g", "h", "other/g", "h2/g"] {
            assert!(!permissions.allow(Action::Publish, &topic(name)), "{name}");
        }
        assert!(
            permissions.allow(Action::Subscribe, &topic("h/*")) && !permissions.allow(Action::Subscribe, &topic("h/x"))
        );
        assert_eq!(Vec::from(roles), texts, "and they are kept as they were written");
    }
}
