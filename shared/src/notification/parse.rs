//! From JSON to a checked [`Notification`]: each error names the field and the fix.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{DEFAULT_TTL_SECONDS, Defaults, MAX_EXCEPTIONS, MAX_TARGETS, MAX_TTL_SECONDS};
use super::{Notification, Origin, Payload, Target};
use crate::ids::{ConnectionId, InvalidId, NotificationId, Topic, UserId};

const FIELDS: &str = "use to, type, data, dataType, id, at, ttl, except, topic and from";
const SHAPES: &str =
    "use {\"topic\":…}, {\"user\":…}, {\"connection\":…}, \"everyone\", or a list of up to 100 of them";

/// Earliest `at`: in milliseconds it is the year 1973, and in seconds the year 5138.
const EARLIEST_AT: i64 = 100_000_000_000;

/// Why a notification was refused: the field, what is wrong with it, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}; {fix}")]
pub struct InvalidNotification {
    /// The field, as a path from the notification's top (`to[2].topic`).
    pub field: String,
    problem: String,
    fix: String,
}

fn invalid(field: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> InvalidNotification {
    InvalidNotification { field: field.into(), problem: problem.into(), fix: fix.into() }
}

fn invalid_id(field: &str, error: &InvalidId) -> InvalidNotification {
    invalid(field, "is not valid", error.to_string())
}

/// The fields of a notification, unchecked.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

impl Notification {
    /// Reads and checks a notification; what it leaves out comes from the event that carried it.
    ///
    /// # Errors
    /// When it is not a JSON object of the documented shape; the error names the field and the fix.
    pub fn parse(text: &str, defaults: &Defaults) -> Result<Self, InvalidNotification> {
        let notification = Self::from_fields(fields(text)?, defaults)?;
        match notification.to.iter().find(|target| target.is_ours_alone()) {
            Some(Target::Watchers(_)) => Err(invalid("to.watchers", "is not a kind of target", SHAPES)),
            Some(Target::Newcomer(_)) => Err(invalid("to.newcomer", "is not a kind of target", SHAPES)),
            Some(_) => Err(invalid("to", "is not a target", SHAPES)),
            None => Ok(notification),
        }
    }

    /// The same for what we wrote ourselves, which may stand in a log.
    ///
    /// # Errors
    /// When it is not what we write.
    pub fn parse_own(text: &str, defaults: &Defaults) -> Result<Self, InvalidNotification> {
        let mut fields = fields(text)?;
        let place = take(&mut fields, "log").map(serde_json::from_value).transpose();
        let log = place.map_err(|error| invalid("log", format!("is not a place ({error})"), "leave it out"))?;
        Ok(Self { log, ..Self::from_fields(fields, defaults)? })
    }

    /// Checks a notification that was taken apart already.
    pub(crate) fn from_fields(mut fields: Fields, defaults: &Defaults) -> Result<Self, InvalidNotification> {
        let to = targets(&mut fields)?;
        let notification = Self {
            topic: topic(&mut fields, &to)?,
            to,
            payload: payload(&mut fields)?,
            id: match string(&mut fields, "id")? {
                Some(id) => NotificationId::parse(id).map_err(|error| invalid_id("id", &error))?,
                None => defaults.id.clone(),
            },
            except: exceptions(&mut fields)?,
            event: event(&mut fields)?,
            at: at(&mut fields)?.unwrap_or(defaults.at),
            ttl: ttl(&mut fields)?,
            log: None,
            from: origin(&mut fields)?,
        };
        refuse_the_rest(&fields)?;
        Ok(notification)
    }
}

fn fields(text: &str) -> Result<Fields, InvalidNotification> {
    serde_json::from_str(text)
        .map_err(|error| invalid("notification", format!("is not a JSON object ({error})"), FIELDS))
}

/// Serializes a single target bare and several as a list, as producers write them.
pub(super) fn one_or_many<S: Serializer>(targets: &[Target], serializer: S) -> Result<S::Ok, S::Error> {
    match targets {
        [one] => one.serialize(serializer),
        many => many.serialize(serializer),
    }
}

fn refuse_the_rest(fields: &Fields) -> Result<(), InvalidNotification> {
    match fields.keys().next() {
        None => Ok(()),
        Some(reserved) if reserved == "order" => Err(invalid("order", "is reserved", "leave it out")),
        Some(log) if ["log", "offset", "epoch"].contains(&log.as_str()) => {
            Err(invalid(log, "is given by the log", "leave it out; `History` says what has one"))
        }
        Some(unknown) => Err(invalid(unknown, "is not a field of a notification", FIELDS)),
    }
}

/// Takes a field as a JSON value; an explicit `null` counts as absent.
fn take(fields: &mut Fields, name: &str) -> Option<Value> {
    let raw = fields.remove(name)?;
    // A `RawValue` is well-formed JSON by construction.
    serde_json::from_str(raw.get()).ok().filter(|value: &Value| !value.is_null())
}

fn string(fields: &mut Fields, name: &str) -> Result<Option<String>, InvalidNotification> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name, "is not a string", "give a JSON string")),
    }
}

