//! Scopes of templates, and the stacks that a template nests: `AWS::CloudFormation::Stack` and
//! `AWS::Serverless::Application` with a local path.
//!
//! A nested stack is read when something asks for it, since its parameters may need what another one puts out. Values go
//! in as text, as in AWS, so a nested template never looks into the one around it; outputs are evaluated inside.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    Fault,
    evaluate::{Evaluated, Nested, Scope, Shared},
    foreach, names,
    node::{Map, Node, Value, parse},
    parameters::{self, Given, Giver, quoted},
    place::{NoPlace, Place},
    properties::Properties,
    resource::{NESTED, Resource},
    resources, rules, unsupported,
};
use tidings_local_stack::Note;

/// Most nested stacks together. Real applications have a handful.
const MAX_STACKS: usize = 200;

/// Reads a template into a scope.
pub(super) fn scope(root: &Rc<Node>, place: Place, given: Given, shared: Rc<Shared>) -> Result<Scope, Fault> {
    let mut notes = transform_notes(root);
    let parameters = parameters::resolve(root, given, &mut notes)?;
    let before = Scope::new(root, place.clone(), parameters.clone(), Rc::clone(&shared));
    let root = foreach::expand(root, &before)?;
    let mut scope = Scope::new(&root, place, parameters, shared);
    scope.resources = resources::collect(&root, &scope, &mut notes)?;
    rules::check(&root, &scope)?;
    notes.extend(unsupported::notes(&scope));
    scope.note(notes);
    Ok(scope)
}

/// Macros run in CloudFormation only.
fn transform_notes(root: &Node) -> Vec<Note> {
    let Some(transform) = root.get("Transform") else { return Vec::new() };
    let macros = transform.as_list().unwrap_or(std::slice::from_ref(transform));
    let known = ["AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"];
    macros
        .iter()
        .map(|node| (node.line, node.as_text().or_else(|| node.get("Name")?.as_text()).unwrap_or("of this line")))
        .filter(|(_, name)| !known.contains(name))
        .map(|(line, name)| Note::new(line, format!("the macro `{name}` does not run locally")))
        .collect()
}

/// The scope of the main template, and those of all that it nests, each before what it nests itself.
pub(super) fn all(main: Scope) -> Result<Vec<Rc<Scope>>, Fault> {
    let mut scopes = Vec::new();
    let mut open = vec![Rc::new(main)];
    while let Some(scope) = open.pop() {
        let nested = nested_in(&scope).map_err(|fault| scope.located(fault))?;
        // The first one comes next.
        open.extend(nested.into_iter().rev());
        scopes.push(scope);
    }
    Ok(scopes)
}

/// What the caller gives to nested stacks must be for stacks and parameters that there are.
pub(super) fn check_given(scopes: &[Rc<Scope>], shared: &Shared) -> Result<(), Fault> {
    for path in shared.given.keys() {
        let (stack, name) = path.rsplit_once('/').unwrap_or_default();
        let Some(scope) = scopes.iter().find(|scope| scope.place.stack() == stack) else {
            let known: Vec<_> =
                scopes.iter().map(|scope| scope.place.stack()).filter(|path| !path.is_empty()).collect();
            let known =
                if known.is_empty() { "none is read".to_owned() } else { format!("there are {}", quoted(known)) };
            return Err(Fault::nowhere(format!(
                "there is no nested stack `{stack}` for the parameter `{path}`; {known}"
            )));
        };
        let all = scope.parameters.keys().chain(scope.unknown.keys());
        let known: Vec<_> = all.filter(|known| !known.contains("::")).collect();
        if !known.iter().any(|known| *known == name) {
            let known = if known.is_empty() { "none".to_owned() } else { quoted(known) };
            let text = format!("there is no parameter `{name}` in {}; it has {known}", scope.place.shown());
            return Err(Fault::nowhere(text));
        }
    }
    Ok(())
}

/// What a template nests itself; notes what cannot be read.
fn nested_in(scope: &Scope) -> Result<Vec<Rc<Scope>>, Fault> {
    let mut found = Vec::new();
    for stack in scope.resources_of(&NESTED) {
        let (logical_id, resource) = stack?;
        match scope.nested_stack(logical_id, resource)? {
            Nested::Read(nested) => found.push(nested),
            Nested::Elsewhere(reason) => {
                let text = format!("`{logical_id}` does not run locally: {reason}");
                scope.note(vec![Note::new(resource.line, text)]);
            }
        }
    }
    for found in scope.resources.values() {
        scope.check_outputs(&found.properties)?;
    }
    Ok(found)
}

