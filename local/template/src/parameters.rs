//! Parameters and their values: given by the caller, by the template's `Metadata` for local runs, or by default.

use std::{collections::BTreeMap, rc::Rc};

use indexmap::IndexMap;
use regex_lite::Regex;

use super::{
    Fault,
    node::{Map, Node},
};
use tidings_local_stack::Note;

/// What CloudFormation knows about the stack and where it runs, for a stack that runs nowhere.
const PSEUDO: [(&str, &str); 6] = [
    ("AWS::AccountId", "123456789012"),
    ("AWS::Partition", "aws"),
    ("AWS::Region", "us-east-1"),
    ("AWS::StackName", "tidings-dev"),
    ("AWS::URLSuffix", "amazonaws.com"),
    ("AWS::StackId", ""),
];

#[derive(Clone)]
pub(super) struct Parameters {
    /// Values by name, lists where the type is one; pseudo parameters too.
    pub(super) values: Map,
    /// Those that `Metadata: tidings: dev: Parameters` decided.
    pub(super) from_metadata: IndexMap<String, String>,
    /// Those whose values are not known here, and why.
    pub(super) unknown: BTreeMap<String, Fault>,
}

/// Values from outside of the template.
#[derive(Default)]
pub(super) struct Given {
    /// Also of pseudo parameters.
    pub(super) values: BTreeMap<String, String>,
    /// Parameters that are given a value which is not known on this machine.
    pub(super) unknown: BTreeMap<String, Fault>,
    /// The nested stack that gives them, for messages; else it is the command line.
    pub(super) by: Option<Giver>,
}

/// A nested stack that gives values to its template.
pub(super) struct Giver {
    /// Which one, and in which file.
    pub(super) stack: String,
    /// Its path, as the command line names it.
    pub(super) path: String,
}

impl Given {
    /// What to do to give these parameters a value.
    fn fix(&self, names: &[&str]) -> String {
        let options = |path: &str| {
            let options: Vec<_> = names.iter().map(|name| format!("--parameter {path}{name}=VALUE")).collect();
            format!("pass `{}`", options.join(" "))
        };
        match &self.by {
            Some(Giver { stack, path }) => {
                format!("give {} in `Parameters` of {stack}, or {}", quoted(names), options(&format!("{path}/")))
            }
            None => options(""),
        }
    }
}

/// Gives every parameter its value.
pub(super) fn resolve(root: &Node, given: Given, notes: &mut Vec<Note>) -> Result<Parameters, Fault> {
    let none = Map::new();
    let declared = root.get("Parameters").and_then(|node| node.as_map()).unwrap_or(&none);
    let dev = dev_values(root, declared)?;
    check_names(declared, &given.values)?;
    let values = pseudo_parameters(&given.values);
    let mut parameters = Parameters { values, from_metadata: IndexMap::new(), unknown: BTreeMap::new() };
    let mut missing = Vec::new();
    for (name, declaration) in declared.iter().filter(|(name, _)| !given.unknown.contains_key(*name)) {
        let value = if let Some(value) = given.values.get(name) {
            value.clone()
        } else if let Some(value) = dev.get(name) {
            parameters.from_metadata.insert(name.clone(), value.clone());
            value.clone()
        } else if let Some(value) = declaration.get("Default") {
            notes.extend(ssm_note(name, declaration, &given));
            value_text(name, value)?
        } else {
            missing.push(name.as_str());
            continue;
        };
        check_value(name, declaration, &value, &given)?;
        parameters.values.insert(name.clone(), typed(declaration, &value));
    }
    if !missing.is_empty() {
        return Err(missing_fault(declared, &missing, &given));
    }
    parameters.unknown = given.unknown;
    Ok(parameters)
}