fn integer(
    fields: &mut Fields,
    name: &str,
    fix: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, InvalidNotification> {
    match take(fields, name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            Some(_) => Err(invalid(name, "is out of range", fix)),
            None => Err(invalid(name, "is not a whole number", fix)),
        },
    }
}

fn at(fields: &mut Fields) -> Result<Option<i64>, InvalidNotification> {
    let at = integer(fields, "at", "give the epoch in milliseconds", 0..=i64::MAX)?;
    match at {
        // Taken as it stands it would be decades ago, and the notification would expire without a word.
        Some(seconds @ ..EARLIEST_AT) => {
            let fix = format!("{seconds} looks like seconds, multiply by 1,000");
            Err(invalid("at", "is in milliseconds since the epoch", fix))
        }
        _ => Ok(at),
    }
}

fn ttl(fields: &mut Fields) -> Result<u32, InvalidNotification> {
    let fix = format!("give whole seconds from 1 to {MAX_TTL_SECONDS}");
    let seconds = integer(fields, "ttl", &fix, 1..=i64::from(MAX_TTL_SECONDS))?;
    Ok(seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_TTL_SECONDS))
}

fn event(fields: &mut Fields) -> Result<Option<String>, InvalidNotification> {
    let event = string(fields, "type")?;
    match &event {
        Some(name) if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) => {
            Err(invalid("type", "is not valid", "use 1 to 128 bytes without control characters"))
        }
        _ => Ok(event),
    }
}

fn origin(fields: &mut Fields) -> Result<Option<Origin>, InvalidNotification> {
    let fix = "use {\"user\":…}";
    let Some(value) = take(fields, "from") else { return Ok(None) };
    let Value::Object(mut object) = value else { return Err(invalid("from", "is not an object", fix)) };
    let user = match object.remove("user") {
        None | Some(Value::Null) => None,
        Some(Value::String(user)) => Some(UserId::parse(user).map_err(|error| invalid_id("from.user", &error))?),
        Some(_) => return Err(invalid("from.user", "is not a string", fix)),
    };
    match object.keys().next() {
        Some(unknown) => Err(invalid(format!("from.{unknown}"), "is not known", fix)),
        None => Ok(Some(Origin { user })),
    }
}

fn exceptions(fields: &mut Fields) -> Result<Vec<ConnectionId>, InvalidNotification> {
    let fix = format!("give a list of at most {MAX_EXCEPTIONS} connection ids");
    let Some(value) = take(fields, "except") else { return Ok(Vec::new()) };
    let Value::Array(list) = value else { return Err(invalid("except", "is not a list", fix)) };
    if list.len() > MAX_EXCEPTIONS {
        return Err(invalid("except", "is too long", fix));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, value)| match value {
            Value::String(id) => {
                ConnectionId::parse(id).map_err(|error| invalid_id(&format!("except[{index}]"), &error))
            }
            _ => Err(invalid(format!("except[{index}]"), "is not a string", fix.clone())),
        })
        .collect()
}

/// Only connections can be named one by one: who sends to a topic or a user says by that where it belongs.
fn topic(fields: &mut Fields, to: &[Target]) -> Result<Option<Topic>, InvalidNotification> {
    let Some(name) = string(fields, "topic")? else { return Ok(None) };
    let is_by_name = to.iter().all(|target| matches!(target, Target::Connection(_)));
    match is_by_name {
        true => Topic::parse(name).map(Some).map_err(|error| invalid_id("topic", &error)),
        false => Err(invalid("topic", "is for connections", "leave it out, or name connections in `to`")),
    }
}

