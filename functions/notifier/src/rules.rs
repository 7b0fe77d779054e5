//! Rules: what becomes of events that are not notifications.
//!
//! The first rule whose `source` fits shapes the event. `to`, `type` and `data` are templates: `{path}` stands for what
//! is at that path of
//!
//! ```json
//! {"source": "aws/s3/photos", "id": "…", "at": 1795520783000, "type": "ObjectCreated:Put", "data": {…}, "record": {…}}
//! ```
//!
//! where `data` is what Tidings makes of the event without a rule, and `record` is the event as AWS sent it. `{{` and `}}`
//! are braces. A string of `data` that is one path and nothing else keeps the type of what it finds.

mod code;
mod template;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tidings::notification::{Defaults, InvalidNotification, Notification};

use crate::trigger::Record;
pub(crate) use code::CodeRule;
use template::{BadTemplate, Template};

/// Why the rules cannot be used: names the rule and the field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRules {
    /// They are not JSON of the right shape.
    #[error("the rules are not a JSON list: {0}")]
    Json(String),
    /// A field of a rule is wrong.
    #[error("rule {number}: `{field}` {problem}")]
    Field {
        /// The rule, counted from 1.
        number: usize,
        /// The field, as a path.
        field: String,
        /// What is wrong, and the fix.
        problem: String,
    },
}

/// Why an event cannot be shaped by its rule. It goes to the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShapeError {
    /// The event lacks what a template names.
    #[error("rule {number} (`{pattern}`): {problem}")]
    Rule { number: usize, pattern: String, problem: String },
    /// What the application's own rule gives is no notification, or too large a one.
    #[error("the rule in code for `{pattern}`: its notification {number} is not valid: {problem}")]
    Code { pattern: String, number: usize, problem: String },
    /// What came out is no notification.
    #[error(transparent)]
    Notification(#[from] InvalidNotification),
}

/// All rules, in their order.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    source: String,
    to: Template,
    event: Option<Template>,
    data: Option<Template>,
    ttl: Option<Value>,
}

impl Rules {
    /// Reads and checks rules: a JSON list of `{"source", "to", "type", "data", "ttl"}`.
    ///
    /// # Errors
    /// When a rule cannot be used; the error names the rule and the field.
    pub fn parse(text: &str) -> Result<Self, InvalidRules> {
        let list: Vec<Map<String, Value>> =
            serde_json::from_str(text).map_err(|error| InvalidRules::Json(error.to_string()))?;
        list.into_iter().enumerate().map(|(index, rule)| read(index + 1, rule)).collect::<Result<_, _>>().map(Self)
    }

    /// The notification that a record becomes: by the first rule that fits, else to the topic named after its source.
    pub(crate) fn shape(&self, record: &Record, defaults: &Defaults) -> Result<Notification, ShapeError> {
        let fits = |(_, rule): &(usize, &Rule)| fits(&rule.source, &record.source);
        let notification = match self.0.iter().enumerate().find(fits) {
            None => json!({"to": {"topic": record.source}, "type": record.event, "data": record.data}),
            Some((index, rule)) => rule.apply(record, defaults).map_err(|problem| ShapeError::Rule {
                number: index + 1,
                pattern: rule.source.clone(),
                problem,
            })?,
        };
        Ok(Notification::parse(&notification.to_string(), defaults)?)
    }
}

impl Rule {
    fn apply(&self, record: &Record, defaults: &Defaults) -> Result<Value, String> {
        let data = value(&record.data);
        let root = json!({
            "source": record.source,
            "id": defaults.id,
            "at": defaults.at,
            "type": record.event,
            "data": data,
            "record": value(&record.raw),
        });
        let missing =
            |field: &'static str| move |path: String| format!("`{field}` names `{path}`, which the event lacks");
        let mut notification = json!({"to": self.to.fill(&root).map_err(missing("to"))?});
        notification["type"] = match &self.event {
            Some(event) => event.fill(&root).map_err(missing("type"))?,
            None => json!(record.event),
        };
        notification["data"] = match &self.data {
            Some(template) => template.fill(&root).map_err(missing("data"))?,
            None => data,
        };
        if let Some(ttl) = &self.ttl {
            notification["ttl"] = ttl.clone();
        }
        Ok(notification)
    }
}

fn value(raw: &RawValue) -> Value {
    // Raw JSON is well formed by construction.
    serde_json::from_str(raw.get()).unwrap_or(Value::Null)
}

fn read(number: usize, mut rule: Map<String, Value>) -> Result<Rule, InvalidRules> {
    let wrong = |field: &str, problem: &str| InvalidRules::Field {
        number,
        field: field.to_owned(),
        problem: problem.to_owned(),
    };
    let source = match rule.remove("source") {
        Some(Value::String(source)) if !source.is_empty() => source,
        Some(_) => return Err(wrong("source", "is not a name such as aws/s3/photos or aws/s3/*")),
        None => return Err(wrong("source", "is missing; name the source, such as aws/s3/photos or aws/s3/*")),
    };
    let template = |field: &str, value: Value| {
        Template::read(value).map_err(|BadTemplate { at, problem }| InvalidRules::Field {
            number,
            field: format!("{field}{at}"),
            problem,
        })
    };
    let to = rule.remove("to").ok_or_else(|| wrong("to", "is missing; say who is to be notified"))?;
    check_targets(number, &to)?;
    let optional = |field: &str, value: Option<Value>| value.map(|value| template(field, value)).transpose();
    let read = Rule {
        source,
        to: template("to", to)?,
        event: optional("type", rule.remove("type"))?,
        data: optional("data", rule.remove("data"))?,
        ttl: rule.remove("ttl"),
    };
    match rule.keys().next() {
        Some(unknown) => Err(wrong(unknown, "is not a field of a rule; use source, to, type, data and ttl")),
        None => Ok(read),
    }
}

