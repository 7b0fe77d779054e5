//! What the tests of this module share: an expression is evaluated in a small template.

use std::{collections::BTreeMap, path::Path, rc::Rc};

use serde_json::Value;

use super::{
    Context, Fault,
    evaluate::{Scope, Shared},
    names, nested, node,
    parameters::Given,
    place::Place,
};
use tidings_local_stack::{Authorizer, ConnectAuthorization, Route, Stack};

/// Where the queues are.
pub(super) const SQS: &str = "http://127.0.0.1:3030";

const CONTEXT: &str = "
Parameters:
  Stage: {Type: String, Default: dev}
  Zones: {Type: CommaDelimitedList, Default: 'a, b'}
Mappings:
  Sizes:
    dev: {memory: 256, zones: [x, y]}
Resources:
  Queue: {Type: AWS::SQS::Queue}
";

fn scope(root: &Rc<node::Node>) -> Result<Scope, Fault> {
    nested::scope(root, Place::default(), Given::default(), Rc::new(Shared::new(SQS, BTreeMap::new(), false)))
}

/// What is wrong with a rule named `Tested`.
pub(super) fn rules_fault(rule: &str) -> Option<Fault> {
    let root = node::parse(&format!("{CONTEXT}Rules:\n  Tested: {rule}\n")).expect("a template");
    scope(&root).err()
}

/// The value of `Probe` in a template.
fn probe(template: &str) -> Result<Value, Fault> {
    let root = node::parse(template)?;
    let scope = scope(&root)?;
    let value = scope.evaluate(root.get("Probe").expect("a template with a probe"))?;
    Ok(value.map_or(Value::Null, |value| value.to_json()))
}

/// The expression in a template that has a few things to refer to, and a condition of its own named `Tested`.
fn template(expression: &str, condition: &str) -> String {
    let conditions = format!("Conditions:\n  Always: !Equals [a, a]\n  Never: !Equals [a, b]\n  Tested: {condition}\n");
    let newline = if expression.starts_with("Fn::") { "\n  " } else { " " };
    format!("{CONTEXT}{conditions}Probe:{newline}{expression}\n")
}

pub(super) fn check_in(template: &str, expected: Value) {
    assert_eq!(probe(template), Ok(expected), "{template}");
}

pub(super) fn fault_in(template: &str) -> Fault {
    probe(template).expect_err(template)
}

pub(super) fn check(expression: &str, expected: Value) {
    check_in(&template(expression, "!Equals [a, a]"), expected);
}

pub(super) fn check_fault(expression: &str, words: &str) {
    let template = template(expression, "!Equals [a, a]");
    let fault = fault_in(&template);
    assert!(fault.text.contains(words), "{expression}: {}", fault.text);
    assert_eq!(fault.line, Some(template.lines().count()), "{expression}: {}", fault.text);
}

pub(super) fn check_condition(condition: &str, expected: bool) {
    check_in(&template("!If [Tested, yes, no]", condition), if expected { "yes" } else { "no" }.into());
}

pub(super) fn check_condition_fault(condition: &str, words: &str) {
    let fault = fault_in(&template("!If [Tested, yes, no]", condition));
    assert!(fault.text.contains(words), "{condition}: {}", fault.text);
}

/// A text in which `<SQS::Queue Jobs>` stands for the name that CloudFormation makes for such a resource.
pub(super) fn named(text: &str) -> String {
    named_in("tidings-dev", text)
}

/// As [`named`], in another stack.
pub(super) fn named_in(stack: &str, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (kind, id, after))) = rest.split_once('<').and_then(|(before, rest)| {
        let (marked, after) = rest.split_once('>')?;
        let (kind, id) = marked.split_once(' ')?;
        Some((before, (kind, id, after)))
    }) {
        let name = names::generated(&format!("AWS::{kind}"), stack, id, "").expect(kind);
        out = format!("{out}{before}{name}");
        rest = after;
    }
    out + rest
}

/// The name of a nested stack.
pub(super) fn nested_name(stack: &str, logical_id: &str) -> String {
    named_in(stack, &format!("<CloudFormation::Stack {logical_id}>"))
}

/// The stack of some resources.
pub(super) fn stack_of_resources(resources: &str) -> Stack {
    let template = format!("Resources:{resources}");
    stack(&template).unwrap_or_else(|fault| panic!("{}: {template}", fault.text))
}

pub(super) fn fault_of_resources(resources: &str) -> Fault {
    stack(&format!("Resources:{resources}")).expect_err("broken resources")
}

/// The function that decides who may connect by a route.
pub(super) fn authorizer_of(route: &Route) -> &Authorizer {
    match &route.authorization {
        ConnectAuthorization::Custom(authorizer) => authorizer,
        other => panic!("{other:?}"),
    }
}

/// The stack of some resources and a WebSocket API, without which no template is complete.
pub(super) fn stack_of(resources: &str) -> Stack {
    stack_of_resources(&format!("{API}{resources}"))
}

pub(super) fn stack_fault_of(resources: &str) -> Fault {
    fault_of_resources(&format!("{API}{resources}"))
}

pub(super) const API: &str = "
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      Routes: {$connect: {FunctionArn: !GetAtt Behind.Arn}}
  Behind: {Type: AWS::Serverless::Function}
";

fn stack(template: &str) -> Result<Stack, Fault> {
    let context = Context { parameters: &BTreeMap::new(), sqs: SQS, functions_elsewhere: false };
    super::stack(template, Place::of_text(Path::new("/project")), context)
}
