//! Filter patterns, as EventBridge and event source mappings have them.
//!
//! A pattern is an object of the fields to look at; at its leaves stand lists of which one entry must match: a value,
//! or a test, such as `prefix` or `numeric`. `$or` lists patterns of which one must match. (EventBridge User Guide,
//! "Comparison operators for use in event patterns"; Lambda Developer Guide, "Control which events Lambda sends to your
//! function".) Why this is no crate: `docs/decisions/0012-event-patterns.md`.

mod check;
mod cidr;
mod wildcard;

use serde_json::Value;

pub use check::check;
pub use cidr::contains as is_in_range;

/// Whether a record matches one of the patterns; it does where there are none.
pub fn passes(patterns: &[Value], record: &Value) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, record))
}

/// Whether a record matches a pattern that [`check()`] takes.
pub fn matches(pattern: &Value, record: &Value) -> bool {
    fits(pattern, Some(record))
}

fn fits(pattern: &Value, value: Option<&Value>) -> bool {
    match (pattern, value) {
        // One element of a list is enough, but all fields must be its.
        (Value::Object(_), Some(Value::Array(items))) => items.iter().any(|item| fits(pattern, Some(item))),
        (Value::Object(fields), value) => fields.iter().all(|(name, pattern)| match name.as_str() {
            OR => pattern.as_array().is_some_and(|patterns| patterns.iter().any(|pattern| fits(pattern, value))),
            name => fits(pattern, value.and_then(|value| value.get(name))),
        }),
        (Value::Array(tests), Some(Value::Array(items))) if !items.is_empty() => {
            items.iter().any(|item| tests.iter().any(|test| holds(test, Some(item))))
        }
        // A list without elements is like a field that is not there.
        (Value::Array(tests), value) => tests.iter().any(|test| holds(test, value.filter(|value| !value.is_array()))),
        _ => false,
    }
}

/// The field of a pattern that lists patterns.
pub(crate) const OR: &str = "$or";

/// Whether a value passes a test, which is a value itself or an object of one comparison.
fn holds(test: &Value, value: Option<&Value>) -> bool {
    let Value::Object(test) = test else { return value.is_some_and(|value| same(test, value)) };
    let Some((name, argument)) = test.iter().next() else { return false };
    match name.as_str() {
        // Only what is no object exists, and a field that an object misses does not.
        "exists" => argument.as_bool() == Some(value.is_some_and(|value| !value.is_object())),
        "anything-but" => value.is_some_and(|value| !value.is_object() && !is_unwanted(argument, value)),
        "numeric" => value
            .filter(|value| value.is_number())
            .and_then(Value::as_f64)
            .is_some_and(|number| in_range(argument, number)),
        name => value.and_then(Value::as_str).is_some_and(|text| compares(name, argument, text)),
    }
}

/// Whether a text passes a comparison that is about texts.
fn compares(comparison: &str, argument: &Value, text: &str) -> bool {
    // `{"prefix": {"equals-ignore-case": "a"}}`.
    let folded = argument.get(IGNORING_CASE).and_then(Value::as_str).map(str::to_lowercase);
    let wanted = folded.as_deref().or(argument.as_str()).unwrap_or_default();
    let text = if folded.is_some() { &text.to_lowercase() } else { text };
    match comparison {
        "prefix" => text.starts_with(wanted),
        "suffix" => text.ends_with(wanted),
        IGNORING_CASE => text.to_lowercase() == wanted.to_lowercase(),
        "wildcard" => wildcard::matches(wanted, text),
        "cidr" => cidr::contains(wanted, text),
        _ => false,
    }
}

const IGNORING_CASE: &str = "equals-ignore-case";

/// What `anything-but` excludes: values, or what passes a comparison with one text or several.
fn is_unwanted(argument: &Value, value: &Value) -> bool {
    match argument {
        Value::Array(unwanted) => unwanted.iter().any(|unwanted| same(unwanted, value)),
        Value::Object(test) => test.iter().any(|(comparison, texts)| {
            let texts = texts.as_array().map_or(std::slice::from_ref(texts), Vec::as_slice);
            value.as_str().is_some_and(|value| texts.iter().any(|text| compares(comparison, text, value)))
        }),
        unwanted => same(unwanted, value),
    }
}

/// Numbers are the same by their value, `5` and `5.0`.
fn same(wanted: &Value, value: &Value) -> bool {
    match (wanted.as_f64(), value.as_f64()) {
        (Some(wanted), Some(value)) => wanted == value,
        _ => wanted == value,
    }
}

