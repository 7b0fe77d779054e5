//! Topics of SNS: who is subscribed, and which messages each gets.

use serde_json::{Map, Value};

use crate::filter;

/// A topic of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// `TopicName`, or what CloudFormation would make; it ends with `.fifo` where the topic is one.
    pub name: String,
    /// What `!Ref` of it resolves to.
    pub arn: String,
    /// Keep order within message groups, and drop duplicates.
    pub fifo: bool,
    /// Only FIFO: a message without a deduplication id has the hash of its body as one.
    pub content_based_deduplication: bool,
}

/// Somebody who gets what is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Its logical id, by which log lines name it; of a nested stack a path.
    pub id: String,
    /// The topic's ARN.
    pub topic: String,
    /// Who it is.
    pub subscriber: Subscriber,
    /// `RawMessageDelivery`: a queue gets the message as it is, without an envelope.
    pub raw: bool,
    /// Which messages it gets; all where there is none.
    pub filter: Option<FilterPolicy>,
}

/// Who gets the messages of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscriber {
    /// A function of the stack, which nobody waits for.
    Function {
        /// Its logical id.
        id: String,
    },
    /// A queue of the stack.
    Queue {
        /// Its name.
        name: String,
        /// Its ARN.
        arn: String,
    },
}

/// What a filter policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilterScope {
    /// `MessageAttributes`.
    #[default]
    Attributes,
    /// `MessageBody`: the message, which has to be JSON.
    Body,
}

/// The filter policy of a subscription (SNS Developer Guide, "Amazon SNS subscription filter policies").
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPolicy {
    scope: FilterScope,
    pattern: Value,
}

/// Most keys of a policy ("Filter policy constraints in Amazon SNS").
const MOST_KEYS: usize = 5;
/// Most combinations of the values of a policy.
const MOST_COMBINATIONS: usize = 150;

impl FilterPolicy {
    /// A policy that SNS takes.
    ///
    /// # Errors
    /// With the part that is wrong.
    pub fn new(scope: FilterScope, pattern: Value) -> Result<Self, String> {
        filter::check(&pattern)?;
        check_tests(&pattern)?;
        let size = Size::of(&pattern, 1);
        if scope == FilterScope::Attributes && size.depth > 1 {
            return Err("an object inside of it needs `FilterPolicyScope: MessageBody`".to_owned());
        }
        if size.keys > MOST_KEYS {
            return Err(format!("it has {} keys, and SNS takes at most {MOST_KEYS}", size.keys));
        }
        if size.combinations > MOST_COMBINATIONS {
            let text = format!(
                "its values make {} combinations, and SNS takes at most {MOST_COMBINATIONS}: the lengths of the lists, each \
                 times its depth, multiplied",
                size.combinations
            );
            return Err(text);
        }
        Ok(Self { scope, pattern })
    }

    /// Whether a message passes. Attributes have the values that policies compare with: texts, numbers, and lists.
    #[must_use]
    pub fn lets_through(&self, attributes: &Map<String, Value>, message: &str) -> bool {
        match self.scope {
            FilterScope::Attributes => filter::matches(&self.pattern, &Value::Object(attributes.clone())),
            // What is no JSON object is delivered to nobody who filters by it.
            FilterScope::Body => serde_json::from_str::<Value>(message)
                .is_ok_and(|message| message.is_object() && filter::matches(&self.pattern, &message)),
        }
    }
}

/// EventBridge has two comparisons that SNS does not ("String value matching").
fn check_tests(pattern: &Value) -> Result<(), String> {
    match pattern {
        Value::Array(tests) => tests.iter().try_for_each(check_tests),
        Value::Object(fields) if fields.contains_key("wildcard") && !fields["wildcard"].is_array() => {
            Err(format!("`{pattern}`: SNS has no `wildcard`; use `prefix` or `suffix`"))
        }
        Value::Object(fields) => match fields.get("anything-but") {
            Some(Value::Object(test)) if !test.contains_key("prefix") => {
                Err(format!("`{pattern}`: SNS's `anything-but` takes values, and `prefix` alone"))
            }
            _ => fields.values().try_for_each(check_tests),
        },
        _ => Ok(()),
    }
}

/// How large a policy is, as its limits count.
struct Size {
    keys: usize,
    combinations: usize,
    depth: usize,
}

impl Size {
    /// Lists that must all match multiply, and patterns of which one must match add up.
    fn of(pattern: &Value, depth: usize) -> Self {
        let mut size = Self { keys: 0, combinations: 1, depth };
        for (name, value) in pattern.as_object().into_iter().flatten() {
            let part = match value {
                Value::Object(_) => Self::of(value, depth + 1),
                Value::Array(patterns) if name == filter::OR => Self::any(patterns, depth),
                Value::Array(values) => Self { keys: 1, combinations: values.len() * depth, depth },
                _ => continue,
            };
            size.keys += part.keys;
            size.combinations = size.combinations.saturating_mul(part.combinations);
            size.depth = size.depth.max(part.depth);
        }
        size
    }

