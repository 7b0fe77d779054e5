//! WebSocket APIs of raw resources and of SAM's, and what is said of broken ones.

use super::super::testing::{authorizer_of, fault_of_resources, stack_of_resources};
use tidings_local_stack::{
    ConnectAuthorization, Integration, IntegrationResponse, ParameterPlace, ParameterValue, Passthrough, Service,
    ServiceIntegration, ServiceTarget, Stack,
};

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

/// The integration's answers with some properties of a response, or what is wrong with them.
fn with_response(more: &str) -> String {
    let response = format!(
        "  R: {{Type: AWS::ApiGatewayV2::IntegrationResponse, Properties: {{ApiId: !Ref Api, IntegrationId: !Ref \
         Integration, {more}}}}}\n"
    );
    plain(TARGET, "IntegrationType: MOCK, RequestTemplates: {'200': '{\"statusCode\": 200}'}", &response)
}

#[test]
fn a_mock_is_read_with_its_templates_and_the_patterns_of_its_answers() {
    let responses = |more: &str| -> Vec<IntegrationResponse> {
        let stack = stack_of_resources(&with_response(more));
        let Integration::Mock(mock) = &stack.apis["Api"].routes["$connect"].integration else { panic!("no mock") };
        assert_eq!(mock.request.by_key["200"].text, "{\"statusCode\": 200}");
        mock.responses.clone()
    };
    let read = responses(
        "IntegrationResponseKey: '/4\\d\\d/', TemplateSelectionExpression: \\$default, ResponseTemplates: {a: x, $default: !Sub \
         'y$input.body'}",
    );
    assert_eq!((read[0].key.as_str(), read[0].templates.selection.as_deref()), ("/4\\d\\d/", Some("\\$default")));
    assert_eq!(read[0].templates.by_key["$default"].text, "y$input.body");
    assert!(responses("IntegrationResponseKey: $default")[0].templates.by_key.is_empty());
}

#[test]
fn a_broken_template_or_pattern_is_told_with_its_line() {
    let check = |more: &str, text: &str, line: usize| {
        let resources = with_response(more);
        let fault = fault_of_resources(&resources);
        let first = resources.lines().position(|line| line.starts_with("  R:")).unwrap() + 1;
        assert_eq!((fault.text.as_str(), fault.line), (text, Some(first + line)), "{more}");
    };
    check(
        "IntegrationResponseKey: '4xx'",
        "`IntegrationResponseKey` of `R` must be `$default`, or a pattern for the status such as `/4\\d\\d/`, not `4xx`",
        0,
    );
    check(
        "IntegrationResponseKey: $default, ResponseTemplates: {a: \"x\\n#if(true)\"}",
        "the template `a` in `ResponseTemplates` of `R` is broken: in line 2 of it, this `#if` has no `#end`",
        0,
    );
    let block = with_response("IntegrationResponseKey: $default").replace("IntegrationResponseKey: $default}}\n", "");
    let block = block.replace(
        "  R: {Type: AWS::ApiGatewayV2::IntegrationResponse, Properties: {ApiId: !Ref Api, IntegrationId: !Ref Integration, ",
        "  R:\n    Type: AWS::ApiGatewayV2::IntegrationResponse\n    Properties:\n      IntegrationId: !Ref Integration\n      \
         IntegrationResponseKey: $default\n      ResponseTemplates:\n        a: |\n          {\n            $util.escape(\n",
    );
    let fault = fault_of_resources(&block);
    let line = block.lines().position(|line| line.contains("$util.escape(")).unwrap() + 1;
    // The text ends in the line after, and with it the arguments.
    assert_eq!(fault.line, Some(line + 1), "{}", fault.text);
    assert!(fault.text.starts_with("the template `a` in `ResponseTemplates` of `R` is broken: "), "{}", fault.text);
}

