//! Patterns of topics, as permissions and retention rules write them.
//!
//! `*` stands for one segment of a topic, and `**` at the end for one segment or more. All else stands for itself, except
//! that `%` and two hexadecimal digits write a byte that has a meaning here: a space (`%20`, because spaces separate
//! permissions), `%2A`, `%25`. A segment with an encoded slash (`%2F`) matches nothing, as no topic's segment has one.

use std::fmt;

use crate::ids::Topic;

/// Longest pattern in bytes, as long as the longest topic.
const LONGEST: usize = 1_024;

/// Topics by what their names look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Segment>);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It names no topics.
    #[error("the pattern is empty; write ** for every topic")]
    Empty,
    /// It is longer than a topic can be.
    #[error("the pattern is longer than {LONGEST} bytes")]
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

impl Pattern {
    /// Understands a pattern.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > LONGEST {
            return Err(InvalidPattern::TooLong);
        }
        let segments = text.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        match segments.iter().position(|segment| *segment == Segment::Rest) {
            Some(place) if place + 1 < segments.len() => Err(InvalidPattern::Rest),
            _ => Ok(Self(segments)),
        }
    }

    /// Whether the topic looks like that.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut names = topic.as_str().split('/');
        for segment in &self.0 {
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

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, segment) in self.0.iter().enumerate() {
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

impl Segment {
    fn parse(text: &str) -> Result<Self, InvalidPattern> {
        match text {
            "*" => Ok(Self::Any),
            "**" => Ok(Self::Rest),
            text if text.contains('*') => Err(InvalidPattern::Star),
            text => unescaped(text).map(Self::Literal).ok_or(InvalidPattern::Escape),
        }
    }
}

/// The text with `%XX` for every character that separates or means something.
pub(crate) fn escaped(text: &str) -> String {
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

pub(crate) fn unescaped(text: &str) -> Option<String> {
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
