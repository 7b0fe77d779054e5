//! How one log line looks, for people and for programs.

use std::fmt::Write;

use anstyle::{AnsiColor, Color, Effects, Style};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const DIM: Style = Style::new().effects(Effects::DIMMED);
const BOLD: Style = Style::new().effects(Effects::BOLD);

/// What tracing writes around an event and a reader at a terminal does not need.
const NOT_SHOWN: [&str; 9] = ["timestamp", "time", "level", "message", "msg", "target", "span", "spans", "threadId"];

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "TRACE" => Some(Self::Trace),
            "DEBUG" => Some(Self::Debug),
            "INFO" => Some(Self::Info),
            "WARN" | "WARNING" => Some(Self::Warn),
            "ERROR" | "FATAL" | "CRITICAL" => Some(Self::Error),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    fn style(self) -> Style {
        let color = match self {
            Self::Trace => return DIM,
            Self::Debug => AnsiColor::Blue,
            Self::Info => AnsiColor::Green,
            Self::Warn => AnsiColor::Yellow,
            Self::Error => AnsiColor::Red,
        };
        Style::new().fg_color(Some(Color::Ansi(color)))
    }
}

/// `INFO  connect  connected connection.id=…` from a JSON line; other lines keep their text behind the name.
pub(super) fn function_text(function: &str, line: &str) -> String {
    if let Some(metrics) = metrics(line) {
        return format!("      {BOLD}{function}{BOLD:#}  {DIM}{metrics}{DIM:#}");
    }
    let Some(object) = object(line) else {
        return format!("      {BOLD}{function}{BOLD:#}  {line}");
    };
    let level = object.get("level").and_then(Value::as_str).and_then(Level::parse);
    let mut text = match level {
        Some(level) => format!("{0}{1:<5}{0:#} ", level.style(), level.name()),
        None => "      ".to_owned(),
    };
    let _ = write!(text, "{BOLD}{function}{BOLD:#} ");
    if let Some(message) = message(&object) {
        let _ = write!(text, " {}", plain(message));
    }
    let nested = object.get("fields").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in object.iter().filter(|(key, _)| *key != "fields").chain(nested) {
        if !NOT_SHOWN.contains(&key.as_str()) {
            let _ = write!(text, " {DIM}{key}={DIM:#}{}", quoted(value));
        }
    }
    text
}