impl Scope {
    /// A nested stack, read when it is asked for the first time.
    fn nested_stack(&self, logical_id: &str, resource: &Resource) -> Result<Nested, Fault> {
        if let Some(known) = self.nested.borrow().get(logical_id) {
            return Ok(known.clone());
        }
        let what = format!("the nested stack `{logical_id}`");
        let nested = self.once(&what, resource.line, || {
            self.deeper(resource.line, || read(&Properties::of(self, logical_id, resource), resource))
        })?;
        self.nested.borrow_mut().insert(logical_id.to_owned(), nested.clone());
        Ok(nested)
    }

    /// What `Fn::GetAtt` of a nested stack gives: an output.
    pub(super) fn nested_attribute(
        &self,
        logical_id: &str,
        resource: &Resource,
        attribute: &str,
        line: usize,
    ) -> Evaluated {
        let Some(output) = attribute.strip_prefix("Outputs.") else {
            let text =
                format!("`{logical_id}.{attribute}`: a nested stack has only outputs, `{logical_id}.Outputs.NAME`");
            return Err(Fault::at(line, text));
        };
        match self.nested_stack(logical_id, resource)? {
            Nested::Read(nested) => {
                nested.check_output(logical_id, output, line)?;
                let value = nested.output(output).map_err(|fault| nested.located(fault))?;
                Ok(Some(Node::text(line, value)))
            }
            Nested::Elsewhere(reason) => {
                let text = format!(
                    "`{logical_id}.{attribute}` is not known locally, because {reason}; use a parameter that has a value \
                     for local runs"
                );
                Err(Fault::elsewhere(line, text))
            }
        }
    }

    /// A fault in the template around this one, if it has no such output.
    fn check_output(&self, logical_id: &str, output: &str, line: usize) -> Result<(), Fault> {
        if self.outputs.contains_key(output) {
            return Ok(());
        }
        let (file, known) = (self.place.shown(), listed(&self.outputs));
        let text = format!("`{logical_id}.Outputs.{output}`: {file} has no output `{output}`; {known}");
        Err(Fault::at(line, text))
    }

    /// The value of an output of this template.
    fn output(&self, name: &str) -> Result<String, Fault> {
        let Some(output) = self.outputs.get(name) else { return Ok(String::new()) };
        if let Some(condition) = output.get("Condition").and_then(|node| node.as_text())
            && !self.condition(condition, output.line)?
        {
            let text = format!("the output `{name}` is used, but its condition `{condition}` does not hold");
            return Err(Fault::at(output.line, text));
        }
        let Some(value) = output.get("Value") else {
            return Err(Fault::at(output.line, format!("the output `{name}` has no `Value`")));
        };
        self.text(value, &format!("the output `{name}`"))
    }

    /// Finds outputs that do not exist wherever they are named, because much of a template is never evaluated here.
    fn check_outputs(&self, node: &Rc<Node>) -> Result<(), Fault> {
        match &node.value {
            Value::Null | Value::Scalar { .. } => {}
            Value::List(items) => items.iter().try_for_each(|item| self.check_outputs(item))?,
            Value::Map(map) => map.values().try_for_each(|item| self.check_outputs(item))?,
        }
        let Some(("Fn::GetAtt", argument)) = node.as_intrinsic() else { return Ok(()) };
        let path = match argument.as_list() {
            Some(parts) => parts.iter().filter_map(|part| part.as_text()).collect::<Vec<_>>().join("."),
            None => argument.as_text().unwrap_or_default().to_owned(),
        };
        let Some((logical_id, output)) = path.split_once(".Outputs.") else { return Ok(()) };
        match self.nested.borrow().get(logical_id) {
            Some(Nested::Read(nested)) => nested.check_output(logical_id, output, node.line),
            _ => Ok(()),
        }
    }

    /// What `Ref` of a nested stack gives.
    pub(super) fn stack_id(&self, logical_id: &str) -> String {
        let [partition, region, account] =
            ["AWS::Partition", "AWS::Region", "AWS::AccountId"].map(|name| self.pseudo(name));
        parameters::stack_arn(&partition, &region, &account, &self.stack_name(logical_id))
    }

    /// The name of a nested stack, which is also its own `AWS::StackName`.
    fn stack_name(&self, logical_id: &str) -> String {
        let stack = self.pseudo("AWS::StackName");
        names::generated("AWS::CloudFormation::Stack", &stack, logical_id, "").unwrap_or(stack)
    }
}

/// Reads the template of a nested stack, if it is on this machine.
fn read(stack: &Properties<'_>, resource: &Resource) -> Result<Nested, Fault> {
    let (parent, logical_id) = (stack.scope(), stack.logical_id());
    let key = if resource.kind == "AWS::Serverless::Application" { "Location" } else { "TemplateURL" };
    let path = match location(stack, key, resource)? {
        Ok(path) => path,
        Err(reason) => return Ok(Nested::Elsewhere(reason)),
    };
    let place = parent.place.nested(logical_id, &path).map_err(|problem| no_place(stack, key, &path, &problem))?;
    parent.shared.stacks.set(parent.shared.stacks.get() + 1);
    if parent.shared.stacks.get() > MAX_STACKS {
        return Err(Fault::at(resource.line, format!("there are more than {MAX_STACKS} nested stacks")));
    }
    let text = text_of(&place).map_err(|error| {
        stack.fault(key, format!("names {}, which cannot be read as a template: {error}", place.shown()))
    })?;
    let file = place.file.clone();
    let inside = |fault: Fault| fault.in_file(file.as_deref());
    let root = parse(&text).map_err(inside)?;
    let given = given(stack, &root, &place)?;
    let scope = scope(&root, place, given, Rc::clone(&parent.shared)).map_err(inside)?;
    Ok(Nested::Read(Rc::new(scope)))
}

