//! Parameters and their values: given by the caller, by the template's `Metadata` for local runs, or by default.

use std::{collections::BTreeMap, rc::Rc};

use indexmap::IndexMap;
use regex_lite::Regex;

use super::{
    Fault,
    node::{Map, Node},
};
use crate::stack::Note;

/// What CloudFormation knows about the stack and where it runs, for a stack that runs nowhere.
const PSEUDO: [(&str, &str); 6] = [
    ("AWS::AccountId", "123456789012"),
    ("AWS::Partition", "aws"),
    ("AWS::Region", "us-east-1"),
    ("AWS::StackName", "tidings-dev"),
    ("AWS::URLSuffix", "amazonaws.com"),
    ("AWS::StackId", ""),
];

pub(super) struct Parameters {
    /// Values by name, lists where the type is one; pseudo parameters too.
    pub(super) values: Map,
    /// Those that `Metadata: tidings: dev: Parameters` decided.
    pub(super) from_metadata: IndexMap<String, String>,
}

/// Gives every parameter its value.
pub(super) fn resolve(
    root: &Node,
    given: &BTreeMap<String, String>,
    notes: &mut Vec<Note>,
) -> Result<Parameters, Fault> {
    let none = Map::new();
    let declared = root.get("Parameters").and_then(|node| node.as_map()).unwrap_or(&none);
    let dev = dev_values(root, declared)?;
    check_names(declared, given)?;
    let mut parameters = Parameters { values: pseudo_parameters(given), from_metadata: IndexMap::new() };
    let mut missing = Vec::new();
    for (name, declaration) in declared {
        let value = if let Some(value) = given.get(name) {
            value.clone()
        } else if let Some(value) = dev.get(name) {
            parameters.from_metadata.insert(name.clone(), value.clone());
            value.clone()
        } else if let Some(value) = declaration.get("Default") {
            notes.extend(ssm_note(name, declaration));
            value_text(name, value)?
        } else {
            missing.push(name.as_str());
            continue;
        };
        check_value(name, declaration, &value)?;
        parameters.values.insert(name.clone(), typed(declaration, &value));
    }
    if missing.is_empty() { Ok(parameters) } else { Err(missing_fault(declared, &missing)) }
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
        // CloudFormation ends it with a UUID; this one never changes, so that what is derived from it does not either.
        let unique = "00000000-0000-0000-0000-000000000000";
        let id = format!("arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/{unique}");
        values.insert("AWS::StackId".to_owned(), Node::text(1, id));
    }
    values.insert("AWS::NotificationARNs".to_owned(), Node::list(1, Vec::new()));
    values
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

fn missing_fault(declared: &Map, missing: &[&str]) -> Fault {
    let line = missing.first().and_then(|name| declared.get(*name)).map(|node| node.line);
    let options: Vec<_> = missing.iter().map(|name| format!("--parameter {name}=VALUE")).collect();
    let (noun, verb) = if missing.len() == 1 { ("parameter", "has") } else { ("parameters", "have") };
    let text = format!("the {noun} {} {verb} no value; pass `{}`", quoted(missing), options.join(" "));
    Fault { line, text }
}

fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A value as text; lists may be written as such.
fn value_text(name: &str, value: &Node) -> Result<String, Fault> {
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

fn ssm_note(name: &str, declaration: &Node) -> Option<Note> {
    type_of(declaration).starts_with("AWS::SSM::Parameter::Value").then(|| Note {
        line: declaration.line,
        text: format!(
            "the parameter `{name}` names a value in Systems Manager, which is not read locally; \
             its name is used as the value, unless you pass `--parameter {name}=VALUE`"
        ),
    })
}

/// Checks a value, or each item of a list, against what its declaration allows.
fn check_value(name: &str, declaration: &Node, value: &str) -> Result<(), Fault> {
    let values: Vec<_> = if is_list(declaration) { items(value).collect() } else { vec![value] };
    let broken = values.iter().find_map(|value| Some((value, broken_rule(declaration, value)?)));
    let Some((value, rule)) = broken else { return Ok(()) };
    let is_secret = declaration.get("NoEcho").and_then(|node| node.as_text()) == Some("true");
    let shown = if is_secret { String::new() } else { format!(", not `{value}`") };
    let text = format!("the parameter `{name}` must {rule}{shown}; pass `--parameter {name}=VALUE`");
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
