//! Whole templates, from their text to the stack, and what is said of broken ones.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use super::testing::{SQS, authorizer_of, named};
use super::{Context, TemplateError, load, read};
use tidings_local_stack::{ConnectAuthorization, Integration, Stack};

fn values(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_with(text: &str, given: &[(&str, &str)]) -> Stack {
    read(text, Path::new("/project"), Context { parameters: &values(given), sqs: SQS, functions_elsewhere: false })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn read_it(text: &str) -> Stack {
    read_with(text, &[])
}

fn load_it(path: &Path) -> Result<Stack, TemplateError> {
    load(path, Context { parameters: &values(&[]), sqs: SQS, functions_elsewhere: false })
}

fn check_error_with(text: &str, given: &[(&str, &str)], message: &str) {
    let error =
        read(text, Path::new("/project"), Context { parameters: &values(given), sqs: SQS, functions_elsewhere: false })
            .expect_err(message);
    assert_eq!(error.to_string(), message);
}

fn check_error(text: &str, message: &str) {
    check_error_with(text, &[], message);
}

fn notes(stack: &Stack) -> Vec<String> {
    stack.notes.iter().map(|note| format!("{}: {}", note.line, note.text)).collect()
}

fn function_of(stack: &Stack, api: &str, route: &str) -> String {
    match &stack.apis[api].routes[route].integration {
        Integration::Lambda { function, .. } => function.clone(),
        other => panic!("{route} has {other:?}"),
    }
}

const OURS: &str = include_str!("tests/ours.yaml");
const CHAT: &str = include_str!("tests/chat.yaml");
const SYNTHESISED: &str = include_str!("tests/synthesised.json");

#[test]
fn a_template_as_ours_is_read() {
    let stack = read_it(OURS);
    let api = &stack.apis["Socket"];
    assert_eq!(api.route_selection_expression, "$request.body.action");
    assert_eq!(api.stages[0].name, "dev");
    assert_eq!(api.stages[0].variables["Colour"], "blue");
    assert_eq!(api.routes.keys().collect::<Vec<_>>(), ["$connect", "$disconnect", "$default", "ping"]);
    assert_eq!(function_of(&stack, "Socket", "$connect"), "ConnectFunction");
    assert_eq!(function_of(&stack, "Socket", "$default"), "DefaultFunction");
    assert!(api.routes["$default"].returns_response);
    assert!(!api.routes["$connect"].returns_response);
    let ping = &api.routes["ping"];
    let Integration::Mock(mock) = &ping.integration else { panic!("{ping:?}") };
    assert_eq!(mock.responses[0].templates.by_key.values().next().unwrap().text, r#"{"type":"pong"}"#);
    assert!(ping.returns_response);
    let authorizer = authorizer_of(&api.routes["$connect"]);
    assert_eq!(authorizer.function, "AuthorizerFunction");
    assert!(authorizer.identity_sources.is_empty());
    assert_eq!(stack.http_apis["RestApi"].stages[0].name, "$default");
    assert_eq!(notes(&stack), [] as [&str; 0]);
}

#[test]
fn the_functions_of_a_template_as_ours_are_read() {
    let stack = read_it(OURS);
    let connect = &stack.functions["ConnectFunction"];
    assert_eq!(connect.name, named("<Serverless::Function ConnectFunction>"));
    assert_eq!(connect.code.as_deref(), Some(Path::new("/project/functions/connect")));
    assert_eq!(connect.runtime.as_deref(), Some("provided.al2023"));
    assert_eq!(connect.handler.as_deref(), Some("bootstrap"));
    assert_eq!(connect.build_method.as_deref(), Some("rust-cargolambda"));
    assert_eq!(connect.binary, None);
    assert_eq!((connect.timeout_seconds, connect.memory_mb), (10, 256));
    assert!(connect.json_logs);
    assert_eq!(
        json!(connect.environment),
        json!({"TABLE_NAME": named("<DynamoDB::Table Connections>"), "LOG_LEVEL": "info", "ALLOW_ANONYMOUS": "true"})
    );
    let notifier = &stack.functions["NotifierFunction"];
    assert_eq!((notifier.timeout_seconds, notifier.memory_mb), (30, 1769));
    assert_eq!(notifier.reserved_concurrency, Some(10));
    assert_eq!(notifier.binary.as_deref(), Some("notify"));
    let api = &stack.apis["Socket"].api_id;
    assert_eq!(notifier.environment["ENDPOINT"], format!("https://{api}.execute-api.us-east-1.amazonaws.com/dev"));
    let queue = named("http://127.0.0.1:3030/123456789012/<SQS::Queue DeadLetterQueue>");
    assert_eq!(notifier.environment["DEAD_LETTERS"], queue);
}

#[test]
fn the_table_of_a_template_as_ours_is_read() {
    let stack = read_it(OURS);
    let table = &stack.tables["Connections"];
    assert_eq!(table.name, named("<DynamoDB::Table Connections>"));
    assert_eq!(table.ttl_attribute.as_deref(), Some("expires_at"));
    assert_eq!(
        table.create,
        json!({
            "TableName": table.name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        })
    );
}

#[test]
fn values_for_local_runs_are_told_and_can_be_overridden() {
    let stack = read_it(OURS);
    assert_eq!(json!(stack.dev_parameters), json!({"AllowAnonymous": "true"}));
    let stack = read_with(OURS, &[("AllowAnonymous", "false"), ("StageName", "beta")]);
    assert_eq!(json!(stack.dev_parameters), json!({}));
    assert_eq!(stack.functions["ConnectFunction"].environment["ALLOW_ANONYMOUS"], "false");
    assert_eq!(stack.apis["Socket"].stages[0].name, "beta");
}

#[test]
fn the_region_can_be_chosen() {
    let stack = read_with(OURS, &[("AWS::Region", "eu-west-1")]);
    let arn = named("arn:aws:sqs:eu-west-1:123456789012:<SQS::Queue DeadLetterQueue>");
    assert_eq!(stack.queues["DeadLetterQueue"].arn, arn);
}

#[test]
fn a_chat_of_plain_api_gateway_resources_is_read() {
    let stack = read_it(CHAT);
    let api = &stack.apis["ChatApi"];
    assert_eq!(api.route_selection_expression, "$request.body.message");
    assert_eq!(api.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["Prod"]);
    assert_eq!(api.routes.keys().collect::<Vec<_>>(), ["$connect", "$disconnect", "sendmessage"]);
    assert_eq!(function_of(&stack, "ChatApi", "$connect"), "JoinFunction");
    assert_eq!(function_of(&stack, "ChatApi", "$disconnect"), "LeaveFunction");
    assert_eq!(function_of(&stack, "ChatApi", "sendmessage"), "SayFunction");
    assert!(
        api.routes.values().all(|route| !route.returns_response && route.authorization == ConnectAuthorization::None)
    );
    let table = &stack.tables["Members"];
    assert_eq!((table.name.as_str(), &table.ttl_attribute), ("chat-members", &None));
    assert_eq!(stack.functions["SayFunction"].environment["TABLE_NAME"], "chat-members");
    assert_eq!(stack.functions["SayFunction"].code.as_deref(), Some(Path::new("/project/say")));
    assert_eq!(stack.notes, []);
}

#[test]
fn synthesised_json_is_read() {
    let stack = read_it(SYNTHESISED);
    let api = &stack.apis["Api0A1B2C3D"];
    let route = &api.routes["$default"];
    assert_eq!(route.integration, Integration::Lambda { function: "Echo4E5F6A7B".to_owned(), timeout_ms: 5_000 });
    assert!(route.returns_response);
    let function = &stack.functions["Echo4E5F6A7B"];
    assert_eq!(function.code.as_deref(), Some(Path::new("/project/asset.1234")));
    assert_eq!(function.name, "tidings-dev-echo");
    assert_eq!(stack.tables["Rows8C9D0E1F"].create["BillingMode"], "PAY_PER_REQUEST");
}

const API: &str = "
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.action
      Routes:
        $connect: {FunctionArn: !GetAtt Function.Arn}
";

#[test]
fn what_is_no_template_is_told() {
    check_error("", "the template is empty");
    check_error("a: [", "line 1: this is not valid YAML: while parsing a node, did not find expected node content");
    check_error(
        "just a text",
        "this is no template: it has no `Resources`, as every SAM and CloudFormation template has",
    );
    check_error("Resources: 5", "line 1: `Resources` must be a mapping");
    check_error("Resources:\n  A: 5", "line 2: the resource `A` has no `Type`");
    check_error(
        "Resources:\n  A: {Type: AWS::SNS::Topic, Properties: 5}",
        "line 2: `Properties` of `A` must be a mapping",
    );
    check_error(
        "Resources:\n  A: {Type: AWS::SNS::Topic}",
        "the template has no API: no `AWS::Serverless::WebSocketApi`, no `AWS::Serverless::HttpApi`, and no \
         `AWS::ApiGatewayV2::Api`",
    );
}

#[test]
fn an_intrinsic_that_is_not_supported_hurts_only_where_it_is_needed() {
    let template = |variable: &str, tag: &str| {
        format!(
            "Resources:{API}  Function:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
             Environment:\n        Variables:\n          A: {variable}\n      Tags:\n        B: {tag}\n\
             Outputs:\n  C: {{Value: !ImportValue c}}\n"
        )
    };
    assert_eq!(read_it(&template("a", "!ImportValue b")).functions["Function"].environment["A"], "a");
    check_error(
        &template("!ImportValue a", "b"),
        "line 13: `Fn::ImportValue` cannot be resolved locally; use a parameter that has a value for local runs",
    );
}

#[test]
fn what_functions_are_made_of_does_not_matter_where_they_run_elsewhere() {
    let text = format!(
        "Resources:{API}  Function:\n    Type: AWS::Serverless::Function\n    Properties:\n      PackageType: Image\n      \
         Timeout: !ImportValue t\n      Environment: {{Variables: {{A: !ImportValue a, B: b}}}}\n"
    );
    let parameters = values(&[]);
    let context = Context { parameters: &parameters, sqs: SQS, functions_elsewhere: true };
    let stack = read(&text, Path::new("/project"), context).unwrap();
    let function = &stack.functions["Function"];
    assert_eq!((json!(function.environment), function.timeout_seconds), (json!({"B": "b"}), 3));
    assert_eq!(notes(&stack), [""; 0]);
    let image = text.replace("!ImportValue t", "3").replace("!ImportValue a", "a");
    assert_eq!(notes(&read_it(&image)), ["8: `Function` cannot run locally: its code is a container image"]);
}

#[test]
fn a_name_that_is_no_value_is_made_as_if_the_property_were_not_there() {
    let name = "!If [Named, !Ref Name, !Ref AWS::NoValue]";
    let keys =
        "AttributeDefinitions: [{AttributeName: a, AttributeType: S}], KeySchema: [{AttributeName: a, KeyType: HASH}]";
    let text = format!(
        "Parameters: {{Name: {{Type: String, Default: ''}}}}\nConditions: {{Named: !Not [!Equals [!Ref Name, '']]}}\nResources:{API}  \
         Function: {{Type: AWS::Serverless::Function, Properties: {{FunctionName: {name}}}}}\n  DB: {{Type: AWS::DynamoDB::Table, \
         Properties: {{TableName: {name}, {keys}}}}}\n  Q: {{Type: AWS::SQS::Queue, Properties: {{QueueName: {name}}}}}\n  \
         R: {{Type: AWS::Events::Rule, Properties: {{Name: {name}, EventPattern: {{source: [a]}}}}}}\n"
    );
    let names = |stack: &Stack| {
        let Stack { functions, tables, queues, rules, .. } = stack;
        [&functions["Function"].name, &tables["DB"].name, &queues["Q"].name, &rules["R"].name].map(Clone::clone)
    };
    let made = ["<Serverless::Function Function>", "<DynamoDB::Table DB>", "<SQS::Queue Q>", "<Events::Rule R>"];
    let stack = read_it(&text);
    assert_eq!(names(&stack), made.map(named));
    assert_eq!(stack.tables["DB"].create["TableName"], named("<DynamoDB::Table DB>"));
    assert_eq!(names(&read_with(&text, &[("Name", "given")])), ["given"; 4]);
}

#[test]
fn a_file_is_read_with_paths_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, CHAT).unwrap();
    let stack = load_it(&path).unwrap();
    assert_eq!(stack.functions["JoinFunction"].code, Some(folder.path().join("join")));
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| load_it(path).map_err(|error| error.to_string()).expect_err("no template");
    let path = folder.path().join("template.yaml");
    let shown = path.display();
    assert_eq!(message(&path), format!("there is no template at `{shown}`; name one with `--template PATH`"));
    assert_eq!(message(folder.path()), format!("cannot read the template `{}`", folder.path().display()));
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(message(&path), format!("cannot read the template `{shown}`"));
    assert!(matches!(load_it(&path), Err(TemplateError::Unreadable { .. })));
    std::fs::write(&path, "Resources:\n  A: {}\n").unwrap();
    assert_eq!(message(&path), format!("{shown}:2: the resource `A` has no `Type`"));
    std::fs::write(&path, "").unwrap();
    assert_eq!(message(&path), format!("{shown}: the template is empty"));
}

#[test]
fn what_does_not_run_locally_is_noted() {
    let text = format!(
        "Transform: [AWS::Serverless-2016-10-31, My::Macro]\nResources:{API}  Function: {{Type: AWS::Serverless::Function}}\n  \
         Nested: {{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: a.yaml}}}}\n  Rest: {{Type: AWS::Serverless::Api}}\n  \
         Fn::Transform: {{Name: AWS::Include}}\n  \
         Absent: {{Type: AWS::CloudFormation::Stack, Condition: Never}}\n\
         Conditions: {{Never: !Equals [a, b]}}\n"
    );
    assert_eq!(
        notes(&read_it(&text)),
        [
            "1: the macro `My::Macro` does not run locally",
            "10: `Nested` does not run locally: nested stacks are read only where the template is a file",
            "11: `Rest`: REST APIs are not emulated",
            "12: `Fn::Transform` is not followed locally",
        ]
    );
}

#[test]
fn fuzz_templates() {
    let samples = [OURS, CHAT, SYNTHESISED].map(str::as_bytes);
    tidings_local_fuzz::run("templates", &samples, |bytes, _| {
        let started = std::time::Instant::now();
        let context = Context { parameters: &values(&[]), sqs: SQS, functions_elsewhere: false };
        let read = read(&String::from_utf8_lossy(bytes), Path::new("/project"), context);
        if let Err(error) = read {
            assert!(!error.to_string().is_empty());
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", started.elapsed());
    });
}