#[test]
fn a_broken_template_in_a_folded_block_is_told_with_its_line() {
    let resources = plain(TARGET, "INTEGRATION", "").replace(
        "  Integration: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Api, INTEGRATION}}\n",
        "  Integration:\n    Type: AWS::ApiGatewayV2::Integration\n    Properties:\n      ApiId: !Ref Api\n      \
         IntegrationType: AWS\n      IntegrationUri: !Sub 'arn:aws:apigateway:${AWS::Region}:dynamodb:action/PutItem'\n      \
         RequestTemplates:\n        $default:\n          Fn::Sub: >\n            #set($ttl = 5)\n            {\n              \
         \"TableName\": \"${AWS::StackName}\",\n              \"Item\": {\"id\": {\"S\": \"$util.nothing(\"}}\n            }\n",
    );
    let fault = fault_of_resources(&resources);
    let line = resources.lines().position(|line| line.contains("$util.nothing(")).unwrap() + 1;
    assert!(
        fault.text.starts_with("the template `$default` in `RequestTemplates` of `Integration` is broken: "),
        "{fault:?}"
    );
    assert_eq!(fault.line, Some(line), "{}", fault.text);
}

const QUEUE: &str = "  Jobs: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}\n";
const ROLE: &str = "CredentialsArn: !Sub 'arn:aws:iam::${AWS::AccountId}:role/r'";

fn service(integration: &str) -> (ServiceIntegration, Vec<String>) {
    let stack = stack_of_resources(&plain(TARGET, &format!("IntegrationType: AWS, {integration}"), QUEUE));
    let notes = texts(&stack).into_iter().map(str::to_owned).collect();
    match &stack.apis["Api"].routes["$connect"].integration {
        Integration::Service(service) => (service.clone(), notes),
        other => panic!("{integration}: {other:?} {notes:?}"),
    }
}

#[test]
fn the_service_and_its_operation_are_found_however_the_address_is_written() {
    let check = |uri: &str, service_called: Service, target: ServiceTarget, query: &[(&str, &str)]| {
        let (found, notes) = service(&format!("IntegrationUri: {uri}, {ROLE}"));
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!((found.call.service, found.call.target, found.call.query), (service_called, target, query), "{uri}");
        assert_eq!(notes, [] as [String; 0], "{uri}");
    };
    let action = |name: &str| ServiceTarget::Action(name.to_owned());
    let path = |path: &str| ServiceTarget::Path(path.to_owned());
    let start = "!Sub 'arn:${AWS::Partition}:apigateway:${AWS::Region}";
    check(&format!("{start}:dynamodb:action/PutItem'"), Service::DynamoDb, action("PutItem"), &[]);
    check(&format!("{start}:events:action/PutEvents'"), Service::EventBridge, action("PutEvents"), &[]);
    check(&format!("{start}:events:path//'"), Service::EventBridge, path(""), &[]);
    check(
        &format!("{start}:sqs:path/${{AWS::AccountId}}/${{Jobs.QueueName}}'"),
        Service::Sqs,
        path("123456789012/jobs"),
        &[],
    );
    check(
        "!Join ['', ['arn:aws:apigateway:', !Ref AWS::Region, ':sqs:path/', !Ref AWS::AccountId, /, !GetAtt Jobs.QueueName]]",
        Service::Sqs,
        path("123456789012/jobs"),
        &[],
    );
    check(
        &format!("{start}:sqs:action/SendMessage&DelaySeconds=5'"),
        Service::Sqs,
        action("SendMessage"),
        &[("DelaySeconds", "5")],
    );
    check("!GetAtt F.Arn", Service::Lambda, action("F"), &[]);
    check(
        &format!("{start}:lambda:path/2015-03-31/functions/${{F.Arn}}/invocations'"),
        Service::Lambda,
        action("F"),
        &[],
    );
}

