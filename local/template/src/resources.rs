//! The `Resources` section as CloudFormation would get it: SAM's shorthands written out, `Globals` merged.

use std::rc::Rc;

use super::{
    Fault,
    evaluate::Scope,
    node::{Map, Node, Value},
    resource::{Resource, Resources},
    sam,
};
use tidings_local_stack::Note;

/// Reads the section.
pub(super) fn collect(root: &Node, scope: &Scope, notes: &mut Vec<Note>) -> Result<Resources, Fault> {
    let section = root.get("Resources").ok_or_else(|| {
        Fault::nowhere("this is no template: it has no `Resources`, as every SAM and CloudFormation template has")
    })?;
    let section = section.as_map().ok_or_else(|| Fault::at(section.line, "`Resources` must be a mapping"))?;
    let mut resources = Resources::new();
    for (logical_id, node) in section {
        if logical_id.starts_with("Fn::") {
            notes.push(Note::new(node.line, format!("`{logical_id}` is not followed locally")));
            continue;
        }
        let resource = resource(logical_id, node, root.get("Globals"))?;
        if resource.properties.get("Fn::Transform").is_some() {
            let text = format!("`{logical_id}`: `Fn::Transform` is not followed locally");
            notes.push(Note::new(resource.line, text));
        }
        sam::expand(logical_id, resource, scope, &mut resources)?;
    }
    sam::http::expand(&mut resources, scope, root.get("Globals").and_then(|globals| globals.get("HttpApi")));
    Ok(resources)
}

fn resource(logical_id: &str, node: &Node, globals: Option<&Rc<Node>>) -> Result<Resource, Fault> {
    let kind = node.get("Type").and_then(|kind| kind.as_text());
    let kind = kind.ok_or_else(|| Fault::at(node.line, format!("the resource `{logical_id}` has no `Type`")))?;
    let properties = match node.get("Properties") {
        Some(properties) if properties.value == Value::Null => Node::map(node.line, Map::new()),
        Some(properties) if properties.as_map().is_some() => Rc::clone(properties),
        Some(properties) => {
            return Err(Fault::at(properties.line, format!("`Properties` of `{logical_id}` must be a mapping")));
        }
        None => Node::map(node.line, Map::new()),
    };
    let global = kind.strip_prefix("AWS::Serverless::").and_then(|kind| globals?.get(kind));
    let properties = match global {
        Some(global) => merge(&without_ignored(global, node.get("IgnoreGlobals")), &properties),
        None => properties,
    };
    Ok(Resource {
        kind: kind.to_owned(),
        line: node.line,
        condition: node.get("Condition").and_then(|node| node.as_text()).map(str::to_owned),
        properties,
        metadata: node.get("Metadata").cloned(),
        made_for: None,
    })
}

/// What `Globals` says, less what the resource does not want of it (`"*"` or a list of properties).
fn without_ignored(global: &Rc<Node>, ignored: Option<&Rc<Node>>) -> Rc<Node> {
    let (Some(map), Some(ignored)) = (global.as_map(), ignored) else { return Rc::clone(global) };
    let mut map = map.clone();
    match ignored.as_list() {
        Some(names) => map.retain(|key, _| !names.iter().any(|name| name.as_text() == Some(key))),
        None if ignored.as_text() == Some("*") => map.clear(),
        None => {}
    }
    Node::map(global.line, map)
}

/// Merges as SAM does: mappings key by key, lists one after the other, and else the resource's own value counts. An
/// intrinsic is one value.
fn merge(global: &Rc<Node>, local: &Rc<Node>) -> Rc<Node> {
    if global.as_intrinsic().is_some() || local.as_intrinsic().is_some() {
        return Rc::clone(local);
    }
    match (&global.value, &local.value) {
        (Value::Map(global), Value::Map(map)) => {
            let mut merged = global.clone();
            for (key, value) in map {
                let value = global.get(key).map_or_else(|| Rc::clone(value), |global| merge(global, value));
                merged.insert(key.clone(), value);
            }
            Node::map(local.line, merged)
        }
        (Value::List(first), Value::List(second)) => Node::list(local.line, [first.as_slice(), second].concat()),
        _ => Rc::clone(local),
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::parse;
    use super::*;

    fn check(global: &str, local: &str, expected: &str) {
        let merged = merge(&parse(global).unwrap(), &parse(local).unwrap());
        assert_eq!(merged.to_json(), parse(expected).unwrap().to_json(), "{global} with {local}");
    }

    #[test]
    fn globals_are_merged_as_sam_does() {
        check("{a: 1}", "{b: 2}", "{a: 1, b: 2}");
        check("{a: 1}", "{a: 2}", "{a: 2}");
        check("{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}}", "{a: {b: 1, c: 3, d: 4}}");
        check("{a: [1]}", "{a: [2]}", "{a: [1, 2]}");
        check("{a: {b: 1}}", "{a: 2}", "{a: 2}");
        check("{a: {b: 1}}", "{a: !Ref c}", "{a: !Ref c}");
        check("{a: !Ref c}", "{a: {b: 1}}", "{a: {b: 1}}");
    }

    #[test]
    fn a_resource_may_ignore_globals() {
        let global = parse("{Timeout: 5, MemorySize: 256}").unwrap();
        let check = |ignored: &str, expected: &str| {
            let rest = without_ignored(&global, Some(&parse(ignored).unwrap()));
            assert_eq!(rest.to_json(), parse(expected).unwrap().to_json(), "{ignored}");
        };
        check("'*'", "{}");
        check("[Timeout]", "{MemorySize: 256}");
    }
}
