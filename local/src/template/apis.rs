//! WebSocket APIs, put together from the many resources that describe one.
//!
//! `Ref` of a route, an integration or an authorizer gives its logical id here, so what refers to one is found by it;
//! a function is found by the name in its ARN.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, properties::Properties, references::api_id};
use crate::stack::{Authorizer, Function, Integration, Note, Route, Stage, WebSocketApi};

/// API Gateway's own limits and default, in milliseconds.
const TIMEOUT_MS: (std::ops::RangeInclusive<u64>, u64) = (50..=29_000, 29_000);

/// Reads all WebSocket APIs, by logical id.
pub(super) fn read(
    scope: &Scope,
    functions: &IndexMap<String, Function>,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, WebSocketApi>, Fault> {
    let parts = Parts { scope, functions };
    let answering = parts.answering_routes()?;
    let mut apis = IndexMap::new();
    for found in scope.resources_of(&["AWS::ApiGatewayV2::Api"]) {
        let (logical_id, resource) = found?;
        if !resource.is_websocket_api() {
            continue;
        }
        let expression = Properties::of(scope, logical_id, resource).required_text("RouteSelectionExpression")?;
        let stages = parts.stages(logical_id)?;
        if stages.is_empty() {
            let text = format!("`{logical_id}` has no stage to connect to; add an `AWS::ApiGatewayV2::Stage`");
            return Err(Fault::at(resource.line, text));
        }
        let api = WebSocketApi {
            api_id: api_id(logical_id),
            route_selection_expression: expression,
            stages,
            routes: parts.routes(logical_id, &answering, notes)?,
        };
        apis.insert(logical_id.to_owned(), api);
    }
    if apis.is_empty() {
        return Err(Fault::nowhere(
            "the template has no WebSocket API: no `AWS::Serverless::WebSocketApi`, and no `AWS::ApiGatewayV2::Api` \
             with `ProtocolType: WEBSOCKET`",
        ));
    }
    Ok(apis)
}

/// What the pieces of an API are looked up in.
struct Parts<'a> {
    scope: &'a Scope,
    functions: &'a IndexMap<String, Function>,
}

