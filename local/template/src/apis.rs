//! WebSocket APIs, put together from the many resources that describe one.
//!
//! `Ref` of a route, an integration or an authorizer gives its logical id here, so what refers to one is found by it;
//! a function is found by the name in its ARN.

pub(super) mod http;
mod limits;
mod models;

use std::{collections::HashSet, rc::Rc};

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, functions::find, properties::Properties, resource::Resource};
use tidings_local_stack::{Authorizer, Function, Integration, Note, Route, Stage, WebSocketApi};

/// The route keys that API Gateway keeps for itself.
const LIFECYCLE: [&str; 3] = ["$connect", "$disconnect", "$default"];

/// API Gateway's own limits and default, in milliseconds.
const TIMEOUT_MS: (std::ops::RangeInclusive<u64>, u64) = (50..=29_000, 29_000);

/// Reads all WebSocket APIs, by path. There must be one, unless there is an HTTP API to run.
pub(super) fn read(
    parts: &Parts<'_>,
    has_http_api: bool,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, WebSocketApi>, Fault> {
    let answering = parts.answering_routes()?;
    let mut apis = IndexMap::new();
    let mut stageless = Vec::new();
    for (logical_id, api, _) in parts.apis()?.into_iter().filter(|(_, _, resource)| resource.is_websocket_api()) {
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

    /// All APIs.
    fn apis(&self) -> Result<Vec<Found<'a>>, Fault> {
        self.all(&["AWS::ApiGatewayV2::Api"]).collect()
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

    fn stages(&self, api_id: &str) -> Result<Vec<Stage>, Fault> {
        self.of_api(api_id, &["AWS::ApiGatewayV2::Stage"])
            .map(|found| {
                let (_, stage) = found?;
                let name = stage.required_text("StageName")?;
                if name == "$default" {
                    return Err(stage.fault("StageName", "must not be `$default`, which only HTTP APIs have"));
                }
                let variables = stage.inside("StageVariables")?.map(|variables| variables.all_texts()).transpose()?;
                Ok(Stage {
                    name,
                    variables: variables.unwrap_or_default(),
                    default_limit: limits::default(&stage)?,
                    limits: limits::of_routes(&stage)?,
                })
            })
            .collect()
    }

    /// The routes whose answers go back to the client, by path.
    fn answering_routes(&self) -> Result<HashSet<String>, Fault> {
        self.all(&["AWS::ApiGatewayV2::RouteResponse"])
            .filter_map(|found| {
                let route = || {
                    let (_, response, _) = found?;
                    let key = response.required_text("RouteResponseKey")?;
                    let route = response.scope().place.path_of(&response.required_text("RouteId")?);
                    Ok((key == "$default").then_some(route))
                };
                route().transpose()
            })
            .collect()
    }

    fn routes(
        &self,
        api: &Properties<'a>,
        answering: &HashSet<String>,
        notes: &mut Vec<Note>,
    ) -> Result<IndexMap<String, Route>, Fault> {
        let (api_id, api) = (api.scope().api_id(api.logical_id()), api.logical_id());
        let mut routes = IndexMap::new();
        for found in self.of_api(&api_id, &["AWS::ApiGatewayV2::Route"]) {
            let (logical_id, route) = found?;
            let key = route.required_text("RouteKey")?;
            if key.starts_with('$') && !LIFECYCLE.contains(&key.as_str()) {
                let words = "must not begin with `$`, unless it is `$connect`, `$disconnect` or `$default`";
                return Err(route.fault("RouteKey", words));
            }
            if routes.contains_key(&key) {
                return Err(route.fault("RouteKey", format!("repeats the route `{key}` of `{api}`")));
            }
            let returns_response = answering.contains(&route.scope().place.path_of(logical_id));
            if route.has("RouteResponseSelectionExpression") && !returns_response {
                let text = format!(
                    "the route `{key}` of `{api}` sends no answers, because it has no `AWS::ApiGatewayV2::RouteResponse`"
                );
                notes.push(route.note(route.line, text));
            }
            if route.flag("ApiKeyRequired")? {
                let text = format!("the API key that the route `{key}` of `{api}` requires is not checked locally");
                notes.push(route.note(route.line_of("ApiKeyRequired"), text));
            }
            let authorizer = if key == "$connect" { self.authorizer(&route, notes)? } else { None };
            let validation = models::of_route(&api_id, &route)?;
            let integration = self.integration_of(&route, notes)?.unwrap_or_else(|reason| {
                let text = format!("the route `{key}` of `{api}` always fails here: {reason}");
                notes.push(route.note(route.line, text));
                Integration::Unsupported { reason }
            });
            routes.insert(key, Route { integration, returns_response, authorizer, validation });
        }
        Ok(routes)
    }

    /// What a route invokes, or why that is not emulated.
    fn integration_of(
        &self,
        route: &Properties<'a>,
        notes: &mut Vec<Note>,
    ) -> Result<Result<Integration, String>, Fault> {
        let integration = match self.target(route)? {
            Ok(integration) => integration,
            Err(reason) => return Ok(Err(reason)),
        };
        let id = integration.logical_id();
        if integration.has("ContentHandlingStrategy") {
            let text = format!("`ContentHandlingStrategy` of `{id}` is not emulated: messages stay text");
            notes.push(integration.note(integration.line_of("ContentHandlingStrategy"), text));
        }
        match integration.required_text("IntegrationType")?.as_str() {
            "AWS_PROXY" => {
                let timeout_ms = integration.number("TimeoutInMillis", TIMEOUT_MS.0)?.unwrap_or(TIMEOUT_MS.1);
                let function = self.function_at(&integration, "IntegrationUri")?;
                Ok(function.map(|function| Integration::Lambda { function, timeout_ms }))
            }
            "MOCK" => Ok(Ok(Integration::Mock { response: mock_response(integration.scope(), id)? })),
            other => Ok(Err(format!("integrations of the type `{other}` are not emulated"))),
        }
    }

    /// The integration of a route, or why it has none.
    fn target(&self, route: &Properties<'a>) -> Result<Result<Properties<'a>, String>, Fault> {
        let Some(target) = route.text("Target")? else { return Ok(Err("it has no `Target`".to_owned())) };
        let id = target.strip_prefix("integrations/").unwrap_or(&target);
        let kind = "AWS::ApiGatewayV2::Integration";
        match route.scope().resources.get_key_value(id).filter(|(_, resource)| resource.kind == kind) {
            Some((id, resource)) => Ok(Ok(Properties::of(route.scope(), id, resource))),
            None => Err(route.fault("Target", format!("must name an integration of this template, not `{target}`"))),
        }
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

    fn authorizer(&self, route: &Properties<'a>, notes: &mut Vec<Note>) -> Result<Option<Authorizer>, Fault> {
        match route.text("AuthorizationType")?.as_deref() {
            None | Some("NONE") => return Ok(None),
            Some("CUSTOM") => {}
            Some("AWS_IAM") => {
                let text = "signatures of connecting clients (`AWS_IAM`) are not checked locally".to_owned();
                notes.push(route.note(route.line_of("AuthorizationType"), text));
                return Ok(None);
            }
            Some(other) => {
                let words = format!("must be `NONE`, `AWS_IAM` or `CUSTOM` for a WebSocket API, not `{other}`");
                return Err(route.fault("AuthorizationType", words));
            }
        }
        let authorizer = self.referred(route, "AuthorizerId", "AWS::ApiGatewayV2::Authorizer", "an authorizer")?;
        let id = authorizer.logical_id();
        let function = self.function_at(&authorizer, "AuthorizerUri")?.unwrap_or_else(|reason| {
            let text = format!("`{id}` answers every handshake with 500 here: {reason}");
            notes.push(authorizer.note(authorizer.line_of("AuthorizerUri"), text));
            // The host has no function of this name either, and says so.
            id.to_owned()
        });
        Ok(Some(Authorizer { function, identity_sources: authorizer.texts("IdentitySource")? }))
    }

    /// The function that a property names by its invocation URI, or why there is none. What cannot be resolved is in
    /// another stack.
    fn function_at(&self, properties: &Properties<'a>, key: &str) -> Result<Result<String, String>, Fault> {
        if !properties.has(key) {
            return Err(properties.fault(key, "is missing"));
        }
        match properties.required_text(key) {
            Ok(uri) => Ok(self.function(&uri)),
            Err(fault) => Ok(Err(fault.text)),
        }
    }

    /// The function of this template that an invocation URI names, or why there is none.
    fn function(&self, uri: &str) -> Result<String, String> {
        if uri.contains("stageVariables.") {
            return Err("stage variables in the address of a function are not emulated".to_owned());
        }
        let name = uri.split_once("/functions/").map_or(uri, |(_, rest)| rest);
        let name = name.strip_suffix("/invocations").unwrap_or(name);
        find(self.functions, name).map(str::to_owned).ok_or_else(|| {
            let name = name.split_once(":function:").map_or(name, |(_, name)| name);
            let name = name.split(':').next().unwrap_or(name);
            format!("it invokes `{name}`, which is no function of this template")
        })
    }
}

/// The template of a mock's answer: the one that the expression selects, else the first.
fn mock_response(scope: &Scope, integration: &str) -> Result<Option<String>, Fault> {
    for found in scope.resources_of(&["AWS::ApiGatewayV2::IntegrationResponse"]) {
        let (logical_id, resource) = found?;
        let response = Properties::of(scope, logical_id, resource);
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

#[cfg(test)]
mod tests {
    use super::super::testing::{fault_of_resources, stack_of_resources};
    use super::*;
    use tidings_local_stack::Stack;

    const FUNCTIONS: &str = "
  F: {Type: AWS::Serverless::Function}
  G: {Type: AWS::Lambda::Function, Properties: {FunctionName: gee}}
  Alias: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref G, Name: live}}
";

    fn plain(route: &str, integration: &str, more: &str) -> String {
        format!(
            "{FUNCTIONS}  \
  Api: {{Type: AWS::ApiGatewayV2::Api, Properties: {{ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.a}}}}
  Stage: {{Type: AWS::ApiGatewayV2::Stage, Properties: {{ApiId: !Ref Api, StageName: dev}}}}
  Route: {{Type: AWS::ApiGatewayV2::Route, Properties: {{ApiId: !Ref Api, RouteKey: $connect, {route}}}}}
  Integration: {{Type: AWS::ApiGatewayV2::Integration, Properties: {{ApiId: !Ref Api, {integration}}}}}
{more}"
        )
    }

    fn sam(properties: &str, more: &str) -> String {
        format!(
            "{FUNCTIONS}  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties: {{RouteSelectionExpression: $request.body.a, {properties}}}
{more}"
        )
    }

    const TARGET: &str = "Target: !Sub 'integrations/${Integration}'";

    fn texts(stack: &Stack) -> Vec<&str> {
        stack.notes.iter().map(|note| note.text.as_str()).collect()
    }

    fn check_uri(uri: &str, function: &str) {
        let integration = format!("IntegrationType: AWS_PROXY, IntegrationUri: {uri}");
        let stack = stack_of_resources(&plain(TARGET, &integration, ""));
        let expected = Integration::Lambda { function: function.to_owned(), timeout_ms: 29_000 };
        assert_eq!(stack.apis["Api"].routes["$connect"].integration, expected, "{uri}");
    }

    fn check_unsupported(integration: &str, reason: &str) {
        let stack = stack_of_resources(&plain(TARGET, integration, ""));
        let expected = Integration::Unsupported { reason: reason.to_owned() };
        assert_eq!(stack.apis["Api"].routes["$connect"].integration, expected, "{integration}");
        assert_eq!(texts(&stack), [format!("the route `$connect` of `Api` always fails here: {reason}")]);
    }

    #[test]
    fn the_function_is_found_however_the_uri_is_written() {
        let around = |arn: &str| {
            format!("!Sub 'arn:aws:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/{arn}/invocations'")
        };
        check_uri(&around("${F.Arn}"), "F");
        check_uri(&around("${F.Arn}:live"), "F");
        check_uri(&around("${G.Arn}"), "G");
        check_uri(&around("${Alias}"), "G");
        check_uri(&around("arn:aws:lambda:us-east-1:1:function:gee"), "G");
        check_uri("!GetAtt F.Arn", "F");
        check_uri(
            "!Join ['', ['arn:aws:apigateway:', !Ref AWS::Region, ':lambda:path/2015-03-31/functions/', \
             !GetAtt F.Arn, '/invocations']]",
            "F",
        );
    }

    #[test]
    fn what_is_not_emulated_blocks_only_its_route() {
        check_unsupported(
            "IntegrationType: AWS_PROXY, IntegrationUri: 'arn:aws:lambda:us-east-1:1:function:other'",
            "it invokes `other`, which is no function of this template",
        );
        check_unsupported(
            "IntegrationType: AWS_PROXY, IntegrationUri: 'x/functions/${stageVariables.name}/invocations'",
            "stage variables in the address of a function are not emulated",
        );
        check_unsupported("IntegrationType: HTTP_PROXY", "integrations of the type `HTTP_PROXY` are not emulated");
        check_unsupported(
            "IntegrationType: AWS_PROXY, IntegrationUri: !ImportValue other",
            "`Fn::ImportValue` cannot be resolved locally; use a parameter that has a value for local runs",
        );
    }

    #[test]
    fn a_mock_answers_with_its_selected_template() {
        let response = |more: &str| {
            format!(
                "  R: {{Type: AWS::ApiGatewayV2::IntegrationResponse, Properties: {{ApiId: !Ref Api, \
                 IntegrationId: !Ref Integration, IntegrationResponseKey: $default, {more}}}}}\n"
            )
        };
        let check = |more: &str, expected: Option<&str>| {
            let stack = stack_of_resources(&plain(TARGET, "IntegrationType: MOCK", more));
            let expected = Integration::Mock { response: expected.map(str::to_owned) };
            assert_eq!(stack.apis["Api"].routes["$connect"].integration, expected, "{more}");
        };
        check("", None);
        check(&response("ResponseTemplates: {a: x, b: y}"), Some("x"));
        check(&response("TemplateSelectionExpression: b, ResponseTemplates: {a: x, b: y}"), Some("y"));
        check(&response("TemplateSelectionExpression: \\$default, ResponseTemplates: {a: x, $default: y}"), Some("y"));
    }

    #[test]
    fn a_route_answers_only_with_a_route_response() {
        let response = "  R: {Type: AWS::ApiGatewayV2::RouteResponse, Properties: \
                        {ApiId: !Ref Api, RouteId: !Ref ApiConnectRoute, RouteResponseKey: $default}}\n";
        let routes = "Routes: {$connect: {FunctionArn: !GetAtt F.Arn, RouteResponseSelectionExpression: $default}}";
        let stack = stack_of_resources(&sam(routes, response));
        assert!(stack.apis["Api"].routes["$connect"].returns_response);
        assert_eq!(stack.notes, []);
        let stack = stack_of_resources(&sam(routes, ""));
        assert!(!stack.apis["Api"].routes["$connect"].returns_response);
        assert_eq!(
            texts(&stack),
            ["the route `$connect` of `Api` sends no answers, because it has no `AWS::ApiGatewayV2::RouteResponse`"]
        );
    }

    #[test]
    fn an_authorizer_stands_on_connect_only() {
        let api = "Auth: {AuthType: CUSTOM, AuthArn: !GetAtt G.Arn, IdentitySource: [route.request.header.X]}, \
                   Routes: {$connect: {FunctionArn: !GetAtt F.Arn}, $default: {FunctionArn: !GetAtt F.Arn}}";
        let stack = stack_of_resources(&sam(api, ""));
        let routes = &stack.apis["Api"].routes;
        let authorizer = routes["$connect"].authorizer.as_ref().unwrap();
        assert_eq!(authorizer.function, "G");
        assert_eq!(authorizer.identity_sources, ["route.request.header.X"]);
        assert!(routes["$default"].authorizer.is_none());
    }

    #[test]
    fn a_plain_authorizer_is_found() {
        let authorizer = "  Auth: {Type: AWS::ApiGatewayV2::Authorizer, Properties: {ApiId: !Ref Api, \
                          AuthorizerType: REQUEST, AuthorizerUri: !GetAtt G.Arn, IdentitySource: [a, b]}}\n";
        let integration = "IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt F.Arn";
        let route = format!("{TARGET}, AuthorizationType: CUSTOM, AuthorizerId: !Ref Auth");
        let stack = stack_of_resources(&plain(&route, integration, authorizer));
        let authorizer = stack.apis["Api"].routes["$connect"].authorizer.clone().unwrap();
        assert_eq!((authorizer.function.as_str(), authorizer.identity_sources.len()), ("G", 2));
    }

    #[test]
    fn an_authorizer_that_is_not_here_blocks_only_its_api() {
        let api = "Auth: {AuthType: CUSTOM, AuthArn: other}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}";
        let stack = stack_of_resources(&sam(api, ""));
        let authorizer = stack.apis["Api"].routes["$connect"].authorizer.as_ref().unwrap();
        assert!(!stack.functions.contains_key(&authorizer.function));
        assert_eq!(
            texts(&stack),
            [
                "`ApiConnectAuthorizer` answers every handshake with 500 here: it invokes `other`, which is no function of \
              this template"
            ]
        );
    }

    #[test]
    fn an_api_without_a_stage_blocks_no_other() {
        let api = "  Bare: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET, \
                   RouteSelectionExpression: x}}\n";
        let stack = stack_of_resources(&sam("Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}", api));
        assert_eq!(stack.apis.keys().collect::<Vec<_>>(), ["Api"]);
        assert_eq!(texts(&stack), ["`Bare` has no stage to connect to; add an `AWS::ApiGatewayV2::Stage`"]);
    }

    #[test]
    fn what_is_not_checked_on_connecting_is_noted() {
        let api = "Auth: {AuthType: AWS_IAM}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn, ApiKeyRequired: true}}";
        assert_eq!(
            texts(&stack_of_resources(&sam(api, ""))),
            [
                "the API key that the route `$connect` of `Api` requires is not checked locally",
                "signatures of connecting clients (`AWS_IAM`) are not checked locally",
            ]
        );
    }

    #[test]
    fn the_timeout_of_an_integration_is_read() {
        let api = "Routes: {$connect: {FunctionArn: !GetAtt F.Arn, IntegrationTimeout: 50}}";
        let stack = stack_of_resources(&sam(api, ""));
        let expected = Integration::Lambda { function: "F".to_owned(), timeout_ms: 50 };
        assert_eq!(stack.apis["Api"].routes["$connect"].integration, expected);
    }

    #[test]
    fn stages_have_names_and_variables() {
        let routes = "Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}";
        let stages =
            |properties: &str, more: &str| stack_of_resources(&sam(properties, more)).apis["Api"].stages.clone();
        assert_eq!(stages(routes, "")[0].name, "default");
        let second = "  Second: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: two}}\n";
        let both = stages(&format!("StageName: one, StageVariables: {{a: 1}}, {routes}"), second);
        assert_eq!(both.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(both[0].variables["a"], "1");
    }

    #[test]
    fn an_api_under_a_condition_that_does_not_hold_is_not_there() {
        let api = "Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}";
        let other = "  Other:\n    Type: AWS::Serverless::WebSocketApi\n    Condition: Never\n    Properties: \
                     {RouteSelectionExpression: x, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}}\n";
        let stack = stack_of_resources(&format!("{}Conditions: {{Never: !Equals [a, b]}}\n", sam(api, other)));
        assert_eq!(stack.apis.keys().collect::<Vec<_>>(), ["Api"]);
    }

    fn check_fault(resources: &str, text: &str) {
        assert_eq!(fault_of_resources(resources).text, text);
    }

    #[test]
    fn a_broken_api_of_sam_is_told() {
        let check = |properties: &str, text: &str| check_fault(&sam(properties, ""), text);
        check("Routes: {}", "the WebSocket API `Api` needs at least one route in `Routes`");
        check("Routes: {$connect: {}}", "the route `$connect` of `Api` needs a `FunctionArn`");
        check(
            "Routes: {a/b: {FunctionArn: !GetAtt F.Arn}}",
            "the route key `a/b` of `Api` must have only letters and digits, or SAM refuses it",
        );
        check(
            "Auth: {AuthType: JWT}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}",
            "`Auth` of `Api` needs an `AuthType` of `NONE`, `AWS_IAM` or `CUSTOM`",
        );
        check(
            "Auth: {AuthType: CUSTOM}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}",
            "`Auth` of `Api` needs an `AuthArn` with `AuthType: CUSTOM`",
        );
        check(
            "Auth: {AuthType: NONE}, Routes: {$default: {FunctionArn: !GetAtt F.Arn}}",
            "`Auth` of `Api` needs a route `$connect`, where it is checked",
        );
        check(
            "StageName: $default, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}",
            "`StageName` of `Api$defaultStage` must not be `$default`, which only HTTP APIs have",
        );
        check(
            "Routes: {$connect: {FunctionArn: !GetAtt F.Arn, IntegrationTimeout: 30000}}",
            "`TimeoutInMillis` of `ApiConnectIntegration` must be a whole number from 50 to 29000, not `30000`",
        );
    }

    #[test]
    fn a_broken_api_of_plain_resources_is_told() {
        let check = |resources: String, text: &str| check_fault(&resources, text);
        check(
            plain("Target: integrations/Nothing", "IntegrationType: MOCK", ""),
            "`Target` of `Route` must name an integration of this template, not `integrations/Nothing`",
        );
        check(
            plain(&format!("{TARGET}, AuthorizationType: JWT"), "IntegrationType: MOCK", ""),
            "`AuthorizationType` of `Route` must be `NONE`, `AWS_IAM` or `CUSTOM` for a WebSocket API, not `JWT`",
        );
        check(
            plain(TARGET, "IntegrationType: MOCK", "").replace("RouteKey: $connect", "RouteKey: $chat"),
            "`RouteKey` of `Route` must not begin with `$`, unless it is `$connect`, `$disconnect` or `$default`",
        );
        let again = "  Again: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: $connect}}\n";
        check(
            plain(TARGET, "IntegrationType: MOCK", again),
            "`RouteKey` of `Again` repeats the route `$connect` of `Api`",
        );
        check(
            "\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET, \
             RouteSelectionExpression: x}}\n"
                .to_owned(),
            "`Api` has no stage to connect to; add an `AWS::ApiGatewayV2::Stage`",
        );
        check(
            "\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET}}\n".to_owned(),
            "`RouteSelectionExpression` of `Api` is missing",
        );
    }
}
