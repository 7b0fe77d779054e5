//! SAM's `AWS::Serverless::HttpApi` and the `HttpApi` events of functions. SAM itself writes their routes into an OpenAPI
//! document; here they become resources of their own, which is the same to a client.

use std::rc::Rc;

use super::super::evaluate::Scope;
use super::super::node::{Map, Node};
use super::super::resource::{Resource, Resources};
use super::{Properties, STAGE_PROPERTIES, copied, invocation_uri, make, mappings_of_domain, reference};

/// The API of events that name none.
const IMPLICIT: &str = "ServerlessHttpApi";

/// Writes out all HTTP APIs. `global` is what `Globals` says of them, for the one that SAM makes by itself.
pub(in super::super) fn expand(resources: &mut Resources, scope: &Scope, global: Option<&Rc<Node>>) {
    let events = events(resources);
    if let Some(event) = events.iter().find(|event| event.api == IMPLICIT) {
        resources.entry(IMPLICIT.to_owned()).or_insert_with(|| implicit(event.line, global));
    }
    let apis: Vec<_> =
        resources.iter().filter(|(_, resource)| resource.kind == "AWS::Serverless::HttpApi").map(own).collect();
    for (id, resource) in &apis {
        expand_api(id, resource, scope, resources);
    }
    for event in events {
        let api = apis.iter().find(|(id, _)| *id == event.api).map(|(_, resource)| resource);
        event.expand(api, scope, resources);
    }
}

fn own((id, resource): (&String, &Resource)) -> (String, Resource) {
    (id.clone(), resource.clone())
}

fn implicit(line: usize, global: Option<&Rc<Node>>) -> Resource {
    let none = Node::map(line, Map::new());
    Resource {
        kind: "AWS::Serverless::HttpApi".to_owned(),
        line,
        condition: None,
        properties: global.filter(|global| global.as_map().is_some()).map_or(none, Rc::clone),
        metadata: None,
        made_for: None,
    }
}

fn expand_api(id: &str, resource: &Resource, scope: &Scope, resources: &mut Resources) {
    let line = resource.line;
    let mut api = copied(
        &resource.properties,
        &[
            ("CorsConfiguration", "CorsConfiguration"),
            ("DisableExecuteApiEndpoint", "DisableExecuteApiEndpoint"),
            ("Body", "DefinitionBody"),
            ("BodyS3Location", "DefinitionUri"),
        ],
    );
    api.push(("ProtocolType", Node::text(line, "HTTP")));
    let name = resource.properties.get("StageName").cloned().unwrap_or_else(|| Node::text(line, "$default"));
    let stage_id = match scope.known_text(Some(&name)).as_deref() {
        Some("$default") | None => format!("{id}ApiGatewayDefaultStage"),
        Some(name) => format!("{id}{name}Stage"),
    };
    let mut stage = copied(&resource.properties, &STAGE_PROPERTIES.map(|key| (key, key)));
    stage.extend([("ApiId", reference(line, id)), ("StageName", name)]);
    resources.extend(mappings_of_domain(id, resource, scope, &reference(line, &stage_id)));
    resources.insert(stage_id, make(id, resource, "AWS::ApiGatewayV2::Stage", stage));
    for (name, authorizer) in authorizers(resource) {
        let made = make(id, resource, "AWS::ApiGatewayV2::Authorizer", authorizer);
        resources.insert(format!("{id}{name}Authorizer"), made);
    }
    resources.insert(id.to_owned(), make(id, resource, "AWS::ApiGatewayV2::Api", api));
}

/// The JWT authorizers of an API, by name.
fn authorizers(api: &Resource) -> Vec<(String, Properties<'static>)> {
    let named = api.properties.get("Auth").and_then(|auth| auth.get("Authorizers")).and_then(|node| node.as_map());
    let jwt = |(name, node): (&String, &Rc<Node>)| {
        let settings = node.get("JwtConfiguration")?;
        let line = node.line;
        let key = |upper: &str, lower: &str| {
            let value = settings.get(lower).or_else(|| settings.get(upper))?;
            Some((upper.to_owned(), Rc::clone(value)))
        };
        let settings = [key("Issuer", "issuer"), key("Audience", "audience")].into_iter().flatten().collect();
        let mut properties = copied(node, &[("IdentitySource", "IdentitySource")]);
        properties
            .extend([("AuthorizerType", Node::text(line, "JWT")), ("JwtConfiguration", Node::map(line, settings))]);
        Some((name.clone(), properties))
    };
    named.into_iter().flatten().filter_map(jwt).collect()
}

