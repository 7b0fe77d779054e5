//! SAM's shorthands, written out into the resources that SAM's own translator makes of them, under the same logical
//! ids, so that a template may refer to these. Functions stay as they are: `functions` reads both kinds.

pub(super) mod http;

use std::rc::Rc;

use super::{
    Fault,
    evaluate::Scope,
    node::{Map, Node},
    resource::{Resource, Resources},
};

type Properties<'a> = Vec<(&'a str, Rc<Node>)>;

/// Adds a resource, or what it stands for. As SAM does, it looks at values that parameters give, and at no resource's.
pub(super) fn expand(
    logical_id: &str,
    resource: Resource,
    scope: &Scope,
    resources: &mut Resources,
) -> Result<(), Fault> {
    match resource.kind.as_str() {
        "AWS::Serverless::WebSocketApi" => expand_api(logical_id, &resource, scope, resources)?,
        "AWS::Serverless::SimpleTable" => {
            resources.insert(logical_id.to_owned(), simple_table(logical_id, resource, scope)?);
        }
        "AWS::Serverless::Function" => {
            if let Some(name) = scope.known_text(resource.properties.get("AutoPublishAlias")) {
                let line = resource.line;
                let properties = [("Name", Node::text(line, &name)), ("FunctionName", reference(line, logical_id))];
                let made = make(logical_id, &resource, "AWS::Lambda::Alias", properties);
                resources.insert(format!("{logical_id}Alias{name}"), made);
            }
            expand_events(logical_id, &resource, scope, resources);
            resources.insert(logical_id.to_owned(), resource);
        }
        _ => {
            resources.insert(logical_id.to_owned(), resource);
        }
    }
    Ok(())
}

/// The events of a function that Lambda fetches itself, and those that a rule brings; `functions` tells of the others.
fn expand_events(logical_id: &str, function: &Resource, scope: &Scope, resources: &mut Resources) {
    let events = function.properties.get("Events").and_then(|node| node.as_map());
    for (name, event) in events.into_iter().flatten() {
        let properties = event.get("Properties").and_then(|node| node.as_map()).cloned().unwrap_or_default();
        let made_id = format!("{logical_id}{name}");
        let (kind, properties) = match event.get("Type").and_then(|node| node.as_text()) {
            Some("SNS") => {
                for (id, kind, properties) in subscription(logical_id, &made_id, event.line, properties, scope) {
                    resources.insert(id, made(logical_id, function, kind, event.line, properties));
                }
                continue;
            }
            Some("SQS") => ("AWS::Lambda::EventSourceMapping", mapping(logical_id, event.line, properties, "Queue")),
            Some("DynamoDB") => {
                ("AWS::Lambda::EventSourceMapping", mapping(logical_id, event.line, properties, "Stream"))
            }
            Some("EventBridgeRule" | "CloudWatchEvent" | "Schedule") => {
                ("AWS::Events::Rule", rule(logical_id, &made_id, event.line, properties, scope))
            }
            _ => continue,
        };
        resources.insert(made_id, made(logical_id, function, kind, event.line, properties));
    }
}

/// A resource that SAM makes for an event of a function.
fn made(owner: &str, function: &Resource, kind: &str, line: usize, properties: Map) -> Resource {
    Resource { line, properties: Node::map(line, properties), ..make(owner, function, kind, []) }
}

/// The subscription of an event, with the queue and the mapping that `SqsSubscription` puts before the function.
fn subscription(
    function: &str,
    id: &str,
    line: usize,
    mut properties: Map,
    scope: &Scope,
) -> Vec<(String, &'static str, Map)> {
    let arn = |of: &str| Node::call(line, "Fn::GetAtt", Node::text(line, format!("{of}.Arn")));
    if let Some(topic) = properties.shift_remove("Topic") {
        properties.insert("TopicArn".to_owned(), topic);
    }
    let queue = properties.shift_remove("SqsSubscription");
    let given = queue.as_ref().filter(|queue| queue.as_map().is_some() && queue.as_intrinsic().is_none());
    let is_on = scope.known_text(queue.as_ref()).is_some_and(|on| on.eq_ignore_ascii_case("true"));
    let mut more = Vec::new();
    let (protocol, endpoint) = if given.is_some() || is_on {
        let made = format!("{id}Queue");
        let of_queue = given.and_then(|given| given.get("QueueArn").cloned());
        if of_queue.is_none() {
            more.push((made.clone(), "AWS::SQS::Queue", Map::new()));
        }
        let endpoint = of_queue.unwrap_or_else(|| arn(&made));
        let kept = ["BatchSize", "Enabled"].iter().filter_map(|key| Some((*key, given?.get(key)?.clone())));
        let mut mapping = self::mapping(function, line, Map::new(), "Queue");
        mapping.extend(kept.map(|(key, value)| (key.to_owned(), value)));
        mapping.insert("EventSourceArn".to_owned(), endpoint.clone());
        more.push((format!("{id}EventSourceMapping"), "AWS::Lambda::EventSourceMapping", mapping));
        ("sqs", endpoint)
    } else {
        ("lambda", arn(function))
    };
    properties.insert("Protocol".to_owned(), Node::text(line, protocol));
    properties.insert("Endpoint".to_owned(), endpoint);
    more.push((id.to_owned(), "AWS::SNS::Subscription", properties));
    more
}

