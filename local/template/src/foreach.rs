//! `Fn::ForEach` of `AWS::LanguageExtensions`: loops become what they stand for before anything else is read.

use std::{collections::HashSet, rc::Rc};

use super::{
    Fault,
    evaluate::Scope,
    node::{Map, Node, Value},
};

const LOOP: &str = "Fn::ForEach::";
/// The macro that CloudFormation runs for it.
const MACRO: &str = "AWS::LanguageExtensions";

/// A template without loops. What a loop goes over is evaluated in `scope`, which knows parameters and mappings.
pub(super) fn expand(root: &Rc<Node>, scope: &Scope) -> Result<Rc<Node>, Fault> {
    let Some(line) = first_loop(root, &mut HashSet::new()) else { return Ok(Rc::clone(root)) };
    if !macros(root).any(|name| name == MACRO) {
        let text = format!("`Fn::ForEach` needs `Transform: {MACRO}`; CloudFormation refuses the template without it");
        return Err(Fault::at(line, text));
    }
    expand_node(root, scope)
}

/// The names of the macros that a template asks for.
pub(super) fn macros(root: &Node) -> impl Iterator<Item = &str> {
    let transform = root.get("Transform");
    let named = transform.map(|node| node.as_list().unwrap_or(std::slice::from_ref(node))).unwrap_or_default();
    named.iter().filter_map(|node| node.as_text().or_else(|| node.get("Name")?.as_text()))
}

/// The line of a loop, if there is one. Nodes that several aliases share are looked at once.
fn first_loop(node: &Rc<Node>, seen: &mut HashSet<*const Node>) -> Option<usize> {
    if !seen.insert(Rc::as_ptr(node)) {
        return None;
    }
    match &node.value {
        Value::Null | Value::Scalar { .. } => None,
        Value::List(items) => items.iter().find_map(|item| first_loop(item, seen)),
        Value::Map(map) => map
            .iter()
            .find_map(|(key, item)| if key.starts_with(LOOP) { Some(item.line) } else { first_loop(item, seen) }),
    }
}

fn expand_node(node: &Rc<Node>, scope: &Scope) -> Result<Rc<Node>, Fault> {
    scope.deeper(node.line, || match &node.value {
        Value::Null | Value::Scalar { .. } => Ok(Rc::clone(node)),
        Value::List(items) => {
            let items = items.iter().map(|item| expand_node(item, scope)).collect::<Result<_, _>>()?;
            Ok(Node::list(node.line, items))
        }
        Value::Map(map) => {
            let mut expanded = Map::new();
            for (key, item) in map {
                add(&mut expanded, key, item, scope)?;
            }
            Ok(Node::map(node.line, expanded))
        }
    })
}

/// Adds an entry, or all that a loop stands for.
fn add(map: &mut Map, key: &str, node: &Rc<Node>, scope: &Scope) -> Result<(), Fault> {
    if key.starts_with(LOOP) {
        return scope.deeper(node.line, || run(map, key, node, scope));
    }
    match map.insert(key.to_owned(), expand_node(node, scope)?) {
        None => Ok(()),
        Some(_) => {
            Err(Fault::at(node.line, format!("`{key}` stands here a second time, once `Fn::ForEach` is written out")))
        }
    }
}

fn run(map: &mut Map, key: &str, node: &Rc<Node>, scope: &Scope) -> Result<(), Fault> {
    let usage = || {
        let text = format!("`{key}` takes a list of an identifier, a collection and a mapping");
        Fault::at(node.line, text)
    };
    let Some([identifier, collection, body]) = node.as_list() else { return Err(usage()) };
    let (Some(identifier), Some(body)) = (identifier.as_text(), body.as_map()) else { return Err(usage()) };
    for value in scope.list(collection, &format!("the collection of `{key}`"))? {
        let Some(value) = value.as_text() else {
            return Err(Fault::at(collection.line, format!("each value of the collection of `{key}` must be text")));
        };
        let iteration = Iteration { identifier, value, scope };
        for (key, item) in body {
            add(map, &iteration.text(key), &iteration.node(item)?, scope)?;
        }
    }
    Ok(())
}

/// One iteration of a loop.
struct Iteration<'a> {
    identifier: &'a str,
    value: &'a str,
    scope: &'a Scope,
}