/// An `HttpApi` event of a function.
struct Event {
    function: String,
    name: String,
    /// Logical id of its API.
    api: String,
    line: usize,
    node: Rc<Node>,
    owner: Resource,
}

fn events(resources: &Resources) -> Vec<Event> {
    let functions = resources.iter().filter(|(_, resource)| resource.kind == "AWS::Serverless::Function");
    let of_function = |(function, owner): (&String, &Resource)| -> Vec<Event> {
        let events = owner.properties.get("Events").and_then(|node| node.as_map());
        let events = events.into_iter().flatten();
        let events = events.filter(|(_, event)| event.get("Type").and_then(|node| node.as_text()) == Some("HttpApi"));
        events
            .map(|(name, event)| {
                let node = event.get("Properties").cloned().unwrap_or_else(|| Node::map(event.line, Map::new()));
                Event {
                    function: function.clone(),
                    name: name.clone(),
                    api: api_of(&node),
                    line: event.line,
                    node,
                    owner: owner.clone(),
                }
            })
            .collect()
    };
    functions.flat_map(of_function).collect()
}

/// The API that an event names with `!Ref`, which is the only way that SAM takes.
fn api_of(event: &Node) -> String {
    let named = event.get("ApiId").and_then(|node| match node.as_intrinsic() {
        Some(("Ref", name)) => name.as_text(),
        _ => node.as_text(),
    });
    named.unwrap_or(IMPLICIT).to_owned()
}

impl Event {
    fn expand(&self, api: Option<&Resource>, scope: &Scope, resources: &mut Resources) {
        let (line, node) = (self.line, &self.node);
        let integration_id = format!("{}{}Integration", self.function, self.name);
        let function = Node::call(line, "Fn::GetAtt", Node::text(line, format!("{}.Arn", self.function)));
        let mut integration = copied(node, &[("TimeoutInMillis", "TimeoutInMillis")]);
        let version = node.get("PayloadFormatVersion").cloned().unwrap_or_else(|| Node::text(line, "2.0"));
        integration.extend([
            ("ApiId", reference(line, &self.api)),
            ("IntegrationType", Node::text(line, "AWS_PROXY")),
            ("IntegrationUri", invocation_uri(&function)),
            ("PayloadFormatVersion", version),
        ]);
        let target = vec![Node::text(line, "integrations"), reference(line, &integration_id)];
        let target = vec![Node::text(line, "/"), Node::list(line, target)];
        let mut route = vec![
            ("ApiId", reference(line, &self.api)),
            ("RouteKey", Node::text(line, self.route_key(scope))),
            ("Target", Node::call(line, "Fn::Join", Node::list(line, target))),
        ];
        route.extend(self.auth(api, scope));
        for (id, kind, properties) in [
            (integration_id, "AWS::ApiGatewayV2::Integration", integration),
            (format!("{}{}Route", self.function, self.name), "AWS::ApiGatewayV2::Route", route),
        ] {
            let mut made = make(&self.function, &self.owner, kind, properties);
            made.line = line;
            resources.insert(id, made);
        }
    }