/// The mapping of an event whose property `source` is what is read.
fn mapping(function: &str, line: usize, mut properties: Map, source: &str) -> Map {
    if let Some(arn) = properties.shift_remove(source) {
        properties.insert("EventSourceArn".to_owned(), arn);
    }
    properties.insert("FunctionName".to_owned(), reference(line, function));
    properties
}

/// The rule of an event, with the function as its one target.
fn rule(function: &str, rule_id: &str, line: usize, mut properties: Map, scope: &Scope) -> Map {
    let id = properties.shift_remove("Target").and_then(|target| target.get("Id").cloned());
    let mut target = Map::from([
        ("Arn".to_owned(), Node::call(line, "Fn::GetAtt", Node::text(line, format!("{function}.Arn")))),
        ("Id".to_owned(), id.unwrap_or_else(|| Node::text(line, format!("{rule_id}LambdaTarget")))),
    ]);
    for key in ["Input", "InputPath", "InputTransformer"] {
        target.extend(properties.shift_remove(key).map(|value| (key.to_owned(), value)));
    }
    for (sams, key) in [("Pattern", "EventPattern"), ("Schedule", "ScheduleExpression"), ("RuleName", "Name")] {
        if let Some(value) = properties.shift_remove(sams) {
            properties.insert(key.to_owned(), value);
        }
    }
    // `Enabled` of a schedule came before `State`.
    let enabled = properties.shift_remove("Enabled");
    if scope.known_text(enabled.as_ref()).is_some_and(|enabled| enabled.eq_ignore_ascii_case("false")) {
        properties.insert("State".to_owned(), Node::text(line, "DISABLED"));
    }
    properties.insert("Targets".to_owned(), Node::list(line, vec![Node::map(line, target)]));
    properties
}

/// A resource that SAM makes for another; it is created under the same condition.
fn make<'a>(
    owner: &str,
    resource: &Resource,
    kind: &str,
    properties: impl IntoIterator<Item = (&'a str, Rc<Node>)>,
) -> Resource {
    Resource {
        kind: kind.to_owned(),
        properties: Node::map(
            resource.line,
            properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ),
        metadata: None,
        made_for: Some(owner.to_owned()),
        ..resource.clone()
    }
}

fn reference(line: usize, name: &str) -> Rc<Node> {
    Node::call(line, "Ref", Node::text(line, name))
}

/// Properties under new names.
fn copied<'a>(from: &Node, keys: &[(&'a str, &str)]) -> Properties<'a> {
    keys.iter().filter_map(|(new, old)| Some((*new, Rc::clone(from.get(old)?)))).collect()
}

fn expand_api(id: &str, resource: &Resource, scope: &Scope, resources: &mut Resources) -> Result<(), Fault> {
    let routes = resource.properties.get("Routes").and_then(|node| node.as_map()).filter(|map| !map.is_empty());
    let Some(routes) = routes else {
        return Err(Fault::at(resource.line, format!("the WebSocket API `{id}` needs at least one route in `Routes`")));
    };
    if let (Some(auth), false) = (resource.properties.get("Auth"), routes.contains_key("$connect")) {
        return Err(Fault::at(auth.line, format!("`Auth` of `{id}` needs a route `$connect`, where it is checked")));
    }
    check_domain(id, resource)?;
    let mut add = |logical_id: String, kind: &str, properties: Properties<'_>| {
        resources.insert(logical_id, make(id, resource, &format!("AWS::ApiGatewayV2::{kind}"), properties));
    };
    let kept = ["DisableExecuteApiEndpoint", "RouteSelectionExpression"];
    let mut api = copied(&resource.properties, &kept.map(|key| (key, key)));
    api.push(("ProtocolType", Node::text(resource.line, "WEBSOCKET")));
    add(id.to_owned(), "Api", api);

    let authorizer = authorizer(id, resource, scope)?;
    for (key, specification) in routes {
        let base = format!("{id}{}", id_part(id, key, specification.line)?);
        let authorizer = authorizer.as_ref().filter(|_| key == "$connect");
        let [route, integration] = route(id, &base, key, specification, authorizer)?;
        add(format!("{base}Route"), "Route", route);
        add(format!("{base}Integration"), "Integration", integration);
    }
    if let Some(Authorizer::Custom(properties)) = authorizer {
        add(format!("{id}ConnectAuthorizer"), "Authorizer", properties);
    }
    let (logical_id, properties) = stage(id, resource, scope)?;
    let stage = reference(resource.line, &logical_id);
    add(logical_id, "Stage", properties);
    if let Some(mapping) = mapping_of_domain(id, resource, stage) {
        resources.insert(format!("{id}ApiMapping"), mapping);
    }
    Ok(())
}

