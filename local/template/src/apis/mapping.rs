//! Mapping templates, and the answers of integrations with the patterns that choose among them.

use indexmap::IndexMap;
use regex_lite::Regex;
use tidings_local_vtl as vtl;

use super::super::{Fault, node::Node, properties::Properties};
use tidings_local_stack::{IntegrationResponse, MappingTemplate, Templates};

/// What an integration may answer.
pub(super) fn responses(integration: &Properties<'_>) -> Result<Vec<IntegrationResponse>, Fault> {
    let (scope, id) = (integration.scope(), integration.logical_id());
    let mut responses = Vec::new();
    for found in scope.resources_of(&["AWS::ApiGatewayV2::IntegrationResponse"]) {
        let (logical_id, resource) = found?;
        let response = Properties::of(scope, logical_id, resource);
        if response.text("IntegrationId")?.as_deref() != Some(id) {
            continue;
        }
        let key = response.required_text("IntegrationResponseKey")?;
        if let Some(words) = key_problem(&key) {
            return Err(response.fault("IntegrationResponseKey", words));
        }
        responses.push(IntegrationResponse { key, templates: templates(&response, "ResponseTemplates")? });
    }
    Ok(responses)
}

/// What is wrong with the key of an integration response.
fn key_problem(key: &str) -> Option<String> {
    if key == "$default" {
        return None;
    }
    let pattern = key.strip_prefix('/').and_then(|key| key.strip_suffix('/')).filter(|pattern| !pattern.is_empty());
    match pattern.map(Regex::new) {
        Some(Ok(_)) => None,
        Some(Err(error)) => Some(format!("is no pattern: {error}")),
        None => Some(format!("must be `$default`, or a pattern for the status such as `/4\\d\\d/`, not `{key}`")),
    }
}

/// The templates of a property, each parsed to find what is wrong with it.
pub(super) fn templates(properties: &Properties<'_>, key: &str) -> Result<Templates, Fault> {
    let selection = properties.text("TemplateSelectionExpression")?;
    let Some(given) = properties.inside(key)? else { return Ok(Templates { selection, by_key: IndexMap::new() }) };
    let mut by_key = IndexMap::new();
    for name in given.keys() {
        let Some(node) = given.value(name)? else { continue };
        by_key.insert(name.clone(), template(&given, key, name, &node)?);
    }
    Ok(Templates { selection, by_key })
}

fn template(given: &Properties<'_>, key: &str, name: &str, node: &Node) -> Result<MappingTemplate, Fault> {
    let Some(text) = node.as_text() else { return Err(given.fault(name, "must be text")) };
    let template = MappingTemplate {
        text: text.to_owned(),
        name: format!("the template `{name}` in `{key}` of `{}`", given.logical_id()),
        file: given.scope().place.file.clone(),
        line: node.line,
        lines: node.block.as_deref().unwrap_or_default().to_vec(),
    };
    if let Err(error) = vtl::Template::parse(text) {
        let place = if template.lines.is_empty() { format!("in line {} of it, ", error.line) } else { String::new() };
        let words = format!("{} is broken: {place}{}", template.name, error.message);
        return Err(given.scope().located(Fault::at(template.line_in_file(error.line), words)));
    }
    Ok(template)
}
