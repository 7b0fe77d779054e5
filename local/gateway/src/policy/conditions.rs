//! `Condition` of a statement: the operators and keys that policies of authorizers use (IAM User Guide, "IAM JSON policy elements:
//! Condition operators" and "AWS global condition context keys").

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::matches;
use tidings_local_stack::filter::is_in_range;

/// What conditions can ask about a client and its handshake.
#[derive(Debug, Clone)]
pub(in super::super) struct Facts {
    pub(in super::super) source_ip: String,
    pub(in super::super) user_agent: Option<String>,
    pub(in super::super) referer: Option<String>,
    /// Now, in epoch milliseconds.
    pub(in super::super) epoch_ms: i64,
}

impl Facts {
    /// The value of a key, which may be absent; `Err` for a key that is not known here.
    fn get(&self, key: &str) -> Result<Option<String>, ()> {
        match key.to_ascii_lowercase().as_str() {
            "aws:sourceip" => Ok(Some(self.source_ip.clone())),
            "aws:useragent" => Ok(self.user_agent.clone()),
            "aws:referer" => Ok(self.referer.clone()),
            "aws:currenttime" | "aws:epochtime" => Ok(Some((self.epoch_ms / 1000).to_string())),
            // API Gateway takes no other clients.
            "aws:securetransport" => Ok(Some("true".to_owned())),
            "aws:viaawsservice" => Ok(Some("false".to_owned())),
            _ => Err(()),
        }
    }
}

/// Whether all of a condition holds. What is not evaluated is named in `unsupported`, and the result then means nothing.
pub(super) fn hold(condition: &Value, facts: &Facts, unsupported: &mut Vec<String>) -> bool {
    let none = Map::new();
    let operators = match condition {
        Value::Null => &none,
        Value::Object(operators) => operators,
        _ => {
            unsupported.push("a condition that is no object".to_owned());
            return false;
        }
    };
    let tests = operators.iter().flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| (operator.as_str(), key.as_str(), values))
    });
    let mut all = true;
    for (operator, key, values) in tests {
        match test(operator, key, values, facts) {
            Some(holds) => all &= holds,
            None => unsupported.push(format!("{operator} of {key}")),
        }
    }
    all
}

