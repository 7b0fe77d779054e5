//! HTTP APIs, put together from the same kinds of resources as WebSocket APIs.

use indexmap::IndexMap;

use super::super::{Fault, properties::Properties};
use super::{Parts, Protocol};
use tidings_local_stack::{Authorization, HttpApi, HttpIntegration, HttpRoute, JwtAuthorizer, Note};

/// API Gateway's own limits and default, in milliseconds.
const TIMEOUT_MS: (std::ops::RangeInclusive<u64>, u64) = (50..=30_000, 30_000);
const METHODS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Reads all HTTP APIs, by path.
pub(in super::super) fn read(parts: &Parts<'_>, notes: &mut Vec<Note>) -> Result<IndexMap<String, HttpApi>, Fault> {
    let mut apis = IndexMap::new();
    for (logical_id, api) in parts.apis(Protocol::Http)? {
        let scope = api.scope();
        for (key, words) in [
            ("Body", "the routes of its OpenAPI document are not read"),
            ("BodyS3Location", "the routes of its OpenAPI document are not read"),
            ("Target", "the route of its quick creation is not made"),
            ("CorsConfiguration", "`CorsConfiguration` is not emulated: answer preflight requests in a function"),
        ] {
            if api.has(key) {
                notes.push(api.note(api.line_of(key), format!("`{logical_id}`: {words}")));
            }
        }
        let api_id = scope.api_id(logical_id);
        let stages = parts.stages(&api_id)?;
        if stages.is_empty() {
            let text = format!("`{logical_id}` has no stage, so it answers nothing; add an `AWS::ApiGatewayV2::Stage`");
            notes.push(api.note(api.line, text));
        }
        let routes = parts.http_routes(&api, notes)?;
        let has_only_domains = api.flag("DisableExecuteApiEndpoint")?;
        apis.insert(scope.place.path_of(logical_id), HttpApi { api_id, stages, routes, has_only_domains });
    }
    Ok(apis)
}

impl<'a> Parts<'a> {
    fn http_routes(&self, api: &Properties<'a>, notes: &mut Vec<Note>) -> Result<Vec<HttpRoute>, Fault> {
        let (api_id, api) = (api.scope().api_id(api.logical_id()), api.logical_id());
        let mut routes: Vec<HttpRoute> = Vec::new();
        for found in self.of_api(&api_id, &["AWS::ApiGatewayV2::Route"]) {
            let (_, route) = found?;
            let key = route.required_text("RouteKey")?;
            if let Some(words) = key_problem(&key) {
                return Err(route.fault("RouteKey", words));
            }
            if routes.iter().any(|known| known.key == key) {
                return Err(route.fault("RouteKey", format!("repeats the route `{key}` of `{api}`")));
            }
            let authorization = self.authorization(&key, &route, notes)?;
            let integration = self.http_integration(&route)?.unwrap_or_else(|reason| {
                let text = format!("the route `{key}` of `{api}` always fails here: {reason}");
                notes.push(route.note(route.line, text));
                HttpIntegration::Unsupported { reason }
            });
            routes.push(HttpRoute { key, integration, authorization });
        }
        Ok(routes)
    }

    fn http_integration(&self, route: &Properties<'a>) -> Result<Result<HttpIntegration, String>, Fault> {
        let integration = match self.target(route)? {
            Ok(integration) => integration,
            Err(reason) => return Ok(Err(reason)),
        };
        let kind = integration.required_text("IntegrationType")?;
        if kind != "AWS_PROXY" || integration.has("IntegrationSubtype") {
            return Ok(Err(format!("integrations of the type `{kind}` with other services are not emulated")));
        }
        match integration.text("PayloadFormatVersion")?.as_deref() {
            Some("2.0") => {}
            Some(version) => return Ok(Err(format!("the payload format {version} is not emulated; use '2.0'"))),
            None => return Err(integration.fault("PayloadFormatVersion", "is missing; use '2.0'")),
        }
        let timeout_ms = integration.number("TimeoutInMillis", TIMEOUT_MS.0)?.unwrap_or(TIMEOUT_MS.1);
        let function = self.function_at(&integration, "IntegrationUri")?;
        Ok(function.map(|function| HttpIntegration::Lambda { function, timeout_ms }))
    }

    fn authorization(&self, key: &str, route: &Properties<'a>, notes: &mut Vec<Note>) -> Result<Authorization, Fault> {
        match route.text("AuthorizationType")?.as_deref() {
            None | Some("NONE") => Ok(Authorization::None),
            Some("AWS_IAM") => Ok(Authorization::Iam),
            Some("JWT") => {
                let authorizer =
                    self.referred(route, "AuthorizerId", "AWS::ApiGatewayV2::Authorizer", "an authorizer")?;
                let text = "tokens are read, but their signatures are not checked locally".to_owned();
                notes.push(authorizer.note(authorizer.line, text));
                let settings = authorizer
                    .inside("JwtConfiguration")?
                    .ok_or_else(|| authorizer.fault("JwtConfiguration", "is missing"))?;
                Ok(Authorization::Jwt(JwtAuthorizer {
                    issuer: settings.required_text("Issuer")?,
                    audience: settings.texts("Audience")?,
                    identity_sources: authorizer.texts("IdentitySource")?,
                    scopes: route.texts("AuthorizationScopes")?,
                }))
            }
            Some("CUSTOM") => {
                let text = format!("the authorizer function of the route `{key}` is not called: everybody is let in");
                notes.push(route.note(route.line_of("AuthorizationType"), text));
                Ok(Authorization::None)
            }
            Some(other) => {
                let words = format!("must be `NONE`, `AWS_IAM`, `JWT` or `CUSTOM` for an HTTP API, not `{other}`");
                Err(route.fault("AuthorizationType", words))
            }
        }
    }
}

