//! Filter patterns, as EventBridge and event source mappings have them.
//!
//! A pattern is an object of the fields to look at; at its leaves stand lists of which one entry must match: a value,
//! or a test: `prefix`, `suffix`, `equals-ignore-case`, `exists`, `anything-but` or `numeric`. (Lambda Developer Guide,
//! "Control which events Lambda sends to your function".)

use serde_json::Value;

/// The tests that are emulated, beside plain values.
const TESTS: [&str; 6] = ["prefix", "suffix", "equals-ignore-case", "exists", "anything-but", "numeric"];

/// Whether a pattern can be followed here.
///
/// # Errors
/// With the part that cannot be.
pub fn check(pattern: &Value) -> Result<(), String> {
    match pattern {
        Value::Object(fields) if fields.contains_key("$or") => Err("`$or`".to_owned()),
        Value::Object(fields) => fields.values().try_for_each(check),
        Value::Array(tests) => tests.iter().try_for_each(check_test),
        other => Err(format!("`{other}` stands where a list must")),
    }
}

fn check_test(test: &Value) -> Result<(), String> {
    let Value::Object(test) = test else { return Ok(()) };
    let fits = |(name, argument): (&String, &Value)| match (name.as_str(), argument) {
        ("prefix" | "suffix" | "equals-ignore-case", argument) => argument.is_string(),
        ("exists", argument) => argument.is_boolean(),
        ("anything-but", Value::Object(test)) => test.len() == 1 && test.get("prefix").is_some_and(Value::is_string),
        ("anything-but", _) => true,
        ("numeric", Value::Array(parts)) => {
            !parts.is_empty()
                && parts.chunks(2).all(|part| matches!(part, [Value::String(sign), Value::Number(_)] if compares(sign)))
        }
        _ => false,
    };
    if test.len() == 1 && test.iter().all(fits) {
        return Ok(());
    }
    Err(format!("`{}` (known are values and {})", Value::from(test.clone()), TESTS.join(", ")))
}

fn compares(sign: &str) -> bool {
    ["<", "<=", "=", ">=", ">"].contains(&sign)
}

/// Whether a record matches one of the patterns; it does where there are none.
pub fn passes(patterns: &[Value], record: &Value) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, Some(record)))
}

fn matches(pattern: &Value, value: Option<&Value>) -> bool {
    match pattern {
        Value::Object(fields) => {
            fields.iter().all(|(name, pattern)| matches(pattern, value.and_then(|value| value.get(name))))
        }
        Value::Array(tests) => match value {
            // One element of a list is enough.
            Some(Value::Array(items)) => items.iter().any(|item| tests.iter().any(|test| holds(test, Some(item)))),
            value => tests.iter().any(|test| holds(test, value)),
        },
        _ => false,
    }
}

fn holds(test: &Value, value: Option<&Value>) -> bool {
    let Value::Object(test) = test else { return value.is_some_and(|value| same(test, value)) };
    let Some((name, argument)) = test.iter().next() else { return false };
    let text = || value.and_then(Value::as_str);
    let wanted = argument.as_str().unwrap_or_default();
    match name.as_str() {
        // Only what is no object exists, and a field that an object misses does not.
        "exists" => argument.as_bool() == Some(value.is_some_and(|value| !value.is_object())),
        "prefix" => text().is_some_and(|text| text.starts_with(wanted)),
        "suffix" => text().is_some_and(|text| text.ends_with(wanted)),
        "equals-ignore-case" => text().is_some_and(|text| text.to_lowercase() == wanted.to_lowercase()),
        "anything-but" => value.is_some_and(|value| match argument {
            Value::Array(unwanted) => !unwanted.iter().any(|unwanted| same(unwanted, value)),
            Value::Object(_) => !holds(argument, Some(value)),
            unwanted => !same(unwanted, value),
        }),
        "numeric" => value.and_then(Value::as_f64).is_some_and(|number| in_range(argument, number)),
        _ => false,
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
        check_pattern(json!({"tags": ["x"]}), json!({"tags": ["y", "x"]}), true);
        check_pattern(json!({"a": [null]}), json!({"a": null}), true);
    }

    #[test]
    fn tests_are_followed() {
        let check = |test: Value, value: Value, expected: bool| {
            check_pattern(json!({"a": [test]}), json!({"a": value}), expected);
        };
        check(json!({"prefix": "ord"}), json!("orders"), true);
        check(json!({"prefix": "ord"}), json!(5), false);
        check(json!({"suffix": ".png"}), json!("a.png"), true);
        check(json!({"equals-ignore-case": "ABC"}), json!("abc"), true);
        check(json!({"anything-but": ["x", "y"]}), json!("z"), true);
        check(json!({"anything-but": "x"}), json!("x"), false);
        check(json!({"anything-but": {"prefix": "x"}}), json!("xy"), false);
        check(json!({"numeric": [">", 0, "<=", 5]}), json!(5), true);
        check(json!({"numeric": [">", 0, "<=", 5]}), json!(5.1), false);
        check(json!({"exists": true}), json!(null), true);
        check_pattern(json!({"a": [{"exists": false}]}), json!({"b": 1}), true);
        check_pattern(json!({"a": [{"exists": true}]}), json!({"b": 1}), false);
    }

    #[test]
    fn without_patterns_everything_passes() {
        assert!(passes(&[], &json!(1)));
    }

    #[test]
    fn what_is_not_emulated_is_named() {
        assert_eq!(check(&json!({"$or": []})), Err("`$or`".to_owned()));
        assert_eq!(check(&json!({"a": "b"})), Err("`\"b\"` stands where a list must".to_owned()));
        let error = check(&json!({"a": [{"wildcard": "a*"}]})).unwrap_err();
        assert!(error.starts_with(r#"`{"wildcard":"a*"}`"#), "{error}");
    }
}
