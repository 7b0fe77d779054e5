//! WebSocket APIs, put together from the many resources that describe one.
//!
//! `Ref` of a route, an integration or an authorizer gives its logical id here, so what refers to one is found by it;
//! a function is found by the name in its ARN.

mod authorizers;
pub(super) mod http;
mod integrations;
mod limits;
mod mapping;
mod models;
mod parameters;
mod routes;
mod services;
mod stages;

use std::rc::Rc;

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, properties::Properties, resource::Resource};
use tidings_local_stack::{Function, Note, Queue, WebSocketApi};

/// Reads all WebSocket APIs, by path. There must be one, unless there is an HTTP API to run.
pub(super) fn read(
    parts: &Parts<'_>,
    has_http_api: bool,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, WebSocketApi>, Fault> {
    let answering = parts.answering_routes()?;
    let mut apis = IndexMap::new();
    let mut stageless = Vec::new();
    for (logical_id, api) in parts.apis(Protocol::WebSocket)? {
        let scope = api.scope();
        let api_id = scope.api_id(logical_id);
        let expression = api.required_text("RouteSelectionExpression")?;
        let stages = parts.stages(&api_id)?;
        if stages.is_empty() {
            let text = format!("`{logical_id}` has no stage to connect to; add an `AWS::ApiGatewayV2::Stage`");
            stageless.push(api.note(api.line, text));
            continue;
        }
        let routes = parts.routes(&api, &answering, notes)?;
        let api = WebSocketApi { api_id, route_selection_expression: expression, stages, routes };
        apis.insert(scope.place.path_of(logical_id), api);
    }
    if apis.is_empty() && !has_http_api {
        return Err(match stageless.into_iter().next() {
            Some(note) => Fault::at(note.line, &note.text).in_file(note.file.as_deref()),
            None => Fault::nowhere(
                "the template has no API: no `AWS::Serverless::WebSocketApi`, no `AWS::Serverless::HttpApi`, and no \
                 `AWS::ApiGatewayV2::Api`",
            ),
        });
    }
    notes.extend(stageless);
    Ok(apis)
}

/// What the pieces of APIs are looked up in. A piece belongs to an API by its id, so it may stand in another template.
pub(super) struct Parts<'a> {
    pub(super) scopes: &'a [Rc<Scope>],
    pub(super) functions: &'a IndexMap<String, Function>,
    pub(super) queues: &'a IndexMap<String, Queue>,
}

/// What an API speaks.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http,
    WebSocket,
}

/// A resource by its logical id.
type Found<'a> = (&'a str, Properties<'a>, &'a Resource);

impl<'a> Parts<'a> {
    /// The resources of some kinds, of all templates.
    fn all(&self, kinds: &'static [&'static str]) -> impl Iterator<Item = Result<Found<'a>, Fault>> {
        self.scopes.iter().flat_map(move |scope| {
            let found = scope.resources_of(kinds);
            found.map(|found| found.map(|(id, resource)| (id, Properties::of(scope, id, resource), resource)))
        })
    }

    /// All APIs of a protocol.
    fn apis(&self, protocol: Protocol) -> Result<Vec<(&'a str, Properties<'a>)>, Fault> {
        let mut apis = Vec::new();
        for found in self.all(&["AWS::ApiGatewayV2::Api"]) {
            let (logical_id, properties, resource) = found?;
            let scope = properties.scope();
            let is_websocket = scope.is_websocket_api(resource).map_err(|fault| scope.located(fault))?;
            if is_websocket == (protocol == Protocol::WebSocket) {
                apis.push((logical_id, properties));
            }
        }
        Ok(apis)
    }

    /// The resources of a kind that belong to the API with an id.
    fn of_api(
        &self,
        api_id: &str,
        kinds: &'static [&'static str],
    ) -> impl Iterator<Item = Result<(&'a str, Properties<'a>), Fault>> {
        self.all(kinds).filter_map(move |found| {
            let belonging = || {
                let (logical_id, properties, _) = found?;
                let is_of_api = properties.text("ApiId")?.is_some_and(|id| id == api_id);
                Ok(is_of_api.then_some((logical_id, properties)))
            };
            belonging().transpose()
        })
    }

    /// The resource of a kind that a property names.
    fn referred(
        &self,
        properties: &Properties<'a>,
        key: &str,
        kind: &str,
        what: &str,
    ) -> Result<Properties<'a>, Fault> {
        let id = properties.required_text(key)?;
        let scope = properties.scope();
        match scope.resources.get_key_value(&id).filter(|(_, resource)| resource.kind == kind) {
            Some((id, resource)) => Ok(Properties::of(scope, id, resource)),
            None => Err(properties.fault(key, format!("must name {what} of this template, not `{id}`"))),
        }
    }
}

#[cfg(test)]
mod tests;
