//! The policy that an authorizer returns: may this client connect?

use serde::Deserialize;
use serde_json::Value;

const INVOKE: &str = "execute-api:invoke";
/// The longest resource that API Gateway takes, in bytes.
const MAX_RESOURCE: usize = 512;

/// An IAM policy document, as far as API Gateway reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policy {
    statement: OneOrMany<Statement>,
}

/// `NotAction` and `NotResource` are refused: without `Action` and `Resource` a statement does not parse.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
    condition: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

impl Policy {
    /// Whether a resource is longer than API Gateway takes.
    pub(super) fn is_too_long(&self) -> bool {
        let mut resources = self.statement.as_slice().iter().flat_map(|one| one.resource.as_slice());
        resources.any(|resource| resource.len() > MAX_RESOURCE)
    }

    /// Whether an Allow matches `method_arn` and no Deny does.
    pub(super) fn allows(&self, method_arn: &str) -> bool {
        let has = |effect| self.statement.as_slice().iter().any(|one| one.effect == effect && one.applies(method_arn));
        has(Effect::Allow) && !has(Effect::Deny)
    }
}

impl Statement {
    /// Conditions are not evaluated. An Allow that has one therefore never counts and a Deny always does, so that
    /// nobody gets in here who would stay out on AWS.
    fn applies(&self, method_arn: &str) -> bool {
        let conditional = self.condition.as_ref().is_some_and(|condition| !condition.is_null());
        (self.effect == Effect::Deny || !conditional)
            && self.action.as_slice().iter().any(|action| matches(&action.to_ascii_lowercase(), INVOKE))
            && self.resource.as_slice().iter().any(|resource| matches(resource, method_arn))
    }
}

/// `*` stands for any run of characters, `/` and `:` among them, and `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect";

    fn statement(effect: &str, action: Value, resource: Value) -> Value {
        json!({"Effect": effect, "Action": action, "Resource": resource})
    }

    #[track_caller]
    fn check(statements: Value, expected: bool) {
        let policy: Policy =
            serde_json::from_value(json!({"Version": "2012-10-17", "Statement": statements.clone()})).unwrap();
        assert_eq!(policy.allows(ARN), expected, "{statements}");
    }

    #[test]
    fn an_allow_that_matches_lets_in() {
        for resource in [
            ARN,
            "*",
            "arn:aws:execute-api:*",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/*",
            "arn:aws:execute-api:us-east-1:*:abcdef1234/*/$connect",
            "arn:aws:execute-api:us-east-?:123456789012:abcdef1234/d?v/$connect",
        ] {
            check(json!([statement("Allow", json!("execute-api:Invoke"), json!(resource))]), true);
        }
        check(json!(statement("Allow", json!(["s3:GetObject", "execute-api:*"]), json!(["x", ARN]))), true);
        check(json!([statement("Allow", json!("*"), json!("*"))]), true);
    }

    #[test]
    fn what_does_not_match_keeps_out() {
        // The form that REST APIs use; a known trap.
        let rest = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/*/*";
        check(json!([statement("Allow", json!("execute-api:Invoke"), json!(rest))]), false);
        check(json!([statement("Allow", json!("execute-api:ManageConnections"), json!("*"))]), false);
        check(json!([statement("Allow", json!("execute-api:Invoke"), json!(ARN.replace("dev", "prod")))]), false);
        check(json!([]), false);
    }

    #[test]
    fn an_explicit_deny_wins() {
        let allow = statement("Allow", json!("*"), json!("*"));
        let deny = statement("Deny", json!("execute-api:Invoke"), json!(ARN));
        check(json!([allow, deny]), false);
        check(json!([deny, allow]), false);
        check(json!([allow, statement("Deny", json!("*"), json!("arn:aws:execute-api:*/prod/*"))]), true);
    }

    #[test]
    fn conditions_never_let_in() {
        let condition = json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}});
        let mut allow = statement("Allow", json!("*"), json!("*"));
        allow["Condition"] = condition.clone();
        check(json!([allow]), false);
        let mut deny = statement("Deny", json!("*"), json!("*"));
        deny["Condition"] = condition;
        check(json!([statement("Allow", json!("*"), json!("*")), deny]), false);
    }

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("*b*b*", "abab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_statement_without_action_or_resource_is_not_a_policy() {
        for statement in [
            json!({"Effect": "Allow", "Resource": "*"}),
            json!({"Effect": "Allow", "Action": "*"}),
            json!({"Effect": "Perhaps", "Action": "*", "Resource": "*"}),
        ] {
            assert!(serde_json::from_value::<Policy>(json!({"Statement": [statement]})).is_err());
        }
    }
}