fn pseudo_parameters(given: &BTreeMap<String, String>) -> Map {
    let value = |name: &str| {
        let default = PSEUDO.iter().find(|(pseudo, _)| *pseudo == name).map_or("", |(_, value)| *value);
        given.get(name).map_or(default, String::as_str).to_owned()
    };
    let mut values: Map = PSEUDO.iter().map(|(name, _)| ((*name).to_owned(), Node::text(1, value(name)))).collect();
    if !given.contains_key("AWS::StackId") {
        let [partition, region, account, stack] =
            ["AWS::Partition", "AWS::Region", "AWS::AccountId", "AWS::StackName"].map(value);
        let id = stack_arn(&partition, &region, &account, &stack);
        values.insert("AWS::StackId".to_owned(), Node::text(1, id));
    }
    values.insert("AWS::NotificationARNs".to_owned(), Node::list(1, Vec::new()));
    values
}

/// CloudFormation ends it with a UUID; this one never changes, so that what is derived from it does not either.
pub(super) fn stack_arn(partition: &str, region: &str, account: &str, stack: &str) -> String {
    let unique = "00000000-0000-0000-0000-000000000000";
    format!("arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/{unique}")
}

/// What the template sets for local runs.
fn dev_values(root: &Node, declared: &Map) -> Result<IndexMap<String, String>, Fault> {
    let path = ["Metadata", "tidings", "dev", "Parameters"];
    let section = path.iter().try_fold(root, |node, key| node.get(key).map(Rc::as_ref)).and_then(Node::as_map);
    let Some(section) = section else { return Ok(IndexMap::new()) };
    let mut values = IndexMap::new();
    for (name, value) in section {
        if !declared.contains_key(name) {
            return Err(Fault::at(value.line, unknown(name, declared)));
        }
        values.insert(name.clone(), value_text(name, value)?);
    }
    Ok(values)
}

fn check_names(declared: &Map, given: &BTreeMap<String, String>) -> Result<(), Fault> {
    let is_known = |name: &str| declared.contains_key(name) || PSEUDO.iter().any(|(pseudo, _)| *pseudo == name);
    match given.keys().find(|name| !is_known(name)) {
        Some(name) => Err(Fault::nowhere(unknown(name, declared))),
        None => Ok(()),
    }
}

fn unknown(name: &str, declared: &Map) -> String {
    if declared.is_empty() {
        return format!("there is no parameter `{name}`: the template has none");
    }
    format!("there is no parameter `{name}`; the template has {}", quoted(declared.keys()))
}

fn missing_fault(declared: &Map, missing: &[&str], given: &Given) -> Fault {
    let line = missing.first().and_then(|name| declared.get(*name)).map(|node| node.line);
    let (noun, verb) = if missing.len() == 1 { ("parameter", "has") } else { ("parameters", "have") };
    let text = format!("the {noun} {} {verb} no value; {}", quoted(missing), given.fix(missing));
    Fault { line, ..Fault::nowhere(text) }
}

pub(super) fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A value as text; lists may be written as such.
pub(super) fn value_text(name: &str, value: &Node) -> Result<String, Fault> {
    let fault = || Fault::at(value.line, format!("the value of the parameter `{name}` must be text"));
    match value.as_list() {
        Some(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.as_text()).collect();
            Ok(items.ok_or_else(fault)?.join(","))
        }
        None => value.as_text().map(str::to_owned).ok_or_else(fault),
    }
}

fn type_of(declaration: &Node) -> &str {
    declaration.get("Type").and_then(|node| node.as_text()).unwrap_or("String")
}