/// What is wrong with a route key: it is `$default`, or a method and a path.
fn key_problem(key: &str) -> Option<String> {
    if key == "$default" {
        return None;
    }
    let problem = |words: &str| Some(format!("{words}, not `{key}`"));
    let Some((method, path)) = key.split_once(' ') else {
        return problem("must be `$default`, or a method and a path such as `GET /pets/{id}`");
    };
    if !METHODS.contains(&method) {
        return problem("must begin with ANY, DELETE, GET, HEAD, OPTIONS, PATCH, POST or PUT");
    }
    if !path.starts_with('/') {
        return problem("must have a path that begins with `/`");
    }
    let segments: Vec<_> = path.split('/').collect();
    let (last, others) = segments.split_last()?;
    let is_variable = |segment: &&str| segment.starts_with('{') && segment.ends_with('}');
    let broken = |segment: &&str| segment.contains(['{', '}']) && !(is_variable(segment) && segment.len() > 2);
    match others.iter().any(|segment| segment.ends_with("+}")) || segments.iter().any(broken) {
        true => problem("must have variables as whole segments, and a greedy one (`{proxy+}`) only at its end"),
        false if *last == "{+}" => problem("must name its greedy variable"),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{fault_of_resources, stack_of_resources};
    use super::*;

    fn raw(route: &str, more: &str) -> String {
        format!(
            "
  F: {{Type: AWS::Serverless::Function}}
  Api: {{Type: AWS::ApiGatewayV2::Api, Properties: {{ProtocolType: HTTP, Name: n}}}}
  Stage: {{Type: AWS::ApiGatewayV2::Stage, Properties: {{ApiId: !Ref Api, StageName: $default, AutoDeploy: true}}}}
  Route: {{Type: AWS::ApiGatewayV2::Route, Properties: {{ApiId: !Ref Api, Target: !Sub 'integrations/${{I}}', {route}}}}}
  I:
    Type: AWS::ApiGatewayV2::Integration
    Properties: {{ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt F.Arn, PayloadFormatVersion: '2.0'}}
{more}"
        )
    }

    #[test]
    fn an_api_of_raw_resources_is_read_without_a_websocket_api() {
        let stack = stack_of_resources(&raw("RouteKey: 'GET /pets/{id}', AuthorizationType: AWS_IAM", ""));
        let api = &stack.http_apis["Api"];
        assert_eq!((api.stages[0].name.as_str(), api.routes.len()), ("$default", 1));
        let expected = HttpRoute {
            key: "GET /pets/{id}".to_owned(),
            integration: HttpIntegration::Lambda { function: "F".to_owned(), timeout_ms: 30_000 },
            authorization: Authorization::Iam,
        };
        assert_eq!(api.routes[0], expected);
        assert!(stack.apis.is_empty() && stack.notes.is_empty(), "{:?}", stack.notes);
    }

    #[test]
    fn a_jwt_authorizer_is_read_and_said_to_be_half_checked() {
        let authorizer = "
  A:
    Type: AWS::ApiGatewayV2::Authorizer
    Properties:
      ApiId: !Ref Api
      Name: a
      AuthorizerType: JWT
      IdentitySource: ['$request.header.Authorization']
      JwtConfiguration: {Issuer: https://issuer.example, Audience: [rest]}
";
        let route = "RouteKey: $default, AuthorizationType: JWT, AuthorizerId: !Ref A, AuthorizationScopes: [notify]";
        let stack = stack_of_resources(&raw(route, authorizer));
        let expected = JwtAuthorizer {
            issuer: "https://issuer.example".to_owned(),
            audience: vec!["rest".to_owned()],
            identity_sources: vec!["$request.header.Authorization".to_owned()],
            scopes: vec!["notify".to_owned()],
        };
        assert_eq!(stack.http_apis["Api"].routes[0].authorization, Authorization::Jwt(expected));
        assert!(stack.notes[0].text.contains("signatures are not checked"), "{:?}", stack.notes);
    }

    #[test]
    fn route_keys_are_checked_as_api_gateway_does() {
        for (key, words) in [
            ("/pets", "must be `$default`, or a method and a path"),
            ("FETCH /pets", "must begin with ANY"),
            ("GET pets", "must have a path that begins"),
            ("GET /{proxy+}/x", "only at its end"),
            ("GET /a{id}", "variables as whole segments"),
            ("GET /{}", "variables as whole segments"),
            ("$connect", "must be `$default`, or a method and a path"),
        ] {
            let fault = fault_of_resources(&raw(&format!("RouteKey: '{key}'"), ""));
            assert!(fault.text.contains(words), "{key}: {}", fault.text);
        }
    }
}