/// `counted Delivered=3 FanOutLag=[12,7]` from a line in CloudWatch's embedded metric format: what its definitions name,
/// without the definitions.
fn metrics(line: &str) -> Option<String> {
    if !line.starts_with('{') || !line.contains("CloudWatchMetrics") {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_str(line).ok()?;
    let directives = object.get("_aws")?.get("CloudWatchMetrics")?.as_array()?;
    let defined = directives.iter().filter_map(|directive| directive.get("Metrics")?.as_array()).flatten();
    let names = defined.filter_map(|metric| metric.get("Name")?.as_str());
    let mut text = "counted".to_owned();
    for (name, value) in names.filter_map(|name| Some((name, object.get(name)?))) {
        let _ = write!(text, " {name}={value}");
    }
    Some(text)
}

/// The function's own JSON with a `function` field, or an object around its text.
pub(super) fn function_json(function: &str, line: &str) -> String {
    let mut object = object(line).unwrap_or_else(|| {
        let mut object = stamped();
        object.insert("message".to_owned(), json!(line));
        object
    });
    object.insert("function".to_owned(), json!(function));
    Value::Object(object).to_string()
}

/// A remark of the gateway: the text alone, with its level in front where it is a warning or an error.
pub(super) fn own_text(level: Level, text: &str) -> String {
    match level {
        Level::Warn | Level::Error => {
            let word = if level == Level::Warn { "warning" } else { "error" };
            format!("{0}{word}:{0:#} {text}", level.style().effects(Effects::BOLD))
        }
        _ => text.to_owned(),
    }
}

/// A remark of the gateway, for programs.
pub(super) fn own_json(level: Level, text: &str) -> String {
    let mut object = stamped();
    object.insert("level".to_owned(), json!(level.name()));
    object.insert("message".to_owned(), json!(text));
    Value::Object(object).to_string()
}

fn stamped() -> Map<String, Value> {
    // Formatting the current time as RFC 3339 fails only for years beyond 9999.
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    Map::from_iter([("timestamp".to_owned(), json!(now))])
}

/// The line as an object that has a level, a message or metrics, which is what loggers write.
fn object(line: &str) -> Option<Map<String, Value>> {
    if !line.starts_with('{') {
        return None;
    }
    let object: Map<String, Value> = serde_json::from_str(line).ok()?;
    let is_log = object.contains_key("level") || object.contains_key("_aws") || message(&object).is_some();
    is_log.then_some(object)
}

fn message(object: &Map<String, Value>) -> Option<&Value> {
    let nested = object.get("fields").and_then(|fields| fields.get("message"));
    nested.or_else(|| object.get("message")).or_else(|| object.get("msg"))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn quoted(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains(char::is_whitespace) => text.to_owned(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_tracing_line_becomes_level_name_message_and_fields() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","fields":{"message":"connected","connection.id":"abc=","topics":2,"note":"two words"},"target":"connect","span":{"requestId":"r"}}"#;
        assert_eq!(
            bare(&function_text("connect", line)),
            r#"INFO  connect  connected connection.id=abc= note="two words" topics=2"#
        );
    }

    #[test]
    fn a_flat_line_becomes_the_same() {
        let line = r#"{"level":"WARN","message":"slow","attempts":3,"target":"notifier"}"#;
        assert_eq!(bare(&function_text("notifier", line)), "WARN  notifier  slow attempts=3");
    }

    #[test]
    fn metrics_are_shown_in_short_and_passed_on_as_they_are() {
        let line = r#"{"Delivered":3,"FanOutLag":[12,7],"Stack":"s","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stack"]],"Metrics":[{"Name":"Delivered","Unit":"Count"},{"Name":"FanOutLag"},{"Name":"Absent"}],"Namespace":"N"}],"Timestamp":1},"level":"INFO","timestamp":"t"}"#;
        assert_eq!(bare(&function_text("notifier", line)), "      notifier  counted Delivered=3 FanOutLag=[12,7]");
        let mut passed: Value = serde_json::from_str(&function_json("notifier", line)).unwrap();
        assert_eq!(passed["function"].take(), "notifier");
        passed.as_object_mut().unwrap().remove("function");
        assert_eq!(passed, serde_json::from_str::<Value>(line).unwrap());
        // Without a level too, which other libraries leave out.
        let bare_line = r#"{"_aws":{"CloudWatchMetrics":[{"Metrics":[{"Name":"A"}]}]},"A":1}"#;
        assert_eq!(bare(&function_text("f", bare_line)), "      f  counted A=1");
        assert_eq!(serde_json::from_str::<Value>(&function_json("f", bare_line)).unwrap()["A"], 1);
        for other in [r#"{"_aws":{"CloudWatchMetrics":1}}"#, r#"{"message":"CloudWatchMetrics"}"#] {
            assert!(!bare(&function_text("f", other)).contains("counted"), "{other}");
        }
    }

    #[test]
    fn text_keeps_its_words_behind_the_name() {
        assert_eq!(bare(&function_text("connect", "hello {")), "      connect  hello {");
        assert_eq!(bare(&function_text("connect", r#"{"a":1}"#)), r#"      connect  {"a":1}"#);
    }

    #[test]
    fn json_lines_carry_the_function() {
        let line: Value = serde_json::from_str(&function_json("api", r#"{"level":"INFO","message":"x"}"#)).unwrap();
        assert_eq!(line, json!({"level": "INFO", "message": "x", "function": "api"}));
        let line: Value = serde_json::from_str(&function_json("api", "panic!")).unwrap();
        assert_eq!((&line["message"], &line["function"]), (&json!("panic!"), &json!("api")));
    }
}