fn targets(fields: &mut Fields) -> Result<Vec<Target>, InvalidNotification> {
    let list = match take(fields, "to") {
        None => return Err(invalid("to", "is missing", SHAPES)),
        Some(Value::Array(list)) => list,
        Some(one) => return Ok(vec![target("to", one)?]),
    };
    if list.is_empty() {
        return Err(invalid("to", "is an empty list", SHAPES));
    }
    if list.len() > MAX_TARGETS {
        return Err(invalid("to", "names too many targets", SHAPES));
    }
    let mut targets = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let target = target(&format!("to[{index}]"), value)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

fn target(field: &str, value: Value) -> Result<Target, InvalidNotification> {
    match value {
        Value::String(word) if word == "everyone" => Ok(Target::Everyone),
        Value::String(word) if word == "quiet" => Ok(Target::Quiet),
        Value::Object(object) => shape(field, object),
        _ => Err(invalid(field, "is not a target", SHAPES)),
    }
}

fn shape(field: &str, object: Map<String, Value>) -> Result<Target, InvalidNotification> {
    if object.len() > 1 {
        let names: Vec<_> = object.keys().map(String::as_str).collect();
        let fix = "name one per object, or give a list of targets";
        return Err(invalid(field, format!("has {} shapes at once ({})", names.len(), names.join(", ")), fix));
    }
    let Some((kind, value)) = object.into_iter().next() else {
        return Err(invalid(field, "is an empty object", SHAPES));
    };
    let path = format!("{field}.{kind}");
    let Value::String(name) = value else { return Err(invalid(path, "is not a string", SHAPES)) };
    let refused = |error: InvalidId| invalid_id(&path, &error);
    match kind.as_str() {
        "connection" => ConnectionId::parse(name).map(Target::Connection).map_err(refused),
        "user" => UserId::parse(name).map(Target::User).map_err(refused),
        "topic" => Topic::parse(name).map(Target::Topic).map_err(refused),
        "newcomer" => ConnectionId::parse(name).map(Target::Newcomer).map_err(refused),
        "watchers" => Topic::parse_own(&name).map(Target::Watchers).map_err(refused),
        _ => Err(invalid(path, "is not a kind of target", SHAPES)),
    }
}

fn payload(fields: &mut Fields) -> Result<Payload, InvalidNotification> {
    let kind = string(fields, "dataType")?;
    let Some(data) = fields.remove("data") else {
        return Err(invalid("data", "is missing", "give any JSON, or null"));
    };
    match kind.as_deref() {
        None | Some("json") => Ok(Payload::Json(data)),
        Some("text") => Ok(Payload::Text(data_string(&data, "dataType text needs a JSON string")?)),
        Some("binary") => {
            let fix = "dataType binary needs a JSON string in base64";
            let text = data_string(&data, fix)?;
            base64::decode(&text).map_err(|_| invalid("data", "is not base64", fix))?;
            Ok(Payload::Binary(text))
        }
        Some(_) => Err(invalid("dataType", "is not known", "use json, text or binary")),
    }
}

fn data_string(data: &RawValue, fix: &str) -> Result<String, InvalidNotification> {
    serde_json::from_str(data.get()).map_err(|_| invalid("data", "is not a string", fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Notification, InvalidNotification> {
        Notification::parse(text, &Defaults { id: NotificationId::parse("derived").unwrap(), at: 1_000 })
    }

    #[test]
    fn what_is_left_out_comes_from_the_event_that_carried_it() {
        let notification = parse(r#"{"to":{"topic":"t"},"data":null}"#).unwrap();
        assert_eq!(notification.id.as_str(), "derived");
        assert_eq!((notification.at, notification.ttl), (1_000, DEFAULT_TTL_SECONDS));
    }

    #[test]
    fn every_shape_of_target_is_read_once_each() {
        let text = r#"{"to":[{"topic":"t"},{"user":"u"},{"connection":"c="},"everyone",{"topic":"t"}],"data":1}"#;
        let expected = vec![
            Target::Topic(Topic::parse("t").unwrap()),
            Target::User(UserId::parse("u").unwrap()),
            Target::Connection(ConnectionId::parse("c=").unwrap()),
            Target::Everyone,
        ];
        assert_eq!(parse(text).unwrap().to, expected);
    }

    #[test]
    fn json_data_is_kept_letter_by_letter() {
        let notification = parse(r#"{"to":"everyone","data":{"b": 1.0, "a":12345678901234567890123}}"#).unwrap();
        let Payload::Json(data) = notification.payload else { panic!("json expected") };
        assert_eq!(data.get(), r#"{"b": 1.0, "a":12345678901234567890123}"#);
    }

    #[test]
    fn what_was_written_is_read_back_the_same() {
        let text = concat!(
            r#"{"id":"n","to":[{"topic":"t"},"everyone"],"except":["c"],"type":"e","dataType":"text","data":"d","#,
            r#""at":100000000000,"ttl":6,"from":{"user":"u"}}"#
        );
        assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), text);
        let text =
            r#"{"id":"n","to":{"connection":"c"},"topic":"t","dataType":"json","data":1,"at":100000000000,"ttl":6}"#;
        assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn each_refusal_names_the_field_and_the_fix() {
        for (text, start) in [
            ("[]", "`notification` is not a JSON object"),
            ("{\"data\":1}", "`to` is missing; use {\"topic\""),
            (r#"{"to":[],"data":1}"#, "`to` is an empty list"),
            (r#"{"to":"all","data":1}"#, "`to` is not a target"),
            (r#"{"to":{},"data":1}"#, "`to` is an empty object"),
            (r#"{"to":{"topic":"a","user":"b"},"data":1}"#, "`to` has 2 shapes at once (topic, user); name one"),
            (r#"{"to":[{"topic":""}],"data":1}"#, "`to[0].topic` is not valid; a topic is empty"),
            (r#"{"to":{"group":"a"},"data":1}"#, "`to.group` is not a kind of target"),
            (r#"{"to":{"newcomer":"a"},"data":1}"#, "`to.newcomer` is not a kind of target"),
            (r#"{"to":{"user":7},"data":1}"#, "`to.user` is not a string"),
            (r#"{"to":"everyone"}"#, "`data` is missing; give any JSON, or null"),
            (r#"{"to":"everyone","data":1,"ttl":0}"#, "`ttl` is out of range; give whole seconds from 1"),
            (r#"{"to":"everyone","data":1,"ttl":1.5}"#, "`ttl` is not a whole number"),
            (
                r#"{"to":"everyone","data":1,"at":1795520783}"#,
                "`at` is in milliseconds since the epoch; 1795520783 looks like seconds, multiply by 1,000",
            ),
            (r#"{"to":"everyone","data":1,"at":0}"#, "`at` is in milliseconds since the epoch; 0 looks like"),
            (r#"{"to":"everyone","data":1,"at":-1}"#, "`at` is out of range; give the epoch in milliseconds"),
            (r#"{"to":"everyone","data":1,"order":1}"#, "`order` is reserved; leave it out"),
            (r#"{"to":"everyone","data":1,"log":{"topic":"t","offset":1,"epoch":"k"}}"#, "`log` is given by the log"),
            (r#"{"to":"everyone","data":1,"offset":1}"#, "`offset` is given by the log; leave it out"),
            (r#"{"to":"everyone","data":1,"topic":"t"}"#, "`topic` is for connections; leave it out"),
            (r#"{"to":[{"connection":"c"},{"user":"u"}],"data":1,"topic":"t"}"#, "`topic` is for connections"),
            (r#"{"to":{"connection":"c"},"data":1,"topic":""}"#, "`topic` is not valid; a topic is empty"),
            (r#"{"to":"everyone","data":1,"topics":1}"#, "`topics` is not a field of a notification; use to"),
            (r#"{"to":"everyone","data":1,"dataType":"xml"}"#, "`dataType` is not known; use json, text or binary"),
            (r#"{"to":"everyone","data":1,"dataType":"text"}"#, "`data` is not a string"),
            (r#"{"to":"everyone","data":"%","dataType":"binary"}"#, "`data` is not base64"),
            (r#"{"to":"everyone","data":1,"except":"c"}"#, "`except` is not a list"),
            (r#"{"to":"everyone","data":1,"except":["a#b"]}"#, "`except[0]` is not valid"),
            (r#"{"to":"everyone","data":1,"from":{"x":1}}"#, "`from.x` is not known"),
            (r#"{"to":"everyone","data":1,"id":""}"#, "`id` is not valid; a notification id is empty"),
            (r#"{"to":"everyone","data":1,"type":""}"#, "`type` is not valid"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(start), "{text}: {message}");
        }
    }

    #[test]
    fn a_notification_expires_its_ttl_after_it_happened() {
        let notification = parse(r#"{"to":"everyone","data":1,"at":1795520783000,"ttl":2}"#).unwrap();
        assert!(!notification.is_expired(1_795_520_785_000));
        assert!(notification.is_expired(1_795_520_785_001));
    }
}