fn is_list(declaration: &Node) -> bool {
    let kind = type_of(declaration);
    kind == "CommaDelimitedList" || kind.contains("List<")
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn typed(declaration: &Node, value: &str) -> Rc<Node> {
    let line = declaration.line;
    if is_list(declaration) {
        Node::list(line, items(value).map(|item| Node::text(line, item)).collect())
    } else {
        Node::text(line, value)
    }
}

fn ssm_note(name: &str, declaration: &Node, given: &Given) -> Option<Note> {
    type_of(declaration).starts_with("AWS::SSM::Parameter::Value").then(|| {
        let text = format!(
            "the parameter `{name}` names a value in Systems Manager, which is not read locally; \
             its name is used as the value, unless you {}",
            given.fix(&[name])
        );
        Note::new(declaration.line, text)
    })
}

/// Checks a value, or each item of a list, against what its declaration allows.
fn check_value(name: &str, declaration: &Node, value: &str, given: &Given) -> Result<(), Fault> {
    let values: Vec<_> = if is_list(declaration) { items(value).collect() } else { vec![value] };
    let broken = values.iter().find_map(|value| Some((value, broken_rule(declaration, value)?)));
    let Some((value, rule)) = broken else { return Ok(()) };
    let is_secret = declaration.get("NoEcho").and_then(|node| node.as_text()) == Some("true");
    let shown = if is_secret { String::new() } else { format!(", not `{value}`") };
    let text = format!("the parameter `{name}` must {rule}{shown}; {}", given.fix(&[name]));
    Err(Fault::at(declaration.line, text))
}

/// The first rule that a value breaks, to be read after "must".
fn broken_rule(declaration: &Node, value: &str) -> Option<String> {
    let rule = |key: &str| declaration.get(key).and_then(|node| node.as_text());
    let number = value.trim().parse::<f64>().ok();
    if matches!(type_of(declaration), "Number" | "List<Number>") && number.is_none() {
        return Some("be a number".to_owned());
    }
    if let Some(allowed) = declaration.get("AllowedValues").and_then(|node| node.as_list()) {
        let allowed: Vec<_> = allowed.iter().filter_map(|node| node.as_text()).collect();
        if !allowed.contains(&value) {
            return Some(format!("be one of {}", quoted(allowed)));
        }
    }
    if let Some(pattern) = rule("AllowedPattern").filter(|pattern| !matches_whole(pattern, value)) {
        let meaning = rule("ConstraintDescription").map(|text| format!(" ({})", text.trim_end_matches('.')));
        return Some(format!("match `{pattern}`{}", meaning.unwrap_or_default()));
    }
    let length = Some(value.chars().count() as f64);
    let limits = [
        ("MinValue", number, "be at least", ""),
        ("MaxValue", number, "be at most", ""),
        ("MinLength", length, "have at least", " characters"),
        ("MaxLength", length, "have at most", " characters"),
    ];
    limits.into_iter().find_map(|(key, measure, words, unit)| {
        let (limit, measure) = (rule(key)?.parse::<f64>().ok()?, measure?);
        let is_broken = if key.starts_with("Min") { measure < limit } else { measure > limit };
        is_broken.then(|| format!("{words} {limit}{unit}"))
    })
}

/// CloudFormation's patterns are Java's. One that cannot be read here is left to CloudFormation.
fn matches_whole(pattern: &str, value: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).map_or(true, |pattern| pattern.is_match(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::node::parse;
    use super::*;

    fn resolved(template: &str, given: &[(&str, &str)]) -> Result<(Parameters, Vec<Note>), Fault> {
        let values = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let given = Given { values, ..Given::default() };
        let mut notes = Vec::new();
        Ok((resolve(&*parse(template)?, given, &mut notes)?, notes))
    }

    /// Checks the value of the parameter `P`.
    fn check(declaration: &str, given: &[(&str, &str)], expected: serde_json::Value) {
        let (parameters, _) = resolved(&format!("Parameters:\n  P: {declaration}"), given).expect(declaration);
        assert_eq!(parameters.values["P"].to_json(), expected, "{declaration}");
    }

    fn check_fault(declaration: &str, given: &[(&str, &str)], text: &str) {
        let fault = resolved(&format!("Parameters:\n  P: {declaration}"), given).map(|_| ()).expect_err(text);
        assert_eq!(fault.text, text);
    }

    #[test]
    fn a_parameter_has_its_default_or_what_is_given() {
        check("{Type: String, Default: a}", &[], json!("a"));
        check("{Type: String, Default: a}", &[("P", "b")], json!("b"));
        check("{Type: String, Default: ''}", &[], json!(""));
        check("{Type: Number, Default: 5}", &[], json!("5"));
        check("{Type: CommaDelimitedList, Default: 'a, b,c'}", &[], json!(["a", "b", "c"]));
        check("{Type: CommaDelimitedList, Default: ''}", &[], json!([]));
        check("{Type: List<Number>, Default: '1,2'}", &[("P", "3")], json!(["3"]));
        check("{Type: 'AWS::EC2::VPC::Id'}", &[("P", "vpc-1")], json!("vpc-1"));
        check("{Type: 'List<AWS::EC2::Subnet::Id>'}", &[("P", "a,b")], json!(["a", "b"]));
        check("{Type: 'AWS::SSM::Parameter::Value<String>', Default: /a}", &[], json!("/a"));
    }

    #[test]
    fn a_value_must_obey_its_declaration() {
        let end = "; pass `--parameter P=VALUE`";
        let text = |rule: &str, value: &str| format!("the parameter `P` must {rule}, not `{value}`{end}");
        check_fault("{Type: Number, Default: x}", &[], &text("be a number", "x"));
        check_fault("{AllowedValues: [a, b], Default: a}", &[("P", "c")], &text("be one of `a`, `b`", "c"));
        check_fault("{AllowedPattern: '[a-z]+', Default: a1}", &[], &text("match `[a-z]+`", "a1"));
        check_fault(
            "{AllowedPattern: '[a-z]+', ConstraintDescription: only letters., Default: a1}",
            &[],
            &text("match `[a-z]+` (only letters)", "a1"),
        );
        check_fault("{Type: Number, MinValue: 2, Default: 1}", &[], &text("be at least 2", "1"));
        check_fault("{Type: Number, MaxValue: 2, Default: 3}", &[], &text("be at most 2", "3"));
        check_fault("{MinLength: 2, Default: a}", &[], &text("have at least 2 characters", "a"));
        check_fault("{MaxLength: 2, Default: abc}", &[], &text("have at most 2 characters", "abc"));
        check_fault(
            "{Type: CommaDelimitedList, AllowedValues: [a, b], Default: 'a,c'}",
            &[],
            &text("be one of `a`, `b`", "c"),
        );
        check_fault(
            "{NoEcho: true, MinLength: 2, Default: a}",
            &[],
            &format!("the parameter `P` must have at least 2 characters{end}"),
        );
        check_fault("{Default: {a: b}}", &[], "the value of the parameter `P` must be text");
    }

    #[test]
    fn a_pattern_that_only_java_knows_is_left_to_cloudformation() {
        check("{AllowedPattern: '(?!a)b', Default: x}", &[], json!("x"));
    }

    #[test]
    fn missing_values_are_told_with_the_option_to_pass() {
        check_fault("{Type: String}", &[], "the parameter `P` has no value; pass `--parameter P=VALUE`");
        check_fault(
            "{Type: String}\n  Q: {Type: String}",
            &[],
            "the parameters `P`, `Q` have no value; pass `--parameter P=VALUE --parameter Q=VALUE`",
        );
    }

    #[test]
    fn unknown_names_are_told_with_the_known_ones() {
        let text = "there is no parameter `R`; the template has `P`, `Q`";
        check_fault("{Default: a}\n  Q: {Default: b}", &[("R", "c")], text);
        let metadata = "{Default: a}\n  Q: {Default: b}\nMetadata: {tidings: {dev: {Parameters: {R: c}}}}";
        check_fault(metadata, &[], text);
        let fault = resolved("Resources: {}", &[("R", "c")]).map(|_| ()).expect_err("no parameters");
        assert_eq!(fault.text, "there is no parameter `R`: the template has none");
    }

    #[test]
    fn metadata_stands_between_the_command_line_and_the_default() {
        let template = "Parameters: {A: {Default: a}, B: {Default: b}, C: {Default: c}}\n\
                        Metadata: {tidings: {dev: {Parameters: {A: x, B: 2}}}}";
        let (parameters, _) = resolved(template, &[("A", "y")]).unwrap();
        let values = ["A", "B", "C"].map(|name| parameters.values[name].as_text().unwrap());
        assert_eq!(values, ["y", "2", "c"]);
        assert_eq!(json!(parameters.from_metadata), json!({"B": "2"}));
    }

    #[test]
    fn an_unread_value_of_systems_manager_is_noted() {
        let template = "Parameters:\n  P: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /a}";
        assert_eq!(resolved(template, &[]).unwrap().1.len(), 1);
        assert_eq!(resolved(template, &[("P", "b")]).unwrap().1, []);
    }
}