impl Iteration<'_> {
    /// `${X}` is the value, `&{X}` its letters and digits only.
    fn text(&self, text: &str) -> String {
        let bare: String = self.value.chars().filter(char::is_ascii_alphanumeric).collect();
        text.replace(&format!("${{{}}}", self.identifier), self.value)
            .replace(&format!("&{{{}}}", self.identifier), &bare)
    }

    fn node(&self, node: &Rc<Node>) -> Result<Rc<Node>, Fault> {
        if let Some(("Ref", argument)) = node.as_intrinsic()
            && argument.as_text() == Some(self.identifier)
        {
            return Ok(Node::text(node.line, self.value));
        }
        self.scope.deeper(node.line, || match &node.value {
            Value::Null => Ok(Rc::clone(node)),
            Value::Scalar { text, .. } if text.contains(self.identifier) => {
                self.scope.spend(node.line, text.len() + self.value.len())?;
                Ok(node.with_text(self.text(text)))
            }
            Value::Scalar { .. } => Ok(Rc::clone(node)),
            Value::List(items) => {
                Ok(Node::list(node.line, items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?))
            }
            Value::Map(map) => {
                let entries = map.iter().map(|(key, item)| Ok((self.text(key), self.node(item)?)));
                Ok(Node::map(node.line, entries.collect::<Result<_, Fault>>()?))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fault_of_resources, stack_of};

    const EXTENDED: &str = "Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\n";

    #[test]
    fn a_loop_over_resources_is_written_out() {
        let stack = stack_of(&format!(
            "  'Fn::ForEach::Queues':
    - Name
    - [orders, !Ref Region, re-turns]
    - 'Queue&{{Name}}':
        Type: AWS::SQS::Queue
        Properties: {{QueueName: !Sub '${{AWS::StackName}}-${{Name}}', DelaySeconds: 5, Tags: [{{Key: n, Value: !Ref Name}}]}}
  Dead: {{Type: AWS::SQS::Queue, Properties: {{QueueName: !GetAtt Queueorders.QueueName}}, Condition: Never}}
Conditions: {{Never: !Equals [a, b]}}
Parameters: {{Region: {{Type: String, Default: eu}}}}
{EXTENDED}"
        ));
        let queues: Vec<_> = stack.queues.iter().map(|(id, queue)| (id.as_str(), queue.name.as_str())).collect();
        assert_eq!(
            queues,
            [
                ("Queueorders", "tidings-dev-orders"),
                ("Queueeu", "tidings-dev-eu"),
                ("Queuereturns", "tidings-dev-re-turns")
            ]
        );
        assert_eq!(stack.queues["Queueeu"].settings.delay, 5);
        assert_eq!(stack.notes, []);
    }

    #[test]
    fn a_loop_may_stand_in_another_and_in_properties() {
        let stack = stack_of(&format!(
            "  'Fn::ForEach::Outer':
    - A
    - !Ref Names
    - 'Fn::ForEach::Inner':
        - B
        - ['1', '2']
        - 'F${{A}}${{B}}':
            Type: AWS::Serverless::Function
            Properties:
              Environment:
                Variables:
                  'Fn::ForEach::Variables': [V, [X, Y], {{'${{V}}': '${{A}}${{B}}'}}]
Parameters: {{Names: {{Type: CommaDelimitedList, Default: 'P,Q'}}}}
{EXTENDED}"
        ));
        assert!(
            ["FP1", "FP2", "FQ1", "FQ2"].iter().all(|id| stack.functions.contains_key(*id)),
            "{:?}",
            stack.functions
        );
        let environment = &stack.functions["FQ2"].environment;
        assert_eq!((environment["X"].as_str(), environment["Y"].as_str()), ("Q2", "Q2"));
    }

    #[test]
    fn a_loop_that_cloudformation_refuses_is_told_with_its_line() {
        let check = |body: &str, transform: &str, words: &str| {
            let fault = fault_of_resources(&format!("\n  'Fn::ForEach::Loop': {body}\n{transform}"));
            assert!(fault.text.contains(words), "{}", fault.text);
            assert_eq!(fault.line, Some(2));
        };
        check("[N, [a], {'Q${N}': {Type: AWS::SQS::Queue}}]", "", "needs `Transform: AWS::LanguageExtensions`");
        check("[]", EXTENDED, "takes a list of an identifier, a collection and a mapping");
        check("[N, x, {}]", EXTENDED, "the collection of `Fn::ForEach::Loop` must be a list");
        check("[N, [[a]], {'Q${N}': {}}]", EXTENDED, "must be text");
        check("[N, [a, b], {Q: {Type: AWS::SQS::Queue}}]", EXTENDED, "`Q` stands here a second time");
    }
}