/// Whether one key passes; `None` if that is not evaluated here.
fn test(operator: &str, key: &str, values: &Value, facts: &Facts) -> Option<bool> {
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
    let values: Vec<String> = values.iter().map(text).collect();
    let fact = facts.get(key).ok()?;
    if operator == "Null" {
        return Some(values.iter().any(|value| (value == "true") == fact.is_none()));
    }
    let (negated, compare) = comparison(operator)?;
    match fact {
        // A value that is not there is unlike every other one.
        None => Some(if_exists || negated),
        Some(fact) => Some(values.iter().any(|value| compare(&fact, value)) != negated),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

type Compare = fn(&str, &str) -> bool;

/// How an operator compares a fact with a value of the policy, and whether it asks for the opposite.
fn comparison(operator: &str) -> Option<(bool, Compare)> {
    let equals: Compare = |fact, value| fact == value;
    let like: Compare = |fact, value| matches(value, fact);
    let ignores_case: Compare = |fact, value| fact.eq_ignore_ascii_case(value);
    Some(match operator {
        "StringEquals" => (false, equals),
        "StringNotEquals" => (true, equals),
        "StringEqualsIgnoreCase" | "Bool" => (false, ignores_case),
        "StringNotEqualsIgnoreCase" => (true, ignores_case),
        "StringLike" => (false, like),
        "StringNotLike" => (true, like),
        "IpAddress" => (false, in_range),
        "NotIpAddress" => (true, in_range),
        "DateEquals" | "NumericEquals" => (false, |fact, value| number(fact) == number(value)),
        "DateNotEquals" | "NumericNotEquals" => (true, |fact, value| number(fact) == number(value)),
        "DateLessThan" | "NumericLessThan" => (false, |fact, value| ordered(fact, value, |a, b| a < b)),
        "DateLessThanEquals" | "NumericLessThanEquals" => (false, |fact, value| ordered(fact, value, |a, b| a <= b)),
        "DateGreaterThan" | "NumericGreaterThan" => (false, |fact, value| ordered(fact, value, |a, b| a > b)),
        "DateGreaterThanEquals" | "NumericGreaterThanEquals" => {
            (false, |fact, value| ordered(fact, value, |a, b| a >= b))
        }
        _ => return None,
    })
}

fn in_range(address: &str, range: &str) -> bool {
    if range.contains('/') { is_in_range(range, address) } else { range == address }
}

/// A number, or the seconds of a time.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let time = || {
        let whole = if text.len() == "2025-01-01".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
        OffsetDateTime::parse(&whole, &Rfc3339).ok()
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
    text.parse().ok().or_else(|| time().map(|time| time.unix_timestamp() as f64))
}

fn ordered(fact: &str, value: &str, compare: fn(f64, f64) -> bool) -> bool {
    number(fact).zip(number(value)).is_some_and(|(fact, value)| compare(fact, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(condition: Value, expected: Option<bool>) {
        let facts = Facts {
            source_ip: "192.0.2.7".to_owned(),
            user_agent: Some("test/1".to_owned()),
            referer: None,
            epoch_ms: 1_750_000_000_000,
        };
        let mut unsupported = Vec::new();
        let holds = hold(&condition, &facts, &mut unsupported);
        assert_eq!(unsupported.is_empty().then_some(holds), expected, "{condition}");
    }

    #[test]
    fn each_operator_compares_as_in_iam() {
        for (condition, expected) in [
            (json!({"IpAddress": {"aws:SourceIp": "192.0.2.7"}}), true),
            (json!({"NotIpAddress": {"AWS:sourceip": ["192.0.2.0/24", "10.0.0.0/8"]}}), false),
            (json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), true),
            (json!({"StringEquals": {"aws:UserAgent": ["other", "test/1"]}}), true),
            (json!({"StringEquals": {"aws:UserAgent": "TEST/1"}}), false),
            (json!({"StringEqualsIgnoreCase": {"aws:UserAgent": "TEST/1"}}), true),
            (json!({"StringNotEquals": {"aws:UserAgent": ["other", "test/1"]}}), false),
            (json!({"StringLike": {"aws:UserAgent": "test/*"}}), true),
            (json!({"StringNotLike": {"aws:UserAgent": "*/1"}}), false),
            (json!({"DateLessThan": {"aws:CurrentTime": "2100-01-01T00:00:00Z"}}), true),
            (json!({"DateGreaterThan": {"aws:CurrentTime": "2025-06-15"}}), true),
            (json!({"DateGreaterThan": {"aws:CurrentTime": "2025-06-16T00:00:00Z"}}), false),
            (json!({"NumericLessThanEquals": {"aws:EpochTime": 1_750_000_000}}), true),
            (json!({"DateGreaterThan": {"aws:CurrentTime": "soon"}}), false),
            (json!({"Bool": {"aws:SecureTransport": true}}), true),
            (json!({"Bool": {"aws:SecureTransport": "false"}}), false),
            (json!({"Null": {"aws:Referer": "true"}}), true),
            (json!({"StringLike": {"aws:Referer": "*"}}), false),
            (json!({"StringNotLike": {"aws:Referer": "x"}}), true),
            (json!({"StringLikeIfExists": {"aws:Referer": "x"}}), true),
            (json!({"Bool": {"aws:SecureTransport": true}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), false),
            (json!({}), true),
            (Value::Null, true),
        ] {
            check(condition, Some(expected));
        }
    }

    #[test]
    fn what_is_not_known_is_said_to_be() {
        check(json!({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}), None);
        check(json!({"ArnLike": {"aws:SourceIp": "a"}}), None);
        check(json!({"StringEquals": {"aws:PrincipalTag/x": "a"}}), None);
        check(json!([]), None);
    }
}