impl<'a> Parts<'a> {
    /// The resources of a kind that belong to an API.
    fn of_api(
        &self,
        api: &'a str,
        kinds: &'static [&'static str],
    ) -> impl Iterator<Item = Result<(&'a str, Properties<'a>), Fault>> {
        let scope = self.scope;
        scope.resources_of(kinds).filter_map(move |found| {
            let belonging = || {
                let (logical_id, resource) = found?;
                let properties = Properties::of(scope, logical_id, resource);
                let is_of_api = properties.text("ApiId")?.is_some_and(|id| id == api_id(api));
                Ok(is_of_api.then_some((logical_id, properties)))
            };
            belonging().transpose()
        })
    }

    fn stages(&self, api: &'a str) -> Result<Vec<Stage>, Fault> {
        self.of_api(api, &["AWS::ApiGatewayV2::Stage"])
            .map(|found| {
                let (_, stage) = found?;
                let variables = stage.inside("StageVariables")?.map(|variables| variables.all_texts()).transpose()?;
                Ok(Stage { name: stage.required_text("StageName")?, variables: variables.unwrap_or_default() })
            })
            .collect()
    }

    /// Logical ids of the routes whose answers go back to the client.
    fn answering_routes(&self) -> Result<HashSet<String>, Fault> {
        self.scope
            .resources_of(&["AWS::ApiGatewayV2::RouteResponse"])
            .filter_map(|found| {
                let route = || {
                    let (logical_id, resource) = found?;
                    let response = Properties::of(self.scope, logical_id, resource);
                    let key = response.required_text("RouteResponseKey")?;
                    let route = response.required_text("RouteId")?;
                    Ok((key == "$default").then_some(route))
                };
                route().transpose()
            })
            .collect()
    }

    fn routes(
        &self,
        api: &'a str,
        answering: &HashSet<String>,
        notes: &mut Vec<Note>,
    ) -> Result<IndexMap<String, Route>, Fault> {
        let mut routes = IndexMap::new();
        for found in self.of_api(api, &["AWS::ApiGatewayV2::Route"]) {
            let (logical_id, route) = found?;
            let key = route.required_text("RouteKey")?;
            if routes.contains_key(&key) {
                return Err(route.fault("RouteKey", format!("repeats the route `{key}` of `{api}`")));
            }
            let returns_response = answering.contains(logical_id);
            if route.has("RouteResponseSelectionExpression") && !returns_response {
                let text = format!(
                    "the route `{key}` of `{api}` sends no answers, because it has no `AWS::ApiGatewayV2::RouteResponse`"
                );
                notes.push(Note { line: route.line, text });
            }
            if route.flag("ApiKeyRequired")? {
                let text = format!("the API key that the route `{key}` of `{api}` requires is not checked locally");
                notes.push(Note { line: route.line_of("ApiKeyRequired"), text });
            }
            let authorizer = if key == "$connect" { self.authorizer(&route, notes)? } else { None };
            match self.integration_of(&route)? {
                Ok(integration) => {
                    routes.insert(key, Route { integration, returns_response, authorizer });
                }
                Err(reason) => {
                    let text = format!("the route `{key}` of `{api}` is left out: {reason}");
                    notes.push(Note { line: route.line, text });
                }
            }
        }
        Ok(routes)
    }

    /// What a route invokes, or why that is not emulated.
    fn integration_of(&self, route: &Properties<'a>) -> Result<Result<Integration, String>, Fault> {
        let Some(target) = route.text("Target")? else { return Ok(Err("it has no `Target`".to_owned())) };
        let id = target.strip_prefix("integrations/").unwrap_or(&target);
        let kind = "AWS::ApiGatewayV2::Integration";
        let Some(resource) = self.scope.resources.get(id).filter(|resource| resource.kind == kind) else {
            return Err(route.fault("Target", format!("must name an integration of this template, not `{target}`")));
        };
        let integration = Properties::of(self.scope, id, resource);
        match integration.required_text("IntegrationType")?.as_str() {
            "AWS_PROXY" => {
                let timeout_ms = integration.number("TimeoutInMillis", TIMEOUT_MS.0)?.unwrap_or(TIMEOUT_MS.1);
                let uri = integration.required_text("IntegrationUri")?;
                Ok(self.function(&uri).map(|function| Integration::Lambda { function, timeout_ms }))
            }
            "MOCK" => Ok(Ok(Integration::Mock { response: self.mock_response(id)? })),
            other => Ok(Err(format!("integrations of the type `{other}` are not emulated"))),
        }
    }

    /// The template of a mock's answer: the one that the expression selects, else the first.
    fn mock_response(&self, integration: &str) -> Result<Option<String>, Fault> {
        for found in self.scope.resources_of(&["AWS::ApiGatewayV2::IntegrationResponse"]) {
            let (logical_id, resource) = found?;
            let response = Properties::of(self.scope, logical_id, resource);
            if response.text("IntegrationId")?.as_deref() != Some(integration) {
                continue;
            }
            let Some(templates) = response.inside("ResponseTemplates")? else { continue };
            let mut templates = templates.all_texts()?;
            let selected = response.text("TemplateSelectionExpression")?.unwrap_or_default();
            let selected = selected.trim_start_matches('\\');
            let first = templates.first().map(|(_, template)| template.clone());
            return Ok(templates.shift_remove(selected).or(first));
        }
        Ok(None)
    }

    fn authorizer(&self, route: &Properties<'a>, notes: &mut Vec<Note>) -> Result<Option<Authorizer>, Fault> {
        match route.text("AuthorizationType")?.as_deref() {
            None | Some("NONE") => return Ok(None),
            Some("CUSTOM") => {}
            Some("AWS_IAM") => {
                let text = "signatures of connecting clients (`AWS_IAM`) are not checked locally".to_owned();
                notes.push(Note { line: route.line_of("AuthorizationType"), text });
                return Ok(None);
            }
            Some(other) => {
                let words = format!("must be `NONE`, `AWS_IAM` or `CUSTOM` for a WebSocket API, not `{other}`");
                return Err(route.fault("AuthorizationType", words));
            }
        }
        let id = route.required_text("AuthorizerId")?;
        let kind = "AWS::ApiGatewayV2::Authorizer";
        let Some(resource) = self.scope.resources.get(&id).filter(|resource| resource.kind == kind) else {
            let words = format!("must name an authorizer of this template, not `{id}`");
            return Err(route.fault("AuthorizerId", words));
        };
        let authorizer = Properties::of(self.scope, &id, resource);
        let uri = authorizer.required_text("AuthorizerUri")?;
        let function = self.function(&uri).map_err(|reason| authorizer.fault("AuthorizerUri", reason))?;
        Ok(Some(Authorizer { function, identity_sources: authorizer.texts("IdentitySource")? }))
    }

    /// The function of this template that an invocation URI names, or why there is none.
    fn function(&self, uri: &str) -> Result<String, String> {
        if uri.contains("stageVariables.") {
            return Err("stage variables in the address of a function are not emulated".to_owned());
        }
        let name = uri.split_once("/functions/").map_or(uri, |(_, rest)| rest);
        let name = name.strip_suffix("/invocations").unwrap_or(name);
        let name = name.split_once(":function:").map_or(name, |(_, name)| name);
        let name = name.split(':').next().unwrap_or(name);
        let mut functions = self.functions.iter();
        let function = functions.find(|(logical_id, function)| function.name == name || *logical_id == name);
        function
            .map(|(logical_id, _)| logical_id.clone())
            .ok_or_else(|| format!("it invokes `{name}`, which is no function of this template"))
    }
}