fn in_range(range: &Value, number: f64) -> bool {
    let parts = range.as_array().map_or(&[][..], Vec::as_slice);
    parts.chunks(2).all(|part| {
        let [sign, bound] = part else { return false };
        let bound = bound.as_f64().unwrap_or(f64::NAN);
        match sign.as_str() {
            Some("<") => number < bound,
            Some("<=") => number <= bound,
            Some("=") => number == bound,
            Some(">=") => number >= bound,
            Some(">") => number > bound,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_pattern(pattern: Value, record: Value, expected: bool) {
        assert_eq!(check(&pattern), Ok(()), "{pattern}");
        assert_eq!(passes(std::slice::from_ref(&pattern), &record), expected, "{pattern} on {record}");
    }

    #[test]
    fn a_record_matches_when_every_field_does() {
        let pattern = json!({"body": {"kind": ["a", "b"], "size": [5]}});
        check_pattern(pattern.clone(), json!({"body": {"kind": "b", "size": 5.0, "more": 1}}), true);
        check_pattern(pattern.clone(), json!({"body": {"kind": "b"}}), false);
        check_pattern(pattern, json!({"body": "text"}), false);
        check_pattern(json!({"a": [null]}), json!({"a": null}), true);
        check_pattern(json!({"a": [null]}), json!({}), false);
        check_pattern(json!({"a": [""]}), json!({"a": ""}), true);
        check_pattern(json!({"a": [5]}), json!({"a": "5"}), false);
    }

    #[test]
    fn of_a_list_one_element_is_enough_and_must_match_in_all_fields() {
        check_pattern(json!({"tags": ["x"]}), json!({"tags": ["y", "x"]}), true);
        let pattern = json!({"items": {"name": ["a"], "size": [{"numeric": [">", 3]}]}});
        check_pattern(pattern.clone(), json!({"items": [{"name": "b"}, {"name": "a", "size": 4}]}), true);
        check_pattern(pattern, json!({"items": [{"name": "a", "size": 1}, {"name": "b", "size": 4}]}), false);
        check_pattern(json!({"a": [{"exists": true}]}), json!({"a": []}), false);
        check_pattern(json!({"a": [{"exists": false}]}), json!({"a": []}), true);
    }

    #[test]
    fn tests_are_followed() {
        let check = |test: Value, value: Value, expected: bool| {
            check_pattern(json!({"a": [test]}), json!({"a": value}), expected);
        };
        check(json!({"prefix": "ord"}), json!("orders"), true);
        check(json!({"prefix": "ord"}), json!(5), false);
        check(json!({"prefix": {"equals-ignore-case": "ORD"}}), json!("orders"), true);
        check(json!({"suffix": ".png"}), json!("a.png"), true);
        check(json!({"suffix": {"equals-ignore-case": ".PNG"}}), json!("a.jpg"), false);
        check(json!({"equals-ignore-case": "ABC"}), json!("abc"), true);
        check(json!({"wildcard": "a*c"}), json!("abbc"), true);
        check(json!({"wildcard": "a*c"}), json!("abbd"), false);
        check(json!({"cidr": "10.0.0.0/24"}), json!("10.0.0.255"), true);
        check(json!({"cidr": "10.0.0.0/24"}), json!("10.0.1.0"), false);
        check(json!({"numeric": [">", 0, "<=", 5]}), json!(5), true);
        check(json!({"numeric": [">", 0, "<=", 5]}), json!(5.1), false);
        check(json!({"numeric": ["=", 5]}), json!("5"), false);
        check(json!({"exists": true}), json!(null), true);
        check_pattern(json!({"a": [{"exists": false}]}), json!({"b": 1}), true);
        check_pattern(json!({"a": [{"exists": true}]}), json!({"b": 1}), false);
    }

    #[test]
    fn anything_but_excludes_values_and_what_passes_a_comparison() {
        let check = |argument: Value, value: Value, expected: bool| {
            check_pattern(json!({"a": [{"anything-but": argument}]}), json!({"a": value}), expected);
        };
        check(json!(["x", "y"]), json!("z"), true);
        check(json!("x"), json!("x"), false);
        check(json!([1, 2]), json!(2), false);
        check(json!({"prefix": "x"}), json!("xy"), false);
        check(json!({"prefix": ["x", "z"]}), json!("zy"), false);
        check(json!({"suffix": ".png"}), json!("a.jpg"), true);
        check(json!({"equals-ignore-case": ["X"]}), json!("x"), false);
        check(json!({"wildcard": "*/lib/*"}), json!("/usr/lib/a"), false);
        check_pattern(json!({"a": [{"anything-but": "x"}]}), json!({"b": 1}), false);
    }

    #[test]
    fn of_patterns_in_or_one_must_match_beside_the_other_fields() {
        let pattern = json!({"source": ["s"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [2]}}]});
        check_pattern(pattern.clone(), json!({"source": "s", "detail": {"b": 2}}), true);
        check_pattern(pattern.clone(), json!({"source": "s", "detail": {"b": 3}}), false);
        check_pattern(pattern, json!({"source": "t", "detail": {"a": 1}}), false);
        let inside = json!({"detail": {"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"c": [3]}]}]}});
        check_pattern(inside, json!({"detail": {"c": 3}}), true);
    }

    #[test]
    fn without_patterns_everything_passes() {
        assert!(passes(&[], &json!(1)));
    }
}
