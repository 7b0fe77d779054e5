//! Evaluation: a node of the template becomes the value that CloudFormation would see.
//!
//! Everything is evaluated when a reader asks for it and not before. Work and depth are bounded, and what refers to
//! itself is found out, so that every template comes to an end.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use indexmap::IndexMap;

use super::{
    Fault,
    node::{Map, Node, Value},
    parameters::Parameters,
    place::Place,
    resource::{Resource, Resources},
};
use tidings_local_stack::Note;

/// Deepest chain of nodes, references and conditions that are evaluated inside each other. A chain of references in a
/// real template has fewer than ten links.
const MAX_DEPTH: usize = 200;

/// Most nodes and bytes that evaluation may produce; the largest template that CloudFormation takes has 1 MB.
const MAX_WORK: usize = 5_000_000;

/// A value, or nothing where the template says `AWS::NoValue`.
pub(super) type Evaluated = Result<Option<Rc<Node>>, Fault>;

/// What the scopes of a template and of those that it nests have together.
pub(super) struct Shared {
    /// What queue URLs begin with.
    pub(super) sqs: String,
    /// What the caller gives to parameters of nested stacks, by paths such as `Tidings/LogLevel`.
    pub(super) given: BTreeMap<String, String>,
    /// Whether functions run behind another Invoke API, so that nothing of them has to be on this machine.
    pub(super) functions_elsewhere: bool,
    /// How many stacks are nested.
    pub(super) stacks: Cell<usize>,
    depth: Cell<usize>,
    work: Cell<usize>,
}

impl Shared {
    pub(super) fn new(sqs: &str, given: BTreeMap<String, String>, functions_elsewhere: bool) -> Self {
        let counter = Cell::default;
        let sqs = sqs.to_owned();
        Self { sqs, given, functions_elsewhere, stacks: counter(), depth: counter(), work: counter() }
    }
}

/// A nested stack.
#[derive(Clone)]
pub(super) enum Nested {
    /// Its template has been read.
    Read(Rc<Scope>),
    /// Its template is not on this machine; a clause that says where it is.
    Elsewhere(String),
}

/// Everything that an expression may refer to.
pub(super) struct Scope {
    pub(super) place: Place,
    pub(super) shared: Rc<Shared>,
    pub(super) parameters: Map,
    /// Parameters whose values are not known here, and why; each hurts where it is used.
    pub(super) unknown: BTreeMap<String, Fault>,
    dev_parameters: IndexMap<String, String>,
    pub(super) mappings: Rc<Node>,
    conditions: Map,
    pub(super) resources: Resources,
    pub(super) outputs: Map,
    /// Nested stacks that were asked for already, by logical id.
    pub(super) nested: RefCell<HashMap<String, Nested>>,
    notes: RefCell<Vec<Note>>,
    known_conditions: RefCell<HashMap<String, bool>>,
    /// Names of conditions and resources whose values are being worked out.
    in_progress: RefCell<Vec<String>>,
}

impl Scope {
    /// The scope of a template that is read so far without its resources.
    pub(super) fn new(root: &Node, place: Place, parameters: Parameters, shared: Rc<Shared>) -> Self {
        let section = |name: &str| root.get(name).and_then(|node| node.as_map()).cloned().unwrap_or_default();
        Self {
            place,
            shared,
            parameters: parameters.values,
            unknown: parameters.unknown,
            dev_parameters: parameters.from_metadata,
            mappings: root.get("Mappings").cloned().unwrap_or_else(|| Node::map(1, Map::new())),
            conditions: section("Conditions"),
            resources: Resources::new(),
            outputs: section("Outputs"),
            nested: RefCell::default(),
            notes: RefCell::default(),
            known_conditions: RefCell::default(),
            in_progress: RefCell::default(),
        }
    }

    /// Parameters that the template's `Metadata` decided, by path.
    pub(super) fn dev_parameters(&self) -> impl Iterator<Item = (String, String)> {
        self.dev_parameters.iter().map(|(name, value)| (self.place.path_of(name), value.clone()))
    }