#[test]
fn a_service_that_does_not_run_here_is_named_however_it_is_written() {
    let check = |target: &str, reason: &str| {
        let uri = format!("arn:aws:apigateway:us-east-1:{target}");
        check_unsupported(&format!("IntegrationType: AWS, {ROLE}, IntegrationUri: '{uri}'"), reason);
    };
    check("states:action/StartExecution", "it calls `StartExecution` of Step Functions, which does not run locally");
    check(
        "states:action/StartSyncExecution",
        "it calls `StartSyncExecution` of Step Functions, which does not run locally",
    );
    check("kinesis:action/PutRecord", "it calls `PutRecord` of Kinesis, which does not run locally");
    check("sns:action/Publish", "it calls `Publish` of SNS, which does not run locally");
    check("s3:path/bucket/key", "it calls S3, which does not run locally");
    check("bedrock:action/Converse", "it calls `Converse` of `bedrock`, which does not run locally");
    check("dynamodb:action/CreateBackup", "it calls `CreateBackup` of DynamoDB, which does not run locally");
    check("sqs:path/123456789012/other", "it sends to the queue `other`, which is no queue of this template");
    check("dynamodb:PutItem", "`PutItem` is neither `action/OPERATION` nor `path/PATH`");
    check(
        "sqs:path/123456789012/${stageVariables.queue}",
        "stage variables in the address of a service are not emulated",
    );
    let joined = "!Join ['', ['arn:aws:apigateway:', !Ref AWS::Region, ':states:action/StartExecution']]";
    check_unsupported(
        &format!("IntegrationType: AWS, IntegrationUri: {joined}"),
        "it calls `StartExecution` of Step Functions, which does not run locally",
    );
    check_unsupported(
        "IntegrationType: AWS, IntegrationUri: https://example.com",
        "`https://example.com` is no address of a service; write `arn:aws:apigateway:REGION:SERVICE:action/OPERATION`",
    );
    check_unsupported(
        "IntegrationType: AWS, IntegrationUri: !ImportValue other",
        "`Fn::ImportValue` cannot be resolved locally; use a parameter that has a value for local runs",
    );
}

const PUT: &str = "IntegrationUri: 'arn:aws:apigateway:us-east-1:dynamodb:action/PutItem'";

#[test]
fn the_parts_of_a_service_integration_are_read() {
    let more = "TimeoutInMillis: 5000, PassthroughBehavior: NEVER, TemplateSelectionExpression: \\$default, RequestTemplates: \
                {$default: '{}'}, RequestParameters: {integration.request.header.X-Own: context.connectionId, \
                integration.request.querystring.q: \"'a b'\", integration.request.path.p: route.request.body.to.name}";
    let (read, notes) = service(&format!("{PUT}, {ROLE}, {more}"));
    assert_eq!((read.timeout_ms, read.passthrough), (5_000, Passthrough::Never));
    assert_eq!(read.request.selection.as_deref(), Some("\\$default"));
    assert_eq!(read.request.by_key["$default"].name, "the template `$default` in `RequestTemplates` of `Integration`");
    let parameters: Vec<_> = read.parameters.into_iter().map(|one| (one.place, one.name, one.value)).collect();
    let text = str::to_owned;
    assert_eq!(
        parameters,
        [
            (ParameterPlace::Header, text("X-Own"), ParameterValue::Context(text("connectionId"))),
            (ParameterPlace::Query, text("q"), ParameterValue::Static(text("a b"))),
            (ParameterPlace::Path, text("p"), ParameterValue::Body(text("to.name"))),
        ]
    );
    assert_eq!(notes, [] as [String; 0]);
    let (read, notes) = service(PUT);
    assert_eq!((read.timeout_ms, read.passthrough), (29_000, Passthrough::WhenNoMatch));
    assert_eq!(
        notes,
        ["`Integration` has no `CredentialsArn`, so API Gateway has no role to call the service with on AWS"]
    );
    let multiple = "RequestParameters: {integration.request.header.X: route.request.multivalueheader.Y}";
    assert_eq!(
        service(&format!("{PUT}, {ROLE}, {multiple}")).1,
        ["`integration.request.header.X` of `Integration`: of several values the last one counts locally"]
    );
}