/// A custom domain's mapping to the API, where the API has a domain.
fn mapping_of_domain(id: &str, resource: &Resource, stage: Rc<Node>) -> Option<Resource> {
    let domain = resource.properties.get("Domain")?;
    let mut properties = copied(domain, &[("DomainName", "DomainName"), ("ApiMappingKey", "BasePath")]);
    properties.extend([("ApiId", reference(domain.line, id)), ("Stage", stage)]);
    let mapping = make(id, resource, "AWS::ApiGatewayV2::ApiMapping", properties);
    Some(Resource { line: domain.line, ..mapping })
}

fn check_domain(id: &str, resource: &Resource) -> Result<(), Fault> {
    match resource.properties.get("Domain").and_then(|domain| domain.get("MutualTlsAuthentication")) {
        Some(tls) => {
            let text = format!("`MutualTlsAuthentication` of `{id}` is only for HTTP APIs, or SAM refuses it");
            Err(Fault::at(tls.line, text))
        }
        None => Ok(()),
    }
}

/// The one stage, and the logical id that SAM gives it.
fn stage(id: &str, resource: &Resource, scope: &Scope) -> Result<(String, Properties<'static>), Fault> {
    let line = resource.line;
    let name = resource.properties.get("StageName").cloned().unwrap_or_else(|| Node::text(line, "default"));
    let logical_id = match scope.known_text(Some(&name)).as_deref() {
        Some("$default") => {
            let text = format!("`StageName` of `{id}` must not be `$default`, or SAM refuses it");
            return Err(Fault::at(name.line, text));
        }
        Some("default") => format!("{id}DefaultStage"),
        Some(name) => format!("{id}{name}Stage"),
        None => format!("{id}Stage"),
    };
    let mut stage = copied(&resource.properties, &STAGE_PROPERTIES.map(|key| (key, key)));
    stage.extend([("ApiId", reference(line, id)), ("StageName", name)]);
    Ok((logical_id, stage))
}

