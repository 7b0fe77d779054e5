//! Asking a filter of a connection. Where there is nothing - an anonymous connection has no user - nothing is greater, less,
//! or begins with anything.

use std::borrow::Cow;

use super::Subject;
use super::check::{Condition, Field, Value};
use super::syntax::Comparison;

/// What a value is for one connection.
#[derive(Debug, PartialEq)]
enum Found<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Number(i64),
}

/// Whether a condition is true of a connection.
pub(super) fn holds(condition: &Condition, subject: &Subject<'_>) -> bool {
    match condition {
        Condition::Always(truth) => *truth,
        Condition::Not(inner) => !holds(inner, subject),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, subject)),
        Condition::All(parts) => parts.iter().all(|part| holds(part, subject)),
        Condition::Equal(one, other) => find(one, subject) == find(other, subject),
        Condition::Same(one, other) => holds(one, subject) == holds(other, subject),
        Condition::Compared(one, comparison, other) => match (find(one, subject), find(other, subject)) {
            (Found::Number(one), Found::Number(other)) => compared(one, *comparison, other),
            _ => false,
        },
        Condition::OneOf(value, values) => {
            let value = find(value, subject);
            values.iter().any(|other| find(other, subject) == value)
        }
        Condition::InGroups(value) => text(value, subject).is_some_and(|name| subject.groups.contains(&name.as_ref())),
        Condition::StartsWith(one, other) => both(one, other, subject, |one, other| one.starts_with(other)),
        Condition::EndsWith(one, other) => both(one, other, subject, |one, other| one.ends_with(other)),
        Condition::Contains(one, other) => both(one, other, subject, |one, other| one.contains(other)),
    }
}

fn compared(one: i64, comparison: Comparison, other: i64) -> bool {
    match comparison {
        Comparison::Equal => one == other,
        Comparison::NotEqual => one != other,
        Comparison::Greater => one > other,
        Comparison::GreaterOrEqual => one >= other,
        Comparison::Less => one < other,
        Comparison::LessOrEqual => one <= other,
    }
}

fn both(one: &Value, other: &Value, subject: &Subject<'_>, test: fn(&str, &str) -> bool) -> bool {
    let texts = text(one, subject).zip(text(other, subject));
    texts.is_some_and(|(one, other)| test(&one, &other))
}

fn text<'a>(value: &'a Value, subject: &Subject<'a>) -> Option<Cow<'a, str>> {
    match find(value, subject) {
        Found::Text(text) => Some(text),
        _ => None,
    }
}

fn number(value: &Value, subject: &Subject<'_>) -> Option<i64> {
    match find(value, subject) {
        Found::Number(number) => Some(number),
        _ => None,
    }
}

fn find<'a>(value: &'a Value, subject: &Subject<'a>) -> Found<'a> {
    let changed = |value: &'a Value, change: fn(&str) -> String| match text(value, subject) {
        Some(text) => Found::Text(change(&text).into()),
        None => Found::Nothing,
    };
    match value {
        Value::Nothing => Found::Nothing,
        Value::Text(text) => Found::Text(text.as_str().into()),
        Value::Number(number) => Found::Number(*number),
        Value::Field(Field::User) => subject.user.map_or(Found::Nothing, |user| Found::Text(user.into())),
        Value::Field(Field::Connection) => Found::Text(subject.connection.into()),
        Value::Field(Field::Protocol) => Found::Text(subject.protocol.into()),
        Value::Lower(value) => changed(value, str::to_lowercase),
        Value::Upper(value) => changed(value, str::to_uppercase),
        Value::Trimmed(value) => changed(value, |text| text.trim().to_owned()),
        Value::Joined(one, other) => match (text(one, subject), text(other, subject)) {
            (None, None) => Found::Nothing,
            (one, other) => {
                Found::Text((one.unwrap_or_default() + other.unwrap_or_default().as_ref()).into_owned().into())
            }
        },
        Value::Part(value, from, count) => part(value, from, count.as_deref(), subject),
        Value::Length(value) => text(value, subject).map_or(Found::Nothing, |text| Found::Number(units(&text))),
        Value::GroupCount => Found::Number(i64::try_from(subject.groups.len()).unwrap_or(i64::MAX)),
        Value::Place(one, other) => Found::Number(place(one, other, subject)),
    }
}

/// What stands within its bounds: what lies outside of the text is left out.
fn part<'a>(value: &'a Value, from: &Value, count: Option<&Value>, subject: &Subject<'a>) -> Found<'a> {
    let (Some(text), Some(from)) = (text(value, subject), number(from, subject)) else { return Found::Nothing };
    let most = match count {
        None => i64::MAX,
        Some(count) => match number(count, subject) {
            Some(count) => count,
            None => return Found::Nothing,
        },
    };
    let end = from.saturating_add(most.max(0));
    let within = (0..).zip(text.chars()).filter(|(at, _)| (from..end).contains(at));
    Found::Text(within.map(|(_, letter)| letter).collect::<String>().into())
}

fn place(one: &Value, other: &Value, subject: &Subject<'_>) -> i64 {
    let Some((one, other)) = text(one, subject).zip(text(other, subject)) else { return -1 };
    one.find(other.as_ref()).map_or(-1, |at| units(&one[..at]))
}

/// How long a text is, in characters.
fn units(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}
