//! The policy that an authorizer returns: may this client connect?

mod conditions;

use serde::Deserialize;
use serde_json::Value;

pub(super) use conditions::Facts;

const INVOKE: &str = "execute-api:invoke";
/// The longest resource that API Gateway takes, in bytes.
const MAX_RESOURCE: usize = 512;

/// An IAM policy document, as far as API Gateway reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policy {
    statement: OneOrMany<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
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

/// What a policy says about one client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) allows: bool,
    /// Conditions that are not evaluated here, by operator and key. An Allow that has one does not count and a Deny does, so
    /// that nobody gets in here who would stay out on AWS.
    pub(super) unsupported: Vec<String>,
}

impl Policy {
    /// What keeps it from being a policy.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let statements = self.statement.as_slice();
        let resources = statements.iter().flat_map(|one| one.resource.iter().chain(&one.not_resource));
        if resources.flat_map(OneOrMany::as_slice).any(|resource| resource.len() > MAX_RESOURCE) {
            return Some("a resource of its policy has more than 512 bytes");
        }
        let has_one = |one: bool, other: bool| one != other;
        let is_whole = |one: &Statement| {
            has_one(one.action.is_some(), one.not_action.is_some())
                && has_one(one.resource.is_some(), one.not_resource.is_some())
        };
        (!statements.iter().all(is_whole)).then_some(
            "each statement of its policy needs one of Action and NotAction, and one of Resource and NotResource",
        )
    }

    /// Whether an Allow matches `method_arn` and no Deny does.
    pub(super) fn judge(&self, method_arn: &str, facts: &Facts) -> Verdict {
        let mut unsupported = Vec::new();
        let mut has = |effect| {
            let statements = self.statement.as_slice().iter().filter(|one| one.effect == effect);
            // Each is looked at, so that nothing unsupported goes unnamed.
            statements.fold(false, |any, one| any | one.applies(method_arn, facts, &mut unsupported))
        };
        let (allowed, denied) = (has(Effect::Allow), has(Effect::Deny));
        Verdict { allows: allowed && !denied, unsupported }
    }
}

impl Statement {
    fn applies(&self, method_arn: &str, facts: &Facts, unsupported: &mut Vec<String>) -> bool {
        let any = |patterns: &Option<OneOrMany<String>>, matches: &dyn Fn(&String) -> bool| {
            patterns.as_ref().is_some_and(|patterns| patterns.as_slice().iter().any(matches))
        };
        let is_action = |action: &String| matches(&action.to_ascii_lowercase(), INVOKE);
        let is_resource = |resource: &String| matches(resource, method_arn);
        let action = any(&self.action, &is_action) || self.not_action.is_some() && !any(&self.not_action, &is_action);
        let resource =
            any(&self.resource, &is_resource) || self.not_resource.is_some() && !any(&self.not_resource, &is_resource);
        if !(action && resource) {
            return false;
        }
        let before = unsupported.len();
        let holds = self.condition.as_ref().is_none_or(|condition| conditions::hold(condition, facts, unsupported));
        if unsupported.len() > before { self.effect == Effect::Deny } else { holds }
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

    fn facts() -> Facts {
        Facts { source_ip: "192.0.2.7".to_owned(), user_agent: None, referer: None, epoch_ms: 1_700_000_000_000 }
    }

    fn statement(effect: &str, action: Value, resource: Value) -> Value {
        json!({"Effect": effect, "Action": action, "Resource": resource})
    }

    #[track_caller]
    fn check(statements: Value, expected: bool) {
        let policy: Policy =
            serde_json::from_value(json!({"Version": "2012-10-17", "Statement": statements.clone()})).unwrap();
        let verdict = policy.judge(ARN, &facts());
        assert_eq!((policy.problem(), verdict.allows), (None, expected), "{statements}");
        assert_eq!(verdict.unsupported, [""; 0], "{statements}");
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
    fn conditions_are_evaluated() {
        let with = |effect: &str, condition: Value| {
            let mut statement = statement(effect, json!("*"), json!("*"));
            statement["Condition"] = condition;
            statement
        };
        let here = json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}});
        let elsewhere = json!({"IpAddress": {"aws:SourceIp": ["198.51.100.0/24", "203.0.113.9"]}});
        check(json!([with("Allow", here.clone())]), true);
        check(json!([with("Allow", elsewhere.clone())]), false);
        check(json!([with("Allow", json!({}))]), true);
        let allow = statement("Allow", json!("*"), json!("*"));
        check(json!([allow, with("Deny", here)]), false);
        check(json!([allow, with("Deny", elsewhere)]), true);
    }

    #[test]
    fn what_is_not_evaluated_is_named_and_never_lets_in() {
        let mut conditional = statement("Allow", json!("*"), json!("*"));
        conditional["Condition"] = json!({"StringEquals": {"aws:PrincipalOrgID": "o"}, "Fuzzy": {"aws:SourceIp": "x"}});
        let judge = |statements: Value| {
            let policy: Policy = serde_json::from_value(json!({"Statement": statements})).unwrap();
            policy.judge(ARN, &facts())
        };
        let expected = vec!["Fuzzy of aws:SourceIp".to_owned(), "StringEquals of aws:PrincipalOrgID".to_owned()];
        let mut verdict = judge(json!([conditional]));
        verdict.unsupported.sort();
        assert_eq!(verdict, Verdict { allows: false, unsupported: expected });
        conditional["Effect"] = json!("Deny");
        let verdict = judge(json!([statement("Allow", json!("*"), json!("*")), conditional]));
        assert!(!verdict.allows && verdict.unsupported.len() == 2, "{verdict:?}");
    }

    #[test]
    fn what_a_statement_is_not_about_is_said_by_not_action_and_not_resource() {
        let not = |key: &str, value: &str, other: &str| json!({"Effect": "Allow", key: value, other: "*"});
        check(json!([not("NotAction", "s3:*", "Resource")]), true);
        check(json!([not("NotAction", "execute-api:*", "Resource")]), false);
        check(json!([not("NotResource", "arn:aws:execute-api:*/prod/*", "Action")]), true);
        check(json!([not("NotResource", ARN, "Action")]), false);
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
            json!({"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}),
        ] {
            let policy: Policy = serde_json::from_value(json!({"Statement": [statement]})).unwrap();
            assert!(policy.problem().is_some_and(|problem| problem.contains("one of Action and NotAction")));
        }
        let perhaps = json!({"Statement": [{"Effect": "Perhaps", "Action": "*", "Resource": "*"}]});
        assert!(serde_json::from_value::<Policy>(perhaps).is_err());
    }
}
