//! What a target gets of an event (EventBridge User Guide, "Input transformation").

use indexmap::IndexMap;
use serde_json::Value;

use tidings_local_stack::{Input, Rule};

/// Why a target gets nothing of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// There is nothing at the target's path.
    #[error("the event has nothing at `{path}`, its InputPath")]
    Missing {
        /// The path.
        path: String,
    },
    /// What the target is to get must be JSON.
    #[error("its input would be `{text}`, which is no JSON")]
    NotJson {
        /// What it would get.
        text: String,
    },
}

/// What a target with this input gets of an event that a rule has matched.
pub(super) fn of(input: &Input, event: &Value, rule: &Rule) -> Result<String, InputError> {
    match input {
        Input::Event => Ok(event.to_string()),
        Input::Text(text) => json(text.clone()),
        Input::Path(path) => {
            let found = at(event, path).ok_or_else(|| InputError::Missing { path: path.clone() })?;
            Ok(found.to_string())
        }
        Input::Template { paths, template } => json(filled(template, &values(paths, event, rule))),
    }
}

fn json(text: String) -> Result<String, InputError> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(InputError::NotJson { text }),
    }
}

/// What the names of a template stand for; a path at which there is nothing gives nothing.
fn values(paths: &IndexMap<String, String>, event: &Value, rule: &Rule) -> IndexMap<String, Value> {
    let found = paths.iter().filter_map(|(name, path)| Some((name.clone(), at(event, path)?.clone())));
    let reserved = [
        ("aws.events.rule-arn", rule.arn.clone().into()),
        ("aws.events.rule-name", rule.name.clone().into()),
        ("aws.events.event", without_detail(event)),
        ("aws.events.event.json", event.clone()),
        ("aws.events.event.ingestion-time", event["time"].clone()),
    ];
    found.chain(reserved.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// As `<aws.events.event>` has it.
fn without_detail(event: &Value) -> Value {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        fields.remove("detail");
    }
    event
}

/// A template with the values in it. Inside of a JSON string a text stands as it is, and anything else as JSON; outside,
/// everything as JSON.
fn filled(template: &str, values: &IndexMap<String, Value>) -> String {
    let (mut out, mut rest, mut is_in_string) = (String::new(), template, false);
    while let Some(character) = rest.chars().next() {
        let name = (character == '<').then(|| rest[1..].split_once('>')).flatten().map(|(name, _)| name);
        if let Some(name) = name.filter(|name| is_name(name)) {
            out.push_str(&written(values.get(name), is_in_string));
            rest = &rest[name.len() + 2..];
            continue;
        }
        // A backslash and what it escapes, so that an escaped quotation mark ends no string.
        let length = match character {
            '\\' => rest.chars().take(2).map(char::len_utf8).sum(),
            other => other.len_utf8(),
        };
        is_in_string ^= character == '"';
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
}

fn written(value: Option<&Value>, is_in_string: bool) -> String {
    let Some(value) = value else { return if is_in_string { String::new() } else { "\"\"".to_owned() } };
    if !is_in_string {
        return value.to_string();
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// What stands at a path such as `$.detail.items[0].name` or `$['detail']['a b']`.
fn at<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    let mut rest = path.strip_prefix('$')?;
    let mut found = event;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']')?;
            found = match step.trim_matches(['\'', '"']) {
                name if name.len() < step.len() => found.get(name)?,
                number => found.get(number.parse::<usize>().ok()?)?,
            };
            rest = after;
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            found = found.get(&name[..end])?;
            rest = &name[end..];
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({"id": "1", "time": "2026-01-01T00:00:00Z", "detail-type": "Sold",
            "detail": {"name": "a \"b\"", "n": 5, "items": [{"sku": "x"}], "a b": true}})
    }

    fn rule() -> Rule {
        let arn = "arn:rule".to_owned();
        Rule {
            id: "r".to_owned(),
            name: "r".to_owned(),
            arn,
            bus: "default".to_owned(),
            pattern: None,
            schedule: None,
            targets: Vec::new(),
        }
    }

    #[track_caller]
    fn check(input: Input, expected: Result<Value, InputError>) {
        let made = of(&input, &event(), &rule()).map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!(made, expected, "{input:?}");
    }

    #[test]
    fn a_target_gets_the_event_a_constant_or_a_part_of_it() {
        check(Input::Event, Ok(event()));
        check(Input::Text(r#"{"a":1}"#.into()), Ok(json!({"a": 1})));
        check(Input::Text("{".into()), Err(InputError::NotJson { text: "{".into() }));
        for (path, expected) in [
            ("$", event()),
            ("$.detail.n", json!(5)),
            ("$.detail-type", json!("Sold")),
            ("$.detail.items[0].sku", json!("x")),
            ("$['detail']['a b']", json!(true)),
        ] {
            check(Input::Path(path.into()), Ok(expected));
        }
        for path in ["$.detail.none", "$.detail.items[1]", "detail", "$detail"] {
            check(Input::Path(path.into()), Err(InputError::Missing { path: path.into() }));
        }
    }

    fn template(template: &str) -> Input {
        let paths = [("name", "$.detail.name"), ("n", "$.detail.n"), ("items", "$.detail.items"), ("none", "$.none")];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into_iter().collect();
        Input::Template { paths, template: template.to_owned() }
    }

    #[test]
    fn a_template_has_values_in_and_outside_of_texts() {
        check(template(r#""<name> has <n>""#), Ok(json!(r#"a "b" has 5"#)));
        check(
            template(r#"{"name": <name>, "n": <n>, "items": <items>, "text": "<n> of <name>"}"#),
            Ok(json!({"name": "a \"b\"", "n": 5, "items": [{"sku": "x"}], "text": "5 of a \"b\""})),
        );
        check(template(r#"{"none": <none>, "text": "[<none>]"}"#), Ok(json!({"none": "", "text": "[]"})));
        check(template(r#""\"<n>\" < 6 > 4""#), Ok(json!("\"5\" < 6 > 4")));
        check(template("<name"), Err(InputError::NotJson { text: "<name".into() }));
    }

    #[test]
    fn a_template_can_name_the_rule_and_the_whole_event() {
        check(
            template(r#"{"r": <aws.events.rule-name>, "arn": "<aws.events.rule-arn>"}"#),
            Ok(json!({"r": "r", "arn": "arn:rule"})),
        );
        check(template("<aws.events.event.json>"), Ok(event()));
        check(
            template("<aws.events.event>"),
            Ok(json!({"id": "1", "time": "2026-01-01T00:00:00Z", "detail-type": "Sold"})),
        );
    }
}
