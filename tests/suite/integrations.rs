//! Integrations of the type `AWS`: routes that call SQS, DynamoDB, EventBridge and functions by templates, through everything
//! that `tidings dev` starts, with real clients.

use serde_json::json;
use tempfile::TempDir;
use tests::eventually;
use tidings_local_services::sqs::md5_of;
use tidings_test::{Client, PATIENCE, Stack};

use crate::centrifuge::has;

const HEAD: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: \
                    {Name: a, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}\n  Stage: {Type: \
                    AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: v1}}\n  Role: {Type: AWS::IAM::Role}\n";

/// What functions need to reach clients and tables without an SDK.
const TOOLS: &str = r#"
const http = require('http');
const call = (url, headers, body) => new Promise((resolve, reject) => {
  const request = http.request(url, { method: 'POST', headers }, (response) => {
    let text = ''; response.on('data', (part) => { text += part; });
    response.on('end', () => resolve({ status: response.statusCode, text }));
  });
  request.on('error', reject); request.end(body);
});
exports.push = (id, message) => call(
  `${process.env.AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI}/@connections/${encodeURIComponent(id)}`, {}, JSON.stringify(message));
exports.table = async (operation, input) => JSON.parse((await call(process.env.AWS_ENDPOINT_URL_DYNAMODB, {
  'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `DynamoDB_20120810.${operation}`, 'x-amz-date': '20250101T000000Z',
  authorization: 'AWS4-HMAC-SHA256 Credential=a/20250101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=b',
}, JSON.stringify(input))).text);
"#;

fn folder(resources: &str, code: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("code")).unwrap();
    std::fs::write(folder.path().join("code/tools.js"), TOOLS).unwrap();
    std::fs::write(folder.path().join("code/app.js"), code).unwrap();
    std::fs::write(folder.path().join("template.yaml"), format!("{HEAD}{resources}")).unwrap();
    folder
}

async fn start(folder: &TempDir) -> Stack {
    Stack::start(folder.path().join("template.yaml")).await
}

fn function(id: &str, more: &str) -> String {
    format!(
        "  {id}: {{Type: AWS::Serverless::Function, Properties: {{Runtime: nodejs20.x, Handler: app.{id}, CodeUri: code, \
         Timeout: 30{more}}}}}\n"
    )
}

/// A route with an integration, whose further lines are indented by six spaces.
fn route(name: &str, key: &str, integration: &str) -> String {
    format!(
        "  {name}I:\n    Type: AWS::ApiGatewayV2::Integration\n    Properties:\n      ApiId: !Ref Api\n{integration}\n  \
         {name}R: {{Type: AWS::ApiGatewayV2::Route, Properties: {{ApiId: !Ref Api, RouteKey: {key}, Target: !Sub \
         'integrations/${{{name}I}}'}}}}\n"
    )
}

fn proxy(name: &str, key: &str, function: &str) -> String {
    route(name, key, &format!("      IntegrationType: AWS_PROXY\n      IntegrationUri: !GetAtt {function}.Arn"))
}

/// An integration of the type `AWS` with one request template, whose lines are indented here.
fn service(target: &str, template: &str, more: &str) -> String {
    let template: String = template.trim().lines().map(|line| format!("            {line}\n")).collect();
    format!(
        "      IntegrationType: AWS\n      IntegrationMethod: POST\n      CredentialsArn: !GetAtt Role.Arn\n      \
         IntegrationUri: !Sub 'arn:aws:apigateway:${{AWS::Region}}:{target}'\n      \
         TemplateSelectionExpression: \\$default\n      RequestTemplates:\n        $default:\n          Fn::Sub: |-\n{template}{more}"
    )
}

/// The header without which SQS cannot read what a template makes.
const FORM: &str = "      RequestParameters:\n        integration.request.header.Content-Type: \"'application/x-www-form-urlencoded'\"\n";

/// A route that sends answers, by an integration response for each key with its template.
fn answers(name: &str, responses: &[(&str, Option<&str>)]) -> String {
    let route = format!(
        "  {name}RR: {{Type: AWS::ApiGatewayV2::RouteResponse, Properties: {{ApiId: !Ref Api, RouteId: !Ref {name}R, \
         RouteResponseKey: $default}}}}\n"
    );
    let responses = responses.iter().enumerate().map(|(index, (key, template))| {
        let template =
            template.map(|text| format!(", ResponseTemplates: {{$default: {}}}", json!(text))).unwrap_or_default();
        format!(
            "  {name}IR{index}: {{Type: AWS::ApiGatewayV2::IntegrationResponse, Properties: {{ApiId: !Ref Api, \
             IntegrationId: !Ref {name}I, IntegrationResponseKey: '{key}'{template}}}}}\n"
        )
    });
    route + &responses.collect::<String>()
}