#[test]
fn what_api_gateway_refuses_of_a_service_integration_is_refused() {
    let check = |more: &str, words: &str| {
        let fault = fault_of_resources(&plain(TARGET, &format!("IntegrationType: AWS, {PUT}, {ROLE}, {more}"), ""));
        assert!(fault.text.contains(words) && fault.line.is_some(), "{more}: {fault:?}");
    };
    check(
        "RequestParameters: {integration.request.header.X: plain}",
        "`integration.request.header.X` of `Integration` must be `'text'`, `route.request.body.PATH`,",
    );
    check("RequestParameters: {integration.request.header.X: \"'open\"}", "must be `'text'`");
    check("RequestParameters: {'append:header.x': \"'a'\"}", "must be `integration.request.header.NAME`");
    check("PassthroughBehavior: SOMETIMES", "must be `WHEN_NO_MATCH`, `WHEN_NO_TEMPLATES` or `NEVER`, not `SOMETIMES`");
    check("TimeoutInMillis: 40000", "must be a whole number from 50 to 29000");
    let fault = fault_of_resources(&plain(TARGET, "IntegrationType: AWS", ""));
    assert_eq!(fault.text, "`IntegrationUri` of `Integration` is missing");
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
    let authorizer = authorizer_of(&routes["$connect"]);
    assert_eq!(authorizer.function, "G");
    assert_eq!(authorizer.identity_sources, ["route.request.header.X"]);
    assert_eq!(routes["$default"].authorization, ConnectAuthorization::None);
}

#[test]
fn a_plain_authorizer_is_found() {
    let authorizer = "  Auth: {Type: AWS::ApiGatewayV2::Authorizer, Properties: {ApiId: !Ref Api, \
                      AuthorizerType: REQUEST, AuthorizerUri: !GetAtt G.Arn, IdentitySource: [route.request.header.X-A, context.identity.sourceIp]}}\n";
    let integration = "IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt F.Arn";
    let route = format!("{TARGET}, AuthorizationType: CUSTOM, AuthorizerId: !Ref Auth");
    let stack = stack_of_resources(&plain(&route, integration, authorizer));
    let authorizer = authorizer_of(&stack.apis["Api"].routes["$connect"]);
    assert_eq!((authorizer.function.as_str(), authorizer.identity_sources.len()), ("G", 2));
}