/// Checks the shape of `to` at the start, as a notification would be checked: only its names are still to come.
fn check_targets(number: usize, to: &Value) -> Result<(), InvalidRules> {
    let probe = json!({"to": to, "data": null}).to_string();
    let id = tidings::NotificationId::parse("probe").map_err(|error| InvalidRules::Json(error.to_string()))?;
    match Notification::parse(&probe, &Defaults { id, at: 0 }) {
        Ok(_) => Ok(()),
        Err(error) => Err(InvalidRules::Field {
            number,
            problem: error.to_string().split_once("` ").map_or("is not valid", |(_, problem)| problem).to_owned(),
            field: error.field,
        }),
    }
}

/// Whether a source fits a pattern, in which `*` stands for anything.
fn fits(pattern: &str, source: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == source };
    let Some(tail) = source.strip_prefix(head) else { return false };
    tail.char_indices().map(|(index, _)| index).chain([tail.len()]).any(|index| fits(rest, &tail[index..]))
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use tidings::NotificationId;

    use super::*;

    fn record(source: &str, data: Value) -> Record {
        Record {
            item: "i".to_owned(),
            message: None,
            source: source.to_owned(),
            id: "i".to_owned(),
            scope: "s3-0".to_owned(),
            order: None,
            until: None,
            at: Some(5),
            event: Some("ObjectCreated:Put".to_owned()),
            data: to_raw_value(&data).unwrap(),
            raw: to_raw_value(&json!({"awsRegion": "eu-west-1"})).unwrap(),
        }
    }

    fn shape(rules: &str, record: &Record) -> Result<Value, String> {
        let defaults = Defaults { id: NotificationId::parse("i").unwrap(), at: 5 };
        let shaped = Rules::parse(rules).unwrap().shape(record, &defaults).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(shaped).unwrap())
    }

    #[test]
    fn without_a_rule_an_event_goes_to_the_topic_named_after_its_source() {
        let shaped = shape("[]", &record("aws/s3/photos", json!({"n": 1}))).unwrap();
        assert_eq!((&shaped["to"], &shaped["data"]), (&json!({"topic": "aws/s3/photos"}), &json!({"n": 1})));
        assert_eq!(shaped["type"], "ObjectCreated:Put");
    }

    #[test]
    fn the_first_rule_that_fits_shapes_the_event() {
        let rules = r#"[{"source":"aws/sqs/*","to":"everyone"},
            {"source":"aws/s3/*","to":[{"topic":"photos/{data.album}"},{"user":"{data.owner.id}"}],
             "type":"photo.{type}","data":{"n":"{data.count}","text":"{data.count} in {record.awsRegion} {{}}"},"ttl":60}]"#;
        let data = json!({"album": "summer", "count": 3, "owner": {"id": "u1"}});
        let shaped = shape(rules, &record("aws/s3/photos", data)).unwrap();
        assert_eq!(shaped["to"], json!([{"topic": "photos/summer"}, {"user": "u1"}]));
        assert_eq!((&shaped["type"], &shaped["ttl"]), (&json!("photo.ObjectCreated:Put"), &json!(60)));
        assert_eq!(shaped["data"], json!({"n": 3, "text": "3 in eu-west-1 {}"}));
    }

    #[test]
    fn an_event_that_lacks_what_a_rule_names_is_refused_with_rule_and_path() {
        let rules = r#"[{"source":"*","to":{"user":"{data.owner}"}}]"#;
        let error = shape(rules, &record("aws/s3/photos", json!({}))).unwrap_err();
        assert_eq!(error, "rule 1 (`*`): `to` names `data.owner`, which the event lacks");
    }

    #[test]
    fn rules_are_checked_at_the_start_and_errors_name_rule_and_field() {
        for (rules, expected) in [
            ("{}", "the rules are not a JSON list: "),
            (r#"[{"to":"everyone"}]"#, "rule 1: `source` is missing; name the source"),
            (r#"[{"source":"*"}]"#, "rule 1: `to` is missing; say who"),
            (r#"[{"source":"*","to":{"group":"g"}}]"#, "rule 1: `to.group` is not a kind of target"),
            (r#"[{"source":"*","to":"everyone"},{"source":"*","to":"all"}]"#, "rule 2: `to` is not a target"),
            (r#"[{"source":"*","to":{"topic":"{data"}}]"#, "rule 1: `to.topic` has a `{` that is not closed"),
            (r#"[{"source":"*","to":"everyone","data":["{}"]}]"#, "rule 1: `data[0]` has an empty path"),
            (r#"[{"source":"*","to":"everyone","when":1}]"#, "rule 1: `when` is not a field of a rule"),
        ] {
            let error = Rules::parse(rules).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{rules}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, source, expected) in [
            ("aws/s3/*", "aws/s3/photos", true),
            ("aws/*/photos", "aws/s3/photos", true),
            ("*", "aws/s3/photos", true),
            ("aws/s3/p*o*", "aws/s3/photos", true),
            ("aws/s3", "aws/s3/photos", false),
            ("aws/s3/*x", "aws/s3/photos", false),
        ] {
            assert_eq!(fits(pattern, source), expected, "{pattern}");
        }
    }
}
