//! Route selection expressions: which route a message goes to.
//!
//! `$request.body.action`, `${request.body.action}` and templates such as
//! `${request.body.service}/${request.body.action}`. What follows `request.body` is a JSONPath. A path that is not
//! there gives an empty text, and what is not a scalar is written as Java's collections are (`[item1, item2]`).

use std::fmt::Write as _;

use serde_json::Value;
use serde_json_path::JsonPath;

const BODY: &str = "request.body";

/// A compiled route selection expression.
#[derive(Debug)]
pub(super) struct Selection(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Path(JsonPath),
    /// Names that RFC 9535 does not allow without brackets, such as `my-action`, but API Gateway's JSONPath does.
    Names(Vec<String>),
    /// A variable that is not of the body; only the body can be selected by.
    Nothing,
}

impl Selection {
    /// Compiles an expression. One that makes no sense selects an empty key, so that its messages go to `$default`.
    pub(super) fn new(expression: &str) -> Self {
        if !expression.contains("${")
            && let Some(variable) = expression.strip_prefix('$')
        {
            return Self(vec![variable_piece(variable)]);
        }
        let mut pieces = Vec::new();
        let mut rest = expression;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            pieces.push(Piece::Text(rest[..start].to_owned()));
            pieces.push(variable_piece(&rest[start + 2..start + length]));
            rest = &rest[start + length + 1..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self(pieces)
    }

    /// The route key that this message asks for; `None` if it is not JSON.
    pub(super) fn select(&self, message: &str) -> Option<String> {
        let body: Value = serde_json::from_str(message).ok()?;
        let mut key = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Path(path) => match path.query(&body).all().as_slice() {
                    [] => {}
                    [one] => write_top(&mut key, one),
                    many => write_list(&mut key, many.iter().copied()),
                },
                Piece::Names(names) => {
                    if let Some(value) = names.iter().try_fold(&body, |value, name| value.get(name)) {
                        write_top(&mut key, value);
                    }
                }
                Piece::Nothing => {}
            }
        }
        Some(key)
    }
}

fn variable_piece(variable: &str) -> Piece {
    let Some(path) = variable.strip_prefix(BODY) else { return Piece::Nothing };
    match JsonPath::parse(&format!("${path}")) {
        Ok(path) => Piece::Path(path),
        Err(_) => Piece::Names(path.trim_start_matches('.').split('.').map(str::to_owned).collect()),
    }
}

/// A `null` is as good as not there.
fn write_top(out: &mut String, value: &Value) {
    if !value.is_null() {
        write_value(out, value);
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => write_list(out, items.iter()),
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(name);
                out.push('=');
                write_value(out, value);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{value}");
        }
    }
}

fn write_list<'a>(out: &mut String, items: impl Iterator<Item = &'a Value>) {
    out.push('[');
    for (index, item) in items.enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        write_value(out, item);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, message: &str, expected: &str) {
        assert_eq!(Selection::new(expression).select(message).as_deref(), Some(expected), "{expression} on {message}");
    }

    #[test]
    fn one_path_with_and_without_braces() {
        for expression in ["$request.body.action", "${request.body.action}"] {
            check(expression, r#"{"action":"chat"}"#, "chat");
            check(expression, r#"{"other":"chat"}"#, "");
            check(expression, r#"{"action":null}"#, "");
            check(expression, r#"{"action":7}"#, "7");
            check(expression, r#"{"action":true}"#, "true");
            check(expression, r#"{"action":["item1","item2"]}"#, "[item1, item2]");
            check(expression, r#"{"action":{"a":1}}"#, "{a=1}");
            check(expression, r#""action""#, "");
            check(expression, "[1]", "");
        }
    }

    #[test]
    fn several_paths_with_static_text() {
        check("${request.body.service}/${request.body.action}", r#"{"service":"chat","action":"join"}"#, "chat/join");
        check("${request.body.action}-${request.body.missing}", r#"{"action":"join"}"#, "join-");
        check("v1.${request.body.action}", r#"{"action":"join"}"#, "v1.join");
        check("fixed", r#"{"action":"join"}"#, "fixed");
    }

    #[test]
    fn json_paths_reach_into_the_body() {
        check("$request.body.meta.kind", r#"{"meta":{"kind":"deep"}}"#, "deep");
        check("$request.body.list[1]", r#"{"list":["a","b"]}"#, "b");
        check("$request.body['two words']", r#"{"two words":"x"}"#, "x");
        check("$request.body.list[*].k", r#"{"list":[{"k":"a"},{"k":"b"}]}"#, "[a, b]");
        check("${request.body.my-action}", r#"{"my-action":"x"}"#, "x");
        check("$request.body.a.my-action", r#"{"a":{"my-action":"x"}}"#, "x");
    }

    #[test]
    fn what_is_not_json_selects_nothing() {
        for message in ["", "hello", "{\"action\":", "{'action':'x'}"] {
            assert_eq!(Selection::new("$request.body.action").select(message), None, "{message}");
        }
    }

    #[test]
    fn an_expression_that_makes_no_sense_selects_an_empty_key() {
        check("$request.header.action", r#"{"action":"x"}"#, "");
        check("${context.routeKey}", r#"{"action":"x"}"#, "");
        check("${request.body.action", r#"{"action":"x"}"#, "${request.body.action");
    }
}
