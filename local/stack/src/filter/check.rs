//! Whether a pattern is one.

use serde_json::Value;

use super::{IGNORING_CASE, OR, cidr, wildcard};

/// The tests that there are, beside plain values.
const TESTS: [&str; 8] =
    ["prefix", "suffix", "equals-ignore-case", "wildcard", "cidr", "exists", "anything-but", "numeric"];

/// Whether a pattern is one that EventBridge takes.
///
/// # Errors
/// With the part that is wrong.
pub fn check(pattern: &Value) -> Result<(), String> {
    match pattern {
        Value::Object(fields) if fields.is_empty() => Err("`{}` names no field".to_owned()),
        Value::Object(fields) => fields.iter().try_for_each(|(name, pattern)| match name.as_str() {
            OR => check_or(pattern),
            _ => check_field(name, pattern),
        }),
        other => Err(format!("`{other}` stands where an object must")),
    }
}

fn check_or(patterns: &Value) -> Result<(), String> {
    match patterns.as_array().map(Vec::as_slice) {
        Some(patterns @ [_, _, ..]) => patterns.iter().try_for_each(check),
        _ => Err(format!("`{OR}` must list at least two patterns, not `{patterns}`")),
    }
}

fn check_field(name: &str, pattern: &Value) -> Result<(), String> {
    match pattern {
        Value::Object(_) => check(pattern),
        Value::Array(tests) if tests.is_empty() => Err(format!("the list of `{name}` is empty")),
        Value::Array(tests) => tests.iter().try_for_each(check_test),
        other => Err(format!("`{other}` stands where a list must")),
    }
}

fn check_test(test: &Value) -> Result<(), String> {
    let test = match test {
        Value::Object(test) => test,
        Value::Array(_) => return Err(format!("`{test}` is a list inside of a list")),
        _ => return Ok(()),
    };
    let mut comparisons = test.iter();
    match (comparisons.next(), comparisons.next()) {
        (Some((name, argument)), None) if takes(name, argument) => Ok(()),
        _ => Err(format!("`{}` (known are values and {})", Value::from(test.clone()), TESTS.join(", "))),
    }
}

fn takes(test: &str, argument: &Value) -> bool {
    match (test, argument) {
        ("exists", argument) => argument.is_boolean(),
        ("anything-but", Value::Object(test)) => {
            let one_or_many = |name: &str, texts: &Value| match texts {
                Value::Array(texts) => !texts.is_empty() && texts.iter().all(|text| is_text_test(name, text)),
                text => is_text_test(name, text),
            };
            test.len() == 1 && test.iter().all(|(name, texts)| name != "cidr" && one_or_many(name, texts))
        }
        ("anything-but", Value::Array(values)) => {
            !values.is_empty() && (values.iter().all(Value::is_string) || values.iter().all(Value::is_number))
        }
        ("anything-but", value) => value.is_string() || value.is_number(),
        ("numeric", Value::Array(parts)) => {
            (parts.len() == 2 || parts.len() == 4)
                && parts.chunks(2).all(|part| matches!(part, [Value::String(sign), Value::Number(_)] if compares(sign)))
        }
        (name, argument) => is_text_test(name, argument),
    }
}

/// Whether it is a comparison of texts, with a text that it can compare with.
fn is_text_test(name: &str, argument: &Value) -> bool {
    match (name, argument) {
        ("prefix" | "suffix", Value::Object(test)) => {
            test.len() == 1 && test.get(IGNORING_CASE).is_some_and(Value::is_string)
        }
        ("prefix" | "suffix" | IGNORING_CASE, argument) => argument.is_string(),
        ("wildcard", Value::String(pattern)) => wildcard::is_valid(pattern),
        ("cidr", Value::String(range)) => cidr::is_valid(range),
        _ => false,
    }
}

fn compares(sign: &str) -> bool {
    ["<", "<=", "=", ">=", ">"].contains(&sign)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_in_a_pattern_is_named() {
        let check = |pattern: Value, expected: &str| assert_eq!(super::check(&pattern), Err(expected.to_owned()));
        check(json!({}), "`{}` names no field");
        check(json!([]), "`[]` stands where an object must");
        check(json!({"detail": {}}), "`{}` names no field");
        check(json!({"a": "b"}), "`\"b\"` stands where a list must");
        check(json!({"a": []}), "the list of `a` is empty");
        check(json!({"a": [["b"]]}), "`[\"b\"]` is a list inside of a list");
        check(json!({"$or": [{"a": [1]}]}), "`$or` must list at least two patterns, not `[{\"a\":[1]}]`");
        check(json!({"$or": [{"a": [1]}, {"b": 2}]}), "`2` stands where a list must");
    }

    #[test]
    fn a_test_that_there_is_not_or_that_has_no_such_argument_is_named() {
        let check = |test: Value| {
            let error = super::check(&json!({"a": [test]})).unwrap_err();
            assert!(error.starts_with(&format!("`{test}` (known are values and prefix, ")), "{error}");
        };
        for test in [
            json!({"starts": "a"}),
            json!({"prefix": "a", "suffix": "b"}),
            json!({}),
            json!({"prefix": 5}),
            json!({"prefix": {"wildcard": "a*"}}),
            json!({"exists": "true"}),
            json!({"numeric": [">"]}),
            json!({"numeric": ["!", 5]}),
            json!({"numeric": [">", 1, "<", 2, "=", 3]}),
            json!({"wildcard": "a**"}),
            json!({"cidr": "10.0.0.0"}),
            json!({"anything-but": []}),
            json!({"anything-but": ["a", 1]}),
            json!({"anything-but": null}),
            json!({"anything-but": {"prefix": []}}),
            json!({"anything-but": {"numeric": ["=", 1]}}),
        ] {
            check(test);
        }
    }
}