    /// Without path and method it is everything that no other route takes.
    fn route_key(&self, scope: &Scope) -> String {
        let text = |key: &str| scope.known_text(self.node.get(key));
        let (method, path) = (text("Method"), text("Path"));
        match (method.as_deref(), path.as_deref()) {
            (None, None) => "$default".to_owned(),
            (_, Some("$default")) => "$default".to_owned(),
            (method, path) => {
                let method = method.unwrap_or("ANY").to_ascii_uppercase();
                let method = if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method };
                format!("{method} {}", path.unwrap_or("/"))
            }
        }
    }

    fn auth(&self, api: Option<&Resource>, scope: &Scope) -> Properties<'static> {
        let line = self.line;
        let own = self.node.get("Auth");
        let shared = api.and_then(|api| api.properties.get("Auth"));
        let named = own.and_then(|auth| auth.get("Authorizer")).or_else(|| shared?.get("DefaultAuthorizer"));
        match scope.known_text(named).as_deref() {
            None | Some("NONE") => Vec::new(),
            Some("AWS_IAM") => vec![("AuthorizationType", Node::text(line, "AWS_IAM"))],
            Some(name) => {
                let settings = shared.and_then(|auth| auth.get("Authorizers")?.get(name));
                let is_jwt = settings.is_some_and(|settings| settings.get("JwtConfiguration").is_some());
                let kind = if is_jwt { "JWT" } else { "CUSTOM" };
                let scopes = own.and_then(|auth| auth.get("AuthorizationScopes"));
                let scopes = scopes.or_else(|| settings?.get("AuthorizationScopes")).cloned();
                let mut auth = vec![
                    ("AuthorizationType", Node::text(line, kind)),
                    ("AuthorizerId", reference(line, &format!("{}{name}Authorizer", self.api))),
                ];
                auth.extend(scopes.map(|scopes| ("AuthorizationScopes", scopes)));
                auth
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::stack_of_resources;
    use tidings_local_stack::{Authorization, HttpApi, HttpIntegration};

    fn keys(api: &HttpApi) -> Vec<&str> {
        api.routes.iter().map(|route| route.key.as_str()).collect()
    }

    #[test]
    fn events_make_an_api_by_themselves() {
        let stack = stack_of_resources(
            "
  F:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        One: {Type: HttpApi, Properties: {Path: '/pets/{id}', Method: get}}
        Any: {Type: HttpApi, Properties: {Path: '/{proxy+}', Method: any, TimeoutInMillis: 500}}
        Rest: {Type: HttpApi}
",
        );
        let api = &stack.http_apis["ServerlessHttpApi"];
        assert_eq!(keys(api), ["GET /pets/{id}", "ANY /{proxy+}", "$default"]);
        let expected = HttpIntegration::Lambda { function: "F".to_owned(), timeout_ms: 500 };
        assert_eq!(api.routes[1].integration, expected);
        assert_eq!(api.stages[0].name, "$default");
        assert!(stack.notes.is_empty(), "{:?}", stack.notes);
    }

    #[test]
    fn an_api_with_authorizers_protects_its_events() {
        let stack = stack_of_resources(
            "
  Rest:
    Type: AWS::Serverless::HttpApi
    Properties:
      StageName: prod
      StageVariables: {colour: blue}
      Auth:
        DefaultAuthorizer: Tokens
        Authorizers:
          Tokens:
            JwtConfiguration: {issuer: https://issuer.example, audience: [a]}
            AuthorizationScopes: [read]
  F:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Token: {Type: HttpApi, Properties: {ApiId: !Ref Rest, Path: /a, Method: get}}
        Open: {Type: HttpApi, Properties: {ApiId: !Ref Rest, Path: /b, Method: get, Auth: {Authorizer: NONE}}}
        Signed: {Type: HttpApi, Properties: {ApiId: !Ref Rest, Path: /c, Method: post, Auth: {Authorizer: AWS_IAM}}}
",
        );
        let api = &stack.http_apis["Rest"];
        assert_eq!((api.stages[0].name.as_str(), api.stages[0].variables["colour"].as_str()), ("prod", "blue"));
        let [token, open, signed] = api.routes.as_slice() else { panic!("{:?}", api.routes) };
        let Authorization::Jwt(jwt) = &token.authorization else { panic!("{token:?}") };
        assert_eq!((jwt.issuer.as_str(), jwt.scopes.as_slice()), ("https://issuer.example", &["read".to_owned()][..]));
        assert_eq!((&open.authorization, &signed.authorization), (&Authorization::None, &Authorization::Iam));
    }
}
