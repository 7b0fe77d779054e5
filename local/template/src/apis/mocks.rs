//! `MOCK` integrations: their mapping templates, and the patterns that choose among answers.

use indexmap::IndexMap;
use regex_lite::Regex;
use tidings_local_vtl as vtl;

use super::super::{Fault, properties::Properties};
use tidings_local_stack::{IntegrationResponse, MappingTemplate, Mock, Templates};

/// Reads what an integration makes of requests, and its answers.
pub(super) fn read(integration: &Properties<'_>) -> Result<Mock, Fault> {
    Ok(Mock { request: templates(integration, "RequestTemplates")?, responses: responses(integration)? })
}

fn responses(integration: &Properties<'_>) -> Result<Vec<IntegrationResponse>, Fault> {
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
fn templates(properties: &Properties<'_>, key: &str) -> Result<Templates, Fault> {
    let selection = properties.text("TemplateSelectionExpression")?;
    let Some(given) = properties.inside(key)? else { return Ok(Templates { selection, by_key: IndexMap::new() }) };
    let mut by_key = IndexMap::new();
    for name in given.keys() {
        let Some(node) = given.value(name)? else { continue };
        let Some(text) = node.as_text() else { return Err(given.fault(name, "must be text")) };
        let template = MappingTemplate {
            text: text.to_owned(),
            file: given.scope().place.file.clone(),
            line: node.block.unwrap_or(node.line),
            is_block: node.block.is_some(),
        };
        if let Err(error) = vtl::Template::parse(text) {
            let place = if template.is_block { String::new() } else { format!("in line {} of it, ", error.line) };
            let words =
                format!("the template `{name}` of `{}` is broken: {place}{}", given.logical_id(), error.message);
            return Err(given.scope().located(Fault::at(template.line_in_file(error.line), words)));
        }
        by_key.insert(name.clone(), template);
    }
    Ok(Templates { selection, by_key })
}