    fn any(patterns: &[Value], depth: usize) -> Self {
        patterns.iter().map(|pattern| Self::of(pattern, depth)).fold(
            Self { keys: 0, combinations: 0, depth },
            |sum, part| Self {
                keys: sum.keys + part.keys,
                combinations: sum.combinations.saturating_add(part.combinations),
                depth: sum.depth.max(part.depth),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(scope: FilterScope, pattern: Value) -> FilterPolicy {
        FilterPolicy::new(scope, pattern.clone()).unwrap_or_else(|why| panic!("{pattern}: {why}"))
    }

    #[track_caller]
    fn check(pattern: Value, attributes: Value, expected: bool) {
        let attributes = attributes.as_object().unwrap();
        assert_eq!(
            policy(FilterScope::Attributes, pattern.clone()).lets_through(attributes, "text"),
            expected,
            "{pattern}"
        );
    }

    /// The message of the SNS Developer Guide's "example filter policies", and what it says of each policy.
    #[test]
    fn the_documented_policies_accept_and_reject_the_documented_message() {
        let attributes = json!({"customer_interests": ["soccer", "rugby", "hockey"], "store": "example_corp",
            "event": "order_placed", "price_usd": 210.75});
        let accepted = json!({"store": ["example_corp"], "event": [{"anything-but": "order_cancelled"}],
            "customer_interests": ["rugby", "football", "baseball"], "price_usd": [{"numeric": [">=", 100]}]});
        check(accepted, attributes.clone(), true);
        let rejected = json!({"store": ["example_corp"], "event": ["order_cancelled"], "encrypted": [false],
            "customer_interests": ["basketball", "baseball"]});
        check(rejected, attributes, false);
    }

    #[test]
    fn attributes_are_compared_by_their_type() {
        check(json!({"n": [5]}), json!({"n": 5}), true);
        check(json!({"n": [5]}), json!({"n": "5"}), false);
        check(json!({"n": ["5"]}), json!({"n": 5}), false);
        check(json!({"a": [{"prefix": "order_"}]}), json!({"a": "order_placed"}), true);
        check(json!({"a": [{"suffix": "_placed"}]}), json!({"a": "order_sent"}), false);
        check(json!({"a": [{"equals-ignore-case": "TENNIS"}]}), json!({"a": "tennis"}), true);
        check(json!({"ip": [{"cidr": "10.0.0.0/24"}]}), json!({"ip": "10.0.0.5"}), true);
        check(json!({"a": [{"exists": false}]}), json!({"b": "x"}), true);
        check(json!({"a": [{"anything-but": {"prefix": "order-"}}]}), json!({"a": "order-1"}), false);
        check(json!({"a": [{"anything-but": ["rugby"]}]}), json!({"a": ["rugby", "soccer"]}), true);
        check(json!({"$or": [{"a": ["x"]}, {"b": ["y"]}]}), json!({"b": "y"}), true);
        check(json!({"a": ["x"]}), json!({}), false);
    }

    #[test]
    fn a_policy_of_the_body_looks_into_the_message() {
        let policy = policy(FilterScope::Body, json!({"order": {"status": ["shipped"]}}));
        for (message, expected) in [
            (r#"{"order":{"status":"shipped"}}"#, true),
            (r#"{"order":{"status":"lost"}}"#, false),
            ("shipped", false),
            ("[]", false),
        ] {
            assert_eq!(policy.lets_through(&Map::new(), message), expected, "{message}");
        }
    }

    #[test]
    fn what_sns_refuses_is_refused() {
        let check = |scope, pattern: Value, words: &str| {
            let why = FilterPolicy::new(scope, pattern).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        check(FilterScope::Attributes, json!({"a": "b"}), "stands where a list must");
        check(FilterScope::Attributes, json!({"a": [{"wildcard": "a*"}]}), "SNS has no `wildcard`");
        check(FilterScope::Attributes, json!({"a": [{"anything-but": {"suffix": "a"}}]}), "`prefix` alone");
        check(FilterScope::Attributes, json!({"a": {"b": ["c"]}}), "`FilterPolicyScope: MessageBody`");
        let six: Map<_, _> = (0..6).map(|n| (n.to_string(), json!(["x"]))).collect();
        check(FilterScope::Attributes, six.into(), "it has 6 keys");
        let many = json!({"a": vec!["x"; 13], "b": vec!["x"; 12]});
        check(FilterScope::Attributes, many, "make 156 combinations");
        // The guide's own sum: four values three deep, times three values two deep.
        let guide = json!({"a": {"b": {"c": ["1", "2", "3", "4"]}}, "d": {"e": ["1", "2", "3"]}});
        assert_eq!(Size::of(&guide, 1).combinations, 72);
    }
}