    /// What there is to say about the template as a whole.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.notes.borrow().clone()
    }

    /// Adds to the notes, with the file.
    pub(super) fn note(&self, notes: Vec<Note>) {
        let named = notes.into_iter().map(|note| Note { file: self.place.file.clone(), ..note });
        self.notes.borrow_mut().extend(named);
    }

    /// A fault of this template, which knows its file from here on.
    pub(super) fn located(&self, fault: Fault) -> Fault {
        fault.in_file(self.place.file.as_deref())
    }

    /// The value of a node, with all that is inside of it.
    pub(super) fn evaluate(&self, node: &Rc<Node>) -> Evaluated {
        self.deeper(node.line, || match &node.value {
            Value::Null => Ok(Some(Rc::clone(node))),
            Value::Scalar { text, .. } => {
                self.spend(node.line, text.len())?;
                Ok(Some(Rc::clone(node)))
            }
            Value::List(items) => {
                let items =
                    items.iter().filter_map(|item| self.evaluate(item).transpose()).collect::<Result<_, _>>()?;
                Ok(Some(Node::list(node.line, items)))
            }
            Value::Map(map) => match node.as_intrinsic() {
                Some((name, argument)) => self.call(name, argument, node.line),
                None => self.evaluate_map(map, node.line),
            },
        })
    }

    fn evaluate_map(&self, map: &Map, line: usize) -> Evaluated {
        let mut values = Map::new();
        for (key, item) in map {
            if key.starts_with("Fn::") {
                return Err(unsupported(key, item.line));
            }
            if let Some(value) = self.evaluate(item)? {
                values.insert(key.clone(), value);
            }
        }
        Ok(Some(Node::map(line, values)))
    }

    /// The value of what may be there, as far as it is known before the resources are: what a macro such as SAM's sees, too.
    pub(super) fn known(&self, node: Option<&Rc<Node>>) -> Option<Rc<Node>> {
        self.evaluate(node?).ok().flatten().filter(|value| value.value != Value::Null)
    }

    /// As [`Self::known`], for a text.
    pub(super) fn known_text(&self, node: Option<&Rc<Node>>) -> Option<String> {
        self.known(node)?.as_text().map(str::to_owned)
    }

    /// A resource's property that must be text; `None` where it has no such property.
    pub(super) fn property(&self, resource: &Resource, key: &str) -> Result<Option<String>, Fault> {
        let Some(node) = resource.properties.get(key) else { return Ok(None) };
        let Some(value) = self.evaluate(node)?.filter(|value| value.value != Value::Null) else { return Ok(None) };
        value
            .as_text()
            .map(|text| Some(text.to_owned()))
            .ok_or_else(|| Fault::at(node.line, format!("`{key}` must be text")))
    }

    /// The value of a node that must be text, a number or a boolean; `what` names it in the message.
    pub(super) fn text(&self, node: &Rc<Node>, what: &str) -> Result<String, Fault> {
        let value = self.evaluate(node)?;
        let text = value.as_ref().and_then(|value| value.as_text());
        text.map(str::to_owned).ok_or_else(|| Fault::at(node.line, format!("{what} must be text")))
    }

    /// The value of a node that must be a list.
    pub(super) fn list(&self, node: &Rc<Node>, what: &str) -> Result<Vec<Rc<Node>>, Fault> {
        let value = self.evaluate(node)?;
        let items = value.as_ref().and_then(|value| value.as_list());
        items.map(<[_]>::to_vec).ok_or_else(|| Fault::at(node.line, format!("{what} must be a list")))
    }

    /// Whether a named condition holds.
    pub(super) fn condition(&self, name: &str, line: usize) -> Result<bool, Fault> {
        if let Some(known) = self.known_conditions.borrow().get(name) {
            return Ok(*known);
        }
        let Some(expression) = self.conditions.get(name) else {
            return Err(Fault::at(line, format!("there is no condition `{name}`")));
        };
        let holds = self.once(&format!("the condition `{name}`"), line, || self.holds(expression))?;
        self.known_conditions.borrow_mut().insert(name.to_owned(), holds);
        Ok(holds)
    }

    /// Whether a condition's expression holds.
    pub(super) fn holds(&self, node: &Rc<Node>) -> Result<bool, Fault> {
        let operands = |argument: &Rc<Node>| match argument.as_list() {
            Some(operands) if !operands.is_empty() => Ok(operands.to_vec()),
            _ => Err(Fault::at(argument.line, "a condition function takes a list of conditions")),
        };
        self.deeper(node.line, || match node.as_map().and_then(|map| map.first()) {
            Some((name, argument)) if name == "Condition" => {
                self.condition(&self.text(argument, "the name of a condition")?, argument.line)
            }
            Some((name, argument)) if name == "Fn::Equals" => self.equals(argument),
            Some((name, argument)) if name == "Fn::Contains" => self.contains(argument),
            Some((name, argument)) if name == "Fn::Not" => Ok(!self.holds(&operands(argument)?[0])?),
            Some((name, argument)) if name == "Fn::And" => {
                operands(argument)?.iter().try_fold(true, |all, one| Ok(all & self.holds(one)?))
            }
            Some((name, argument)) if name == "Fn::Or" => {
                operands(argument)?.iter().try_fold(false, |any, one| Ok(any | self.holds(one)?))
            }
            _ => Err(Fault::at(
                node.line,
                "a condition must be one of `Condition`, `Fn::Equals`, `Fn::Not`, `Fn::And` and `Fn::Or`",
            )),
        })
    }

    fn equals(&self, argument: &Rc<Node>) -> Result<bool, Fault> {
        let Some([left, right]) = argument.as_list() else {
            return Err(Fault::at(argument.line, "`Fn::Equals` takes a list of two values"));
        };
        let json = |node| Ok::<_, Fault>(self.evaluate(node)?.map(|value| as_strings(&value)));
        Ok(json(left)? == json(right)?)
    }

    /// Whether a list has a value; only `Rules` may ask that.
    fn contains(&self, argument: &Rc<Node>) -> Result<bool, Fault> {
        let Some([list, value]) = argument.as_list() else {
            return Err(Fault::at(argument.line, "`Fn::Contains` takes a list and a value"));
        };
        let value = self.text(value, "what `Fn::Contains` looks for")?;
        let list = self.list(list, "where `Fn::Contains` looks")?;
        Ok(list.iter().any(|item| item.as_text() == Some(value.as_str())))
    }

    /// Works something out that may refer to itself by a detour, which `what` then names.
    pub(super) fn once<T>(&self, what: &str, line: usize, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        if self.in_progress.borrow().iter().any(|name| name == what) {
            return Err(Fault::at(line, format!("{what} depends on itself")));
        }
        self.in_progress.borrow_mut().push(what.to_owned());
        let result = work();
        self.in_progress.borrow_mut().pop();
        result
    }

    /// One level deeper, as long as that is no bomb.
    pub(super) fn deeper<T>(&self, line: usize, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.spend(line, 1)?;
        if self.shared.depth.get() >= MAX_DEPTH {
            return Err(Fault::at(line, format!("this refers to more than {MAX_DEPTH} values, each inside the next")));
        }
        self.shared.depth.set(self.shared.depth.get() + 1);
        let result = work();
        self.shared.depth.set(self.shared.depth.get() - 1);
        result
    }

    /// Counts work, so that a small template cannot make a large value.
    pub(super) fn spend(&self, line: usize, amount: usize) -> Result<(), Fault> {
        self.shared.work.set(self.shared.work.get().saturating_add(amount));
        if self.shared.work.get() > MAX_WORK {
            return Err(Fault::at(line, "the template's values grow too large to be worked out"));
        }
        Ok(())
    }
}