#[test]
fn an_authorizer_that_is_not_here_blocks_only_its_api() {
    let api = "Auth: {AuthType: CUSTOM, AuthArn: other}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}";
    let stack = stack_of_resources(&sam(api, ""));
    let authorizer = authorizer_of(&stack.apis["Api"].routes["$connect"]);
    assert!(!stack.functions.contains_key(&authorizer.function));
    assert_eq!(
        texts(&stack),
        ["`ApiConnectAuthorizer` answers every handshake with 500 here: it invokes `other`, which is no function of \
          this template"]
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
        ["the API key that the route `$connect` of `Api` requires is not checked locally",]
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
    let stages = |properties: &str, more: &str| stack_of_resources(&sam(properties, more)).apis["Api"].stages.clone();
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
        "`StageName` of `Api` must not be `$default`, or SAM refuses it",
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
    check(plain(TARGET, "IntegrationType: MOCK", again), "`RouteKey` of `Again` repeats the route `$connect` of `Api`");
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

#[test]
fn what_a_parameter_decides_is_read_as_if_it_stood_there() {
    let parameters = "Parameters: {Protocol: {Type: String, Default: WEBSOCKET}, Alias: {Type: String, Default: live}, \
                      Stage: {Type: String, Default: $default}}\n";
    let raw = plain(TARGET, "IntegrationType: MOCK", parameters)
        .replace("ProtocolType: WEBSOCKET", "ProtocolType: !Ref Protocol");
    let raw = raw.replace("StageName: dev", "StageName: !Ref Stage");
    assert_eq!(stack_of_resources(&raw).apis["Api"].stages[0].name, "$default");
    let uri = "!Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${FAliaslive}/invocations'";
    let aliased = plain(TARGET, &format!("IntegrationType: AWS_PROXY, IntegrationUri: {uri}"), parameters).replace(
        "F: {Type: AWS::Serverless::Function}",
        "F: {Type: AWS::Serverless::Function, Properties: {AutoPublishAlias: !Ref Alias}}",
    );
    let expected = Integration::Lambda { function: "F".to_owned(), timeout_ms: 29_000 };
    assert_eq!(stack_of_resources(&aliased).apis["Api"].routes["$connect"].integration, expected);
    let sam_stage = sam("StageName: !Ref Alias, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}", parameters);
    let named = sam_stage.replace(
        "Parameters:",
        "  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref ApiliveStage}}\nParameters:",
    );
    assert_eq!(stack_of_resources(&named).queues["Q"].name, "live");
}

#[test]
fn what_api_gateway_refuses_at_deployment_is_refused() {
    let target = format!("{TARGET}, AuthorizationType: CUSTOM, AuthorizerId: !Ref Auth");
    let authorizer = |more: &str| {
        format!(
            "  Auth: {{Type: AWS::ApiGatewayV2::Authorizer, Properties: {{ApiId: !Ref Api, AuthorizerUri: !GetAtt G.Arn, {more}}}}}\n"
        )
    };
    let check = |resources: &str, words: &str| {
        let fault = fault_of_resources(resources);
        assert!(fault.text.contains(words) && fault.line.is_some(), "{}", fault.text);
    };
    for source in
        ["$request.header.X", "route.request.headers.X", "route.request.header.", "route.request.header.a b", "x"]
    {
        let authorizer = authorizer(&format!("AuthorizerType: REQUEST, IdentitySource: ['{source}']"));
        let words = format!("(Invalid request identity source expression), not `{source}`");
        check(&plain(&target, "IntegrationType: MOCK", &authorizer), &words);
    }
    check(
        &plain(&target, "IntegrationType: MOCK", &authorizer("AuthorizerType: JWT")),
        "must be `REQUEST` for a WebSocket API, not `JWT`",
    );
    let on_message = plain(&format!("{TARGET}, AuthorizationType: AWS_IAM"), "IntegrationType: MOCK", "")
        .replace("RouteKey: $connect", "RouteKey: chat");
    check(&on_message, "`AuthorizationType` of `Route` is only for `$connect`");
    check(&plain(TARGET, "IntegrationType: LAMBDA", ""), "must be `AWS`, `AWS_PROXY`, `HTTP`, `HTTP_PROXY` or `MOCK`");
    let stage = |name: &str| {
        plain(TARGET, "IntegrationType: MOCK", "").replace("StageName: dev", &format!("StageName: {name}"))
    };
    check(&stage("a/b"), "must be `$default`, or 1 to 128 letters");
    let again = "  Twice: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: dev}}\n";
    check(&plain(TARGET, "IntegrationType: MOCK", again), "`StageName` of `Twice` repeats the stage `dev`");
    let protocol = plain(TARGET, "IntegrationType: MOCK", "").replace("WEBSOCKET", "WS");
    check(&protocol, "`ProtocolType` must be `HTTP` or `WEBSOCKET`, not `WS`");
}

#[test]
fn what_sam_refuses_is_refused() {
    let check = |properties: &str, words: &str| {
        let fault = fault_of_resources(&sam(properties, ""));
        assert!(fault.text.contains(words) && fault.line.is_some(), "{}", fault.text);
    };
    let routes = "Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}";
    check(&format!("Auth: {{AuthType: AWS_IAM, IdentitySource: [x]}}, {routes}"), "takes nothing beside an `AuthType`");
    check(&format!("Auth: {{AuthType: NONE, AuthArn: x}}, {routes}"), "takes nothing beside an `AuthType`");
    check(
        &format!("Domain: {{DomainName: a.example, MutualTlsAuthentication: {{}}}}, {routes}"),
        "`MutualTlsAuthentication` of `Api` is only for HTTP APIs",
    );
    check(
        "Routes: {chat: {FunctionArn: !GetAtt F.Arn, RequestParameters: {a: {Required: true}}}}",
        "`RequestParameters` of the route `chat` of `Api` are only for `$connect`",
    );
    let lower = sam(&format!("Auth: {{AuthType: aws_iam}}, {routes}"), "");
    assert_eq!(stack_of_resources(&lower).apis["Api"].routes["$connect"].authorization, ConnectAuthorization::Iam);
}
