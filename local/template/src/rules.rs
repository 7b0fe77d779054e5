//! `Rules`: what CloudFormation demands of parameters together, before it makes anything.

use std::rc::Rc;

use super::{
    Fault,
    evaluate::Scope,
    node::{Node, Value},
};

/// The functions that only CloudFormation can answer, because they ask for what an account has, or for a parameter's type.
const NOT_HERE: [&str; 5] = ["Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll"];

/// Checks each rule whose condition holds. One that uses a function which is not evaluated here is left to CloudFormation.
pub(super) fn check(root: &Node, scope: &Scope) -> Result<(), Fault> {
    let rules = root.get("Rules").and_then(|node| node.as_map()).into_iter().flatten();
    for (name, rule) in rules.filter(|(_, rule)| !mentions(rule, &NOT_HERE)) {
        if let Some(condition) = rule.get("RuleCondition")
            && !scope.holds(condition)?
        {
            continue;
        }
        for assertion in rule.get("Assertions").and_then(|node| node.as_list()).unwrap_or_default() {
            let Some(assert) = assertion.get("Assert") else {
                return Err(Fault::at(assertion.line, format!("an assertion of the rule `{name}` has no `Assert`")));
            };
            if !scope.holds(assert)? {
                let text = assertion.get("AssertDescription").and_then(|node| node.as_text());
                let text = text.map_or_else(|| format!("the rule `{name}` does not hold"), str::to_owned);
                return Err(Fault::at(assertion.line, text));
            }
        }
    }
    Ok(())
}

/// Whether one of these keys is anywhere in it.
fn mentions(node: &Rc<Node>, keys: &[&str]) -> bool {
    match &node.value {
        Value::Null | Value::Scalar { .. } => false,
        Value::List(items) => items.iter().any(|item| mentions(item, keys)),
        Value::Map(map) => map.iter().any(|(key, item)| keys.contains(&key.as_str()) || mentions(item, keys)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::rules_fault;

    #[track_caller]
    fn check(rule: &str, fault: Option<&str>) {
        assert_eq!(rules_fault(rule).map(|fault| fault.text).as_deref(), fault, "{rule}");
    }

    #[test]
    fn an_assertion_that_does_not_hold_is_told_in_the_words_of_the_template() {
        let assertion = "Assertions: [{Assert: !Equals [!Ref Stage, prod], AssertDescription: prod only.}]";
        check(&format!("{{{assertion}}}"), Some("prod only."));
        check(&format!("{{RuleCondition: !Equals [!Ref Stage, dev], {assertion}}}"), Some("prod only."));
        check(&format!("{{RuleCondition: !Equals [!Ref Stage, beta], {assertion}}}"), None);
        check("{Assertions: [{Assert: !Not [!Equals [!Ref Stage, prod]]}]}", None);
        check("{Assertions: [{Assert: !Equals [a, b]}]}", Some("the rule `Tested` does not hold"));
        check("{Assertions: [{AssertDescription: x}]}", Some("an assertion of the rule `Tested` has no `Assert`"));
    }

    #[test]
    fn a_list_contains_a_value_or_does_not() {
        check("{Assertions: [{Assert: {'Fn::Contains': [[dev, beta], !Ref Stage]}}]}", None);
        let fault = Some("the rule `Tested` does not hold");
        check("{Assertions: [{Assert: {'Fn::Contains': [[prod], !Ref Stage]}}]}", fault);
    }

    #[test]
    fn what_only_an_account_can_answer_is_left_to_cloudformation() {
        let subnets = "{'Fn::RefAll': 'AWS::EC2::Subnet::Id'}";
        check(&format!("{{Assertions: [{{Assert: {{'Fn::EachMemberIn': [[a], {subnets}]}}}}]}}"), None);
    }
}