/// Where the template of a nested stack is, from the folder of the one around it; or that it is not on this machine.
fn location(stack: &Properties<'_>, key: &str, resource: &Resource) -> Result<Result<PathBuf, String>, Fault> {
    let scope = stack.scope();
    if scope.place.file.is_none() {
        return Ok(Err("nested stacks are read only where the template is a file".to_owned()));
    }
    // The CDK says so in what it synthesises, where the address itself is only a place in S3.
    if let Some(asset) = Properties::of_metadata(scope, stack.logical_id(), resource).text("aws:asset:path")? {
        return Ok(Ok(asset.into()));
    }
    let value = match stack.value(key) {
        Ok(Some(value)) => value,
        Ok(None) => return Err(stack.fault(key, "is missing")),
        Err(fault) if fault.is_elsewhere => {
            return Ok(Err(format!("where its template is cannot be told: {}", fault.text)));
        }
        Err(fault) => return Err(fault),
    };
    match value.as_text() {
        Some(url) if url.contains("://") => Ok(Err(format!("its template is at {url}, and only local files are read"))),
        Some(path) => Ok(Ok(path.into())),
        None if value.get("ApplicationId").is_some() => Ok(Err(
            "its template is in the Serverless Application Repository, and only local files are read".to_owned(),
        )),
        None => Err(stack.fault(key, "must be the path of a template")),
    }
}

fn no_place(stack: &Properties<'_>, key: &str, path: &Path, problem: &NoPlace) -> Fault {
    let shown = stack.scope().place.beside(path);
    match problem {
        NoPlace::Circle(round) => stack.fault(key, format!("goes round in a circle: {round}; break it")),
        NoPlace::NoFile(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let words = format!(
                "names {}, which does not exist; a path is relative to the folder of the template that it stands in",
                shown.display()
            );
            stack.fault(key, words)
        }
        NoPlace::NoFile(error) => stack.fault(key, format!("names {}, which cannot be read: {error}", shown.display())),
    }
}

fn text_of(place: &Place) -> std::io::Result<String> {
    let file = place.file.as_deref().unwrap_or(Path::new(""));
    // Reading from a device might never end.
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    std::fs::read_to_string(file)
}

/// What a stack gives to its template.
fn given(stack: &Properties<'_>, root: &Node, place: &Place) -> Result<Given, Fault> {
    let (parent, logical_id) = (stack.scope(), stack.logical_id());
    let inherited = ["AWS::AccountId", "AWS::Partition", "AWS::Region", "AWS::URLSuffix"];
    let mut values: BTreeMap<_, _> = inherited.map(|name| (name.to_owned(), parent.pseudo(name))).into();
    values.insert("AWS::StackName".to_owned(), parent.stack_name(logical_id));
    let mut unknown = BTreeMap::new();
    let none = Map::new();
    let declared = root.get("Parameters").and_then(|node| node.as_map()).unwrap_or(&none);
    if let Some(passed) = stack.inside("Parameters")? {
        for name in passed.keys() {
            if !declared.contains_key(name) {
                let text = format!(
                    "`{logical_id}` passes the parameter `{name}`, which {} does not have; {}",
                    place.shown(),
                    listed(declared)
                );
                return Err(parent.located(Fault::at(passed.line_of(name), text)));
            }
            match passed.value(name) {
                Ok(Some(value)) => {
                    values.insert(
                        name.clone(),
                        parameters::value_text(name, &value).map_err(|fault| parent.located(fault))?,
                    );
                }
                Ok(None) => {}
                Err(fault) if fault.is_elsewhere => {
                    unknown.insert(name.clone(), fault);
                }
                Err(fault) => return Err(fault),
            }
        }
    }
    for name in declared.keys() {
        if let Some(value) = parent.shared.given.get(&place.path_of(name)) {
            unknown.remove(name);
            values.insert(name.clone(), value.clone());
        }
    }
    let by = Giver { stack: format!("`{logical_id}` in {}", parent.place.shown()), path: place.stack() };
    Ok(Given { values, unknown, by: Some(by) })
}

fn listed(names: &Map) -> String {
    if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", quoted(names.keys())) }
}

#[cfg(test)]
mod tests;