/// `1` equals `'1'` in a template.
fn as_strings(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar { text, .. } => text.clone().into(),
        Value::List(items) => items.iter().map(|item| as_strings(item)).collect(),
        Value::Map(map) => map.iter().map(|(key, item)| (key.clone(), as_strings(item))).collect(),
    }
}

/// What to say of a function that only CloudFormation can evaluate, or that nobody knows.
pub(super) fn unsupported(name: &str, line: usize) -> Fault {
    let known = ["Fn::ImportValue", "Fn::Cidr", "Fn::Transform", "Fn::GetStackOutput"];
    if known.contains(&name) {
        let text = format!("`{name}` cannot be resolved locally; use a parameter that has a value for local runs");
        return Fault::elsewhere(line, text);
    }
    Fault::at(line, format!("there is no intrinsic function `{name}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check_condition, check_condition_fault, check_in, fault_in};

    #[test]
    fn conditions_are_worked_out() {
        check_condition("!Equals [!Ref Stage, dev]", true);
        check_condition("!Equals [!Ref Stage, prod]", false);
        check_condition("!Equals [1, '1']", true);
        check_condition("!Equals [true, 'true']", true);
        check_condition("!Equals [!Ref Zones, [a, b]]", true);
        check_condition("!Not [!Equals [a, b]]", true);
        check_condition("!And [!Equals [a, a], !Equals [a, b]]", false);
        check_condition("!Or [!Equals [a, a], !Equals [a, b]]", true);
        check_condition("!Condition Always", true);
        check_condition("{'Fn::Not': [{Condition: Always}]}", false);
        check_condition("!Equals [!FindInMap [Sizes, dev, memory], 256]", true);
    }

    #[test]
    fn a_bad_condition_is_told() {
        check_condition_fault("!Ref Stage", "must be one of");
        check_condition_fault("true", "must be one of");
        check_condition_fault("!Equals [a]", "takes a list of two values");
        check_condition_fault("!Not []", "takes a list of conditions");
        check_condition_fault("!Condition Nowhere", "there is no condition `Nowhere`");
        check_condition_fault("!Condition Tested", "the condition `Tested` depends on itself");
        check_condition_fault("!Not [!Condition Tested]", "the condition `Tested` depends on itself");
    }

    #[test]
    fn a_name_that_depends_on_itself_is_told() {
        let template = "Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt B.QueueName}}\n  \
                        B: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt A.QueueName}}\nProbe: !Ref A\n";
        assert!(fault_in(template).text.contains("the name of `A` depends on itself"));
    }

    #[test]
    fn a_long_chain_of_conditions_is_refused_and_a_reasonable_one_is_not() {
        let chain = |length: usize| {
            let links = (1..length).map(|n| format!("  C{n}: !Not [!Condition C{}]\n", n - 1));
            format!(
                "Conditions:\n  C0: !Equals [a, a]\n{}Resources: {{}}\nProbe: !If [C{}, yes, no]\n",
                links.collect::<String>(),
                length - 1
            )
        };
        check_in(&chain(40), json!("no"));
        assert!(fault_in(&chain(5_000)).text.contains("more than 200 values"));
    }

    #[test]
    fn a_long_chain_of_names_is_refused_and_a_reasonable_one_is_not() {
        let chain = |length: usize| {
            let name =
                |n: usize| format!("!Sub ['${{x}}', {{x: !Select [0, !Split [',', !GetAtt Q{}.QueueName]]}}]", n - 1);
            let queue = |name: String| format!("{{Type: AWS::SQS::Queue, Properties: {{QueueName: {name}}}}}\n");
            let queues = (1..length).map(|n| format!("  Q{n}: {}", queue(name(n))));
            let first = queue("q".to_owned());
            format!("Resources:\n  Q0: {first}{}Probe: !GetAtt Q{}.QueueName\n", queues.collect::<String>(), length - 1)
        };
        check_in(&chain(20), json!("q"));
        assert!(fault_in(&chain(5_000)).text.contains("more than 200 values"));
    }

    #[test]
    fn an_alias_bomb_is_refused_when_its_value_is_needed() {
        let levels =
            (1..25).map(|n| format!("a{n}: &a{n} !Join ['', [{}]]\n", vec![format!("*a{}", n - 1); 9].join(", ")));
        let bomb = format!("Resources: {{}}\na0: &a0 x\n{}Probe: *a24\n", levels.collect::<String>());
        assert!(fault_in(&bomb).text.contains("too large"));
    }
}