/// A route by which a client learns its own id.
fn who_am_i() -> String {
    let mock = "      IntegrationType: MOCK\n      RequestTemplates: {$default: '{\"statusCode\": 200}'}";
    route("Who", "whoami", mock) + &answers("Who", &[("$default", Some("$context.connectionId"))])
}

async fn id_of(client: &mut Client) -> String {
    client.send(&json!({"action": "whoami"}).to_string()).await;
    client.text().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_send_route_writes_straight_to_sqs_runs_with_a_function_behind_the_queue() {
    if !has("node").await {
        return;
    }
    let template = "#set($to = $input.path('$.to'))\nAction=SendMessage&MessageGroupId=$util.urlEncode($to)&\
                    MessageDeduplicationId=$context.messageId&MessageAttribute.1.Name=from&MessageAttribute.1.Value.DataType=String\
                    &MessageAttribute.1.Value.StringValue=$util.urlEncode($context.connectionId)\
                    &MessageBody=$util.urlEncode($input.json('$'))";
    let send = service("sqs:path/${AWS::AccountId}/${Messages.QueueName}", template, FORM);
    let resources = "  Messages: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}\n".to_owned()
        + &function("push", ", Events: {Queue: {Type: SQS, Properties: {Queue: !GetAtt Messages.Arn}}}")
        + &route("Send", "send", &send)
        + &who_am_i();
    let code = r#"
const { push } = require('./tools');
exports.push = async (event) => {
  for (const record of event.Records) {
    const { to, text } = JSON.parse(record.body);
    const from = record.messageAttributes.from.stringValue;
    const { status } = await push(to, { from, text });
    if (status !== 200) throw new Error(`the push answered ${status}`);
  }
};
"#;
    let folder = folder(&resources, code);
    let stack = start(&folder).await;
    let (mut one, mut other) = (Client::connect(stack.url()).await, Client::connect(stack.url()).await);
    let (from, to) = (id_of(&mut one).await, id_of(&mut other).await);
    for text in ["hello", "it's \"1 + 1 = 2\" & more", "日本"] {
        one.send(&json!({"action": "send", "to": to, "text": text}).to_string()).await;
        assert_eq!(other.json().await, json!({"from": from, "text": text}));
    }
    // The route sends no answers: the next frame is another's.
    other.send(&json!({"action": "send", "to": from, "text": "back"}).to_string()).await;
    assert_eq!(one.json().await, json!({"from": to, "text": "back"}));
    // Without a receiver the queue wants to know the group.
    one.send(&json!({"action": "send", "text": "lost"}).to_string()).await;
    assert_eq!(one.json().await["message"], "Internal server error");
    stack.stop().await;
}

/// `$connect` and `$disconnect` that keep who is there in a table.
fn connections_in_a_table() -> String {
    let put = r##"#set($ttl = $context.requestTimeEpoch / 1000 + 7200)
{
  "TableName": "${People}",
  "Item": {
    "id": {"S": "$context.connectionId"},
    "name": {"S": "$util.escapeJavaScript($input.params('name')).replaceAll("\\'", "'")"}#if($input.params('X-Team') != ''),
    "team": {"S": "$input.params('X-Team')"}
#end,
    "ttl": {"N": "$ttl"}
  }
}"##;
    let delete = r#"{"TableName": "${People}", "Key": {"id": {"S": "$context.connectionId"}}}"#;
    "  People: {Type: AWS::DynamoDB::Table, Properties: {BillingMode: PAY_PER_REQUEST, KeySchema: [{AttributeName: id, \
     KeyType: HASH}], AttributeDefinitions: [{AttributeName: id, AttributeType: S}]}}\n"
        .to_owned()
        + &route("Connect", "$connect", &service("dynamodb:action/PutItem", put, ""))
        + &route("Disconnect", "$disconnect", &service("dynamodb:action/DeleteItem", delete, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_connect_route_writes_straight_to_dynamodb_runs() {
    if !has("node").await {
        return;
    }
    let scan = route("List", "people", &service("dynamodb:action/Scan", r#"{"TableName": "${People}"}"#, ""))
        + &answers(
            "List",
            &[(
                "/200/",
                Some(
                    "[#foreach($item in $input.path('$.Items'))\"$item.name.S\"#if($foreach.hasNext),#end#end] \
                     $context.routeKey",
                ),
            )],
        );
    let resources = connections_in_a_table()
        + &function("say", ", Environment: {Variables: {TABLE: !Ref People}}")
        + &proxy("Say", "$default", "say")
        + &scan;
    let code = r#"
const { push, table } = require('./tools');
exports.say = async (event) => {
  const { Items } = await table('Scan', { TableName: process.env.TABLE });
  const from = Items.find((item) => item.id.S === event.requestContext.connectionId);
  await Promise.all(Items.map((item) => push(item.id.S, { from: from.name.S, text: event.body })));
  return { statusCode: 200 };
};
"#;
    let folder = folder(&resources, code);
    let stack = start(&folder).await;
    let mut one = Client::connect(&format!("{}?name=Ann%20%22A%22%20O'Hara", stack.url())).await;
    let mut other = Client::connect(&format!("{}?name=Bob", stack.url())).await;
    one.send("hi").await;
    let said = json!({"from": "Ann \"A\" O'Hara", "text": "hi"});
    assert_eq!((one.json().await, other.json().await), (said.clone(), said));
    one.close().await;
    let people = eventually("the one who left is no more in the table", PATIENCE, async || {
        other.send(r#"{"action":"people"}"#).await;
        let people = other.text().await;
        (!people.contains("Ann")).then_some(people)
    });
    assert_eq!(people.await, "[\"Bob\"] people");
    let item =
        stack.dynamodb().scan().table_name(stack.table_name("People")).send().await.unwrap().items.unwrap().remove(0);
    assert!(!item.contains_key("team"), "{item:?}");
    let ttl: i64 = item["ttl"].as_n().unwrap().parse().unwrap();
    assert!((tests::now() / 1000 + 7_200 - ttl).abs() < 600, "{ttl}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_refuses_the_handshake() {
    let put = service("dynamodb:action/PutItem", r#"{"TableName": "none", "Item": {"id": {"S": "1"}}}"#, "");
    let folder = folder(&route("Connect", "$connect", &put), "");
    let stack = start(&folder).await;
    assert_eq!(Client::open(stack.url(), &[]).await.map(|_| ()), Err(500));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_chosen_by_the_status_and_rendered_with_what_the_service_said() {
    let get = r#"{"TableName": "$input.path('$.table')", "Key": {"id": {"S": "$input.path('$.id')"}}}"#;
    let found = r#"{"ok": $input.json('$.Item'), "for": "$context.connectionId"}"#;
    let refused = r#"{"error": "$input.path('$.__type').split('#')[1]"}"#;
    let jobs = "sqs:path/${AWS::AccountId}/${Jobs.QueueName}";
    let send = "Action=SendMessage&MessageBody=$util.urlEncode($input.path('$.text'))";
    let resources = "  Jobs: {Type: AWS::SQS::Queue}\n".to_owned()
        + &connections_in_a_table()
        + &route("Get", "get", &service("dynamodb:action/GetItem", get, ""))
        + &answers("Get", &[("$default", Some(found)), ("/4\\d\\d/", Some(refused))])
        + &route("Send", "send", &service(jobs, send, FORM))
        + &answers("Send", &[("$default", None)])
        + &route("Mute", "mute", &service(jobs, send, FORM))
        + &answers("Mute", &[])
        // Without the header the body is no form to SQS.
        + &route("Json", "json", &service(jobs, send, ""))
        + &who_am_i();
    let folder = folder(&resources, "");
    let stack = start(&folder).await;
    let mut client = Client::connect(&format!("{}?name=Ann", stack.url())).await;
    let id = id_of(&mut client).await;
    client.send(&json!({"action": "get", "table": stack.table_name("People"), "id": id}).to_string()).await;
    let found = client.json().await;
    assert_eq!((&found["ok"]["name"]["S"], &found["for"]), (&json!("Ann"), &json!(id)));
    client.send(&json!({"action": "get", "table": "none", "id": id}).to_string()).await;
    assert_eq!(client.json().await, json!({"error": "ResourceNotFoundException"}));
    client.send(&json!({"action": "send", "text": "a & b"}).to_string()).await;
    let sent = client.json().await;
    let sent = &sent["SendMessageResponse"]["SendMessageResult"];
    let queue = &stack.running().stack().queues["Jobs"].name;
    let message = stack.running().sqs().messages(queue).unwrap().remove(0);
    assert_eq!((message.body.as_str(), &sent["MessageId"]), ("a & b", &json!(message.id)));
    assert_eq!(sent["MD5OfMessageBody"], json!(md5_of(&message.body)));
    for action in ["mute", "json"] {
        client.send(&json!({"action": action, "text": "x"}).to_string()).await;
        assert_eq!(client.json().await["message"], "Internal server error", "{action}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_route_puts_on_a_bus_reaches_the_function_of_its_rule() {
    if !has("node").await {
        return;
    }
    let put = r#"{"Entries": [{"Source": "chat", "DetailType": "Said", "EventBusName": "default",
  "Detail": "$util.escapeJavaScript($input.body).replaceAll("\\'", "'")", "Resources": ["$context.connectionId"]}]}"#;
    let rule = ", Events: {Said: {Type: EventBridgeRule, Properties: {Pattern: {source: [chat]}}}}";
    let resources = function("echo", rule) + &route("Put", "$default", &service("events:action/PutEvents", put, ""));
    let code =
        "const { push } = require('./tools');\nexports.echo = (event) => push(event.resources[0], event.detail);";
    let folder = folder(&resources, code);
    let stack = start(&folder).await;
    let mut client = Client::connect(stack.url()).await;
    client.send(&json!({"text": "it's \"so\""}).to_string()).await;
    assert_eq!(client.json().await, json!({"text": "it's \"so\""}));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_no_proxy_gets_what_a_template_makes_and_its_errors_are_patterns() {
    if !has("node").await {
        return;
    }
    let template = r#"{"id": "$context.connectionId", "said": $input.json('$.text')}"#;
    let target = "lambda:path/2015-03-31/functions/${upper.Arn}/invocations";
    let event = "      RequestParameters: {integration.request.header.X-Amz-Invocation-Type: \"'Event'\"}\n";
    let resources = function("upper", "")
        + &route("Upper", "upper", &service(target, template, ""))
        + &answers("Upper", &[("/no .*/", Some(r#"{"sorry": $input.json('$.errorMessage')}"#)), ("$default", None)])
        + &route("Later", "later", &service(target, template, event));
    let code = r#"
const { push } = require('./tools');
exports.upper = async ({ id, said }) => {
  if (said === '') throw new TypeError('no text');
  if (said === 'later') await push(id, { later: true });
  return { said: said.toUpperCase() };
};
"#;
    let folder = folder(&resources, code);
    let stack = start(&folder).await;
    let mut client = Client::connect(stack.url()).await;
    for (message, expected) in [
        (json!({"action": "upper", "text": "hi"}), json!({"said": "HI"})),
        (json!({"action": "upper", "text": ""}), json!({"sorry": "no text"})),
        (json!({"action": "later", "text": "later"}), json!({"later": true})),
    ] {
        client.send(&message.to_string()).await;
        assert_eq!(client.json().await, expected, "{message}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_template_is_for_is_passed_through_or_refused() {
    let put = |behaviour: &str| {
        service("events:action/PutEvents", "{}", &format!("      PassthroughBehavior: {behaviour}\n"))
            .replace("\\$default\n", "$request.body.kind\n")
            .replace("        $default:\n", "        known:\n")
    };
    let resources = route("A", "open", &put("WHEN_NO_MATCH"))
        + &answers("A", &[("$default", None)])
        + &route("B", "closed", &put("NEVER"))
        + &answers("B", &[("$default", None)]);
    let folder = folder(&resources, "");
    let stack = start(&folder).await;
    let mut client = Client::connect(stack.url()).await;
    let entries = json!([{"Source": "s", "DetailType": "t", "Detail": "{}"}]);
    client.send(&json!({"action": "open", "Entries": entries}).to_string()).await;
    assert_eq!(client.json().await["FailedEntryCount"], 0);
    client.send(&json!({"action": "closed", "Entries": entries}).to_string()).await;
    assert_eq!(client.json().await["message"], "Internal server error");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_told_as_that_of_a_function_is() {
    if !has("node").await {
        return;
    }
    let target = "lambda:path/2015-03-31/functions/${slow.Arn}/invocations";
    let resources =
        function("slow", "") + &route("Slow", "$default", &service(target, "{}", "      TimeoutInMillis: 500\n"));
    let folder = folder(&resources, "exports.slow = () => new Promise((resolve) => setTimeout(resolve, 10000));");
    let stack = start(&folder).await;
    let mut client = Client::connect(stack.url()).await;
    client.send("x").await;
    assert_eq!(client.json().await["message"], "Endpoint request timed out");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_run_here_is_named_at_the_start_and_fails_its_route_only() {
    let steps = service("states:action/StartExecution", "{}", "");
    let resources = route("Steps", "steps", &steps) + &who_am_i();
    let folder = folder(&resources, "");
    let line = std::fs::read_to_string(folder.path().join("template.yaml")).unwrap();
    let line = line.lines().position(|line| line.starts_with("  StepsR:")).unwrap() + 1;
    let stack = start(&folder).await;
    let note = format!(
        "template.yaml:{line}: the route `steps` of `Api` always fails here: it calls `StartExecution` of Step Functions, \
         which does not run locally"
    );
    assert!(stack.log().contains(&note), "{}", stack.log());
    let mut client = Client::connect(stack.url()).await;
    client.send(r#"{"action":"steps"}"#).await;
    assert_eq!(client.json().await["message"], "Internal server error");
    assert!(!id_of(&mut client).await.is_empty());
    stack.stop().await;
}