/// What stages of both kinds of APIs take from SAM's resource as it is.
const STAGE_PROPERTIES: [&str; 4] = ["AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "StageVariables"];

/// The part of the generated logical ids that stands for a route: SAM writes it in lower case after one capital.
fn id_part(id: &str, route_key: &str, line: usize) -> Result<String, Fault> {
    let name = match route_key {
        "$connect" | "$disconnect" | "$default" => &route_key[1..],
        key if !key.is_empty() && key.chars().all(char::is_alphanumeric) => key,
        key => {
            let text = format!("the route key `{key}` of `{id}` must have only letters and digits, or SAM refuses it");
            return Err(Fault::at(line, text));
        }
    };
    let mut characters = name.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    Ok(first.chain(characters.flat_map(char::to_lowercase)).collect())
}

fn route(
    api: &str,
    base: &str,
    key: &str,
    specification: &Node,
    authorizer: Option<&Authorizer>,
) -> Result<[Properties<'static>; 2], Fault> {
    let line = specification.line;
    let function = specification
        .get("FunctionArn")
        .ok_or_else(|| Fault::at(line, format!("the route `{key}` of `{api}` needs a `FunctionArn`")))?;
    if let (Some(parameters), true) = (specification.get("RequestParameters"), key != "$connect") {
        let text =
            format!("`RequestParameters` of the route `{key}` of `{api}` are only for `$connect`, or SAM refuses them");
        return Err(Fault::at(parameters.line, text));
    }
    let kept = [
        "ApiKeyRequired",
        "ModelSelectionExpression",
        "RequestModels",
        "RequestParameters",
        "RouteResponseSelectionExpression",
    ];
    let mut route = copied(specification, &kept.map(|key| (key, key)));
    let target = [Node::text(line, "integrations"), reference(line, &format!("{base}Integration"))];
    let target = vec![Node::text(line, "/"), Node::list(line, target.to_vec())];
    route.extend([
        ("ApiId", reference(line, api)),
        ("RouteKey", Node::text(line, key)),
        ("Target", Node::call(line, "Fn::Join", Node::list(line, target))),
    ]);
    match authorizer {
        Some(Authorizer::Custom(_)) => route.extend([
            ("AuthorizationType", Node::text(line, "CUSTOM")),
            ("AuthorizerId", reference(line, &format!("{api}ConnectAuthorizer"))),
        ]),
        Some(Authorizer::Iam) => route.push(("AuthorizationType", Node::text(line, "AWS_IAM"))),
        None => {}
    }
    let mut integration = copied(specification, &[("TimeoutInMillis", "IntegrationTimeout")]);
    integration.extend([
        ("ApiId", reference(line, api)),
        ("IntegrationType", Node::text(line, "AWS_PROXY")),
        ("IntegrationUri", invocation_uri(function)),
    ]);
    Ok([route, integration])
}

/// Who may connect, by `Auth` of the API.
enum Authorizer {
    Custom(Properties<'static>),
    Iam,
}

fn authorizer(id: &str, resource: &Resource, scope: &Scope) -> Result<Option<Authorizer>, Fault> {
    let Some(auth) = resource.properties.get("Auth") else { return Ok(None) };
    let fault = |text: &str| Err(Fault::at(auth.line, format!("`Auth` of `{id}` {text}")));
    let has_more = auth.as_map().is_some_and(|auth| auth.len() > 1);
    match scope.known_text(auth.get("AuthType")).map(|kind| kind.to_ascii_uppercase()).as_deref() {
        Some("NONE" | "AWS_IAM") if has_more => {
            fault("takes nothing beside an `AuthType` of `NONE` or `AWS_IAM`, or SAM refuses it")
        }
        Some("NONE") => Ok(None),
        Some("AWS_IAM") => Ok(Some(Authorizer::Iam)),
        Some("CUSTOM") => match auth.get("AuthArn") {
            Some(function) => {
                let mut properties = copied(auth, &[("IdentitySource", "IdentitySource")]);
                properties.push(("AuthorizerType", Node::text(auth.line, "REQUEST")));
                properties.push(("AuthorizerUri", invocation_uri(function)));
                Ok(Some(Authorizer::Custom(properties)))
            }
            None => fault("needs an `AuthArn` with `AuthType: CUSTOM`"),
        },
        _ => fault("needs an `AuthType` of `NONE`, `AWS_IAM` or `CUSTOM`"),
    }
}

fn invocation_uri(function: &Rc<Node>) -> Rc<Node> {
    let line = function.line;
    let text =
        "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function}/invocations";
    let variables = Node::map(line, Map::from([("Function".to_owned(), Rc::clone(function))]));
    Node::call(line, "Fn::Sub", Node::list(line, vec![Node::text(line, text), variables]))
}

fn simple_table(logical_id: &str, resource: Resource, scope: &Scope) -> Result<Resource, Fault> {
    let line = resource.line;
    let key = resource.properties.get("PrimaryKey");
    let name = key.and_then(|key| key.get("Name")).cloned().unwrap_or_else(|| Node::text(line, "id"));
    let given = key.and_then(|key| key.get("Type"));
    let kind = match (given, scope.known_text(given).as_deref()) {
        (None, _) | (_, Some("String")) => "S",
        (_, Some("Number")) => "N",
        (_, Some("Binary")) => "B",
        (Some(node), _) => {
            let text = format!("`PrimaryKey` of `{logical_id}` must have the type `String`, `Number` or `Binary`");
            return Err(Fault::at(node.line, text));
        }
    };
    let row = |key: &str, value: &str| {
        let row = [("AttributeName".to_owned(), Rc::clone(&name)), (key.to_owned(), Node::text(line, value))];
        Node::list(line, vec![Node::map(line, Map::from(row))])
    };
    let kept = ["TableName", "ProvisionedThroughput"];
    let mut properties = copied(&resource.properties, &kept.map(|key| (key, key)));
    properties.extend([("AttributeDefinitions", row("AttributeType", kind)), ("KeySchema", row("KeyType", "HASH"))]);
    Ok(make(logical_id, &resource, "AWS::DynamoDB::Table", properties))
}
