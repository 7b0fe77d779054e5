//! Functions in Node.js and Python that `tidings dev` runs with the machine's own interpreters.

mod debugger;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::clients::{for_aws, for_javascript, has};
use tidings_local_dev::Running;
use tidings_test::{Client, Stack};

const HEAD: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: \
                    {Name: a, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}\n  Stage: {Type: \
                    AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: v1}}\n";

pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A function with its code in the folder `code`.
fn function(id: &str, runtime: &str, handler: &str, more: &str) -> String {
    format!(
        "  {id}: {{Type: AWS::Serverless::Function, Properties: {{Runtime: {runtime}, Handler: {handler}, CodeUri: code\
         {more}}}}}\n"
    )
}

fn route(name: &str, key: &str, function: &str) -> String {
    let uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${FUNCTION.Arn}/invocations";
    let uri = uri.replace("FUNCTION", function);
    format!(
        "  {name}I: {{Type: AWS::ApiGatewayV2::Integration, Properties: {{ApiId: !Ref Api, IntegrationType: AWS_PROXY, \
         IntegrationUri: !Sub '{uri}'}}}}\n  {name}R: {{Type: AWS::ApiGatewayV2::Route, Properties: {{ApiId: !Ref Api, \
         RouteKey: {key}, Target: !Sub 'integrations/${{{name}I}}'}}}}\n"
    )
}

fn folder(resources: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    std::fs::write(folder.path().join("template.yaml"), format!("{HEAD}{resources}")).unwrap();
    folder
}

async fn start(folder: &TempDir) -> Stack {
    Stack::start(folder.path().join("template.yaml")).await
}

/// What a function answers, and whether that is an error.
pub(crate) async fn answer(running: &Running, function: &str, event: Value) -> (bool, Value) {
    let invocation = running.invoke(function, event.to_string()).await.unwrap();
    (invocation.function_error.is_some(), serde_json::from_slice(&invocation.payload).unwrap())
}

async fn error(running: &Running, function: &str, event: Value) -> (String, String) {
    let (failed, said) = answer(running, function, event).await;
    assert!(failed, "{function} answered {said}");
    (said["errorType"].as_str().unwrap().to_owned(), said["errorMessage"].as_str().unwrap().to_owned())
}

/// Why a stack does not start.
pub(crate) async fn refusal(folder: &TempDir) -> String {
    let mut options = tidings_local_dev::DevOptions::new(folder.path().join("template.yaml"));
    options.port = 0;
    let error = tidings_local_dev::start(options).await.map(|_| ()).unwrap_err();
    tidings::describe(&error)
}

/// A function with the three routes of a chat. With one process at once it may keep in its memory who is there.
fn chat(runtime: &str, more: &str) -> String {
    let routes =
        [("C", "$connect"), ("D", "$disconnect"), ("M", "$default")].map(|(name, key)| route(name, key, "Chat"));
    let more = format!(", Timeout: 60, ReservedConcurrentExecutions: 1{more}");
    function("Chat", runtime, "app.handler", &more) + &routes.concat()
}

/// Lets two clients chat, which call the gateway by other names: the function sends what they say in each of the `ways`.
async fn chats(stack: Stack, ways: &[&str]) {
    let by_name = stack.url().replace("127.0.0.1", "localhost");
    let mut one = Client::connect(stack.url()).await;
    let mut other = Client::connect(&by_name).await;
    for way in ways {
        for first_speaks in [true, false] {
            let speaker = if first_speaks { &mut one } else { &mut other };
            speaker.send(*way).await;
            assert_eq!((one.text().await, other.text().await), ((*way).to_owned(), (*way).to_owned()));
        }
    }
    one.close().await;
    other.close().await;
    stack.settled().await;
    assert!(stack.log().contains("left: 0"), "{}", stack.log());
    stack.stop().await;
}

const CHAT_IN_NODE: &str = r#"
const https = require('https');
const people = new Set();
const ways = {
  https: (url, text) => new Promise((resolve, reject) => {
    const answered = (response) => { response.resume(); resolve(response.statusCode); };
    const request = https.request(url, { method: 'POST' }, answered);
    request.on('error', reject);
    request.end(text);
  }),
  fetch: async (url, text) => (await fetch(url, { method: 'POST', body: text })).status,
  sdk: async (url, text) => {
    const { ApiGatewayManagementApi } = require('@aws-sdk/client-apigatewaymanagementapi');
    const [endpoint, id] = url.split('/@connections/');
    const api = new ApiGatewayManagementApi({ endpoint });
    const sent = await api.postToConnection({ ConnectionId: decodeURIComponent(id), Data: text });
    return sent.$metadata.httpStatusCode;
  },
};
exports.handler = async (event) => {
  const { routeKey, connectionId, domainName, stage, apiId } = event.requestContext;
  if (routeKey === '$connect') people.add(connectionId);
  if (routeKey === '$disconnect') { people.delete(connectionId); console.log(`left: ${people.size}`); }
  if (routeKey === '$default') {
    const [way, name] = event.body.split(' to ');
    const host = name === 'domainName' ? domainName : `${apiId}.execute-api.${process.env.AWS_REGION}.amazonaws.com`;
    const url = (id) => `https://${host}/${stage}/@connections/${encodeURIComponent(id)}`;
    const sent = await Promise.all([...people].map((id) => ways[way](url(id), event.body)));
    if (sent.some((status) => status !== 200)) throw new Error(`sent: ${sent}`);
  }
  return { statusCode: 200 };
};
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_in_node_sends_to_the_address_that_it_makes_of_its_event() {
    if !has("node").await {
        return;
    }
    let folder = folder(&chat("nodejs20.x", ""), &[("code/app.js", CHAT_IN_NODE)]);
    let ways = ["https to domainName", "fetch to domainName", "https to apiId", "fetch to apiId"];
    chats(start(&folder).await, &ways).await;
}

/// AWS's SDK, with no setting but the endpoint that samples of AWS make of the event.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_in_node_sends_by_the_sdk_of_aws_that_npm_installs() {
    if !has("node").await || !has("npm").await {
        return;
    }
    let folder = folder(&chat("nodejs20.x", ""), &[("code/app.js", CHAT_IN_NODE)]);
    std::os::unix::fs::symlink(for_javascript().await.join("node_modules"), folder.path().join("node_modules"))
        .unwrap();
    chats(start(&folder).await, &["sdk to domainName", "sdk to apiId"]).await;
}

const CHAT_IN_PYTHON: &str = r#"
import os, urllib.parse, urllib.request
people = set()
def by_urllib(root, id, text):
    url = f"{root}/@connections/{urllib.parse.quote(id)}"
    urllib.request.urlopen(urllib.request.Request(url, text.encode(), method="POST")).close()
def by_boto3(root, id, text):
    import boto3
    boto3.client("apigatewaymanagementapi", endpoint_url=root).post_to_connection(ConnectionId=id, Data=text.encode())
def handler(event, context):
    context = event["requestContext"]
    if context["routeKey"] == "$connect":
        people.add(context["connectionId"])
    if context["routeKey"] == "$disconnect":
        people.discard(context["connectionId"])
        print("left:", len(people))
    if context["routeKey"] == "$default":
        way, name = event["body"].split(" to ")
        own = f"{context['apiId']}.execute-api.{os.environ['AWS_REGION']}.amazonaws.com"
        host = context["domainName"] if name == "domainName" else own
        for id in people:
            {"urllib": by_urllib, "boto3": by_boto3}[way](f"https://{host}/{context['stage']}", id, event["body"])
    return {"statusCode": 200}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_in_python_sends_to_the_address_that_it_makes_of_its_event() {
    if !has("python3").await {
        return;
    }
    let packages = std::fs::read_dir(for_aws().await.join("venv/lib")).unwrap().next().unwrap().unwrap().path();
    let path = format!(", Environment: {{Variables: {{PYTHONPATH: '{}'}}}}", packages.join("site-packages").display());
    let folder = folder(&chat("python3.11", &path), &[("code/app.py", CHAT_IN_PYTHON)]);
    let ways = ["urllib to domainName", "urllib to apiId", "boto3 to domainName", "boto3 to apiId"];
    chats(start(&folder).await, &ways).await;
}

const CALLER_IN_NODE: &str = r#"
const https = require('https');
const byHttps = (url) => new Promise((resolve, reject) => {
  https.get(url, (response) => { response.resume(); resolve(response.statusCode); }).on('error', reject);
});
exports.handler = async ({ url }) => [await byHttps(url), (await fetch(url)).status];
"#;

const CALLER_IN_PYTHON: &str = r#"
import urllib.error, urllib.request
def handler(event, context):
    try:
        return urllib.request.urlopen(event["url"]).status
    except urllib.error.HTTPError as error:
        return error.code
"#;

#[tokio::test(flavor = "multi_thread")]
async fn custom_domains_lead_functions_to_the_gateway() {
    if !has("node").await || !has("python3").await {
        return;
    }
    let mapping = |id: &str, name: &str| {
        format!(
            "  {id}: {{Type: AWS::ApiGatewayV2::ApiMapping, Properties: {{DomainName: '{name}', ApiId: !Ref Api, Stage: v1, \
             ApiMappingKey: chat}}}}\n"
        )
    };
    let resources = function("Node", "nodejs20.x", "app.handler", ", Timeout: 60")
        + &function("Python", "python3.11", "app.handler", ", Timeout: 60")
        + &mapping("One", "ws.example.com")
        + &mapping("Many", "*.many.example");
    let files = [("code/app.js", CALLER_IN_NODE), ("code/app.py", CALLER_IN_PYTHON)];
    let folder = folder(&resources, &files);
    let stack = start(&folder).await;
    for host in ["ws.example.com", "ws.example.com.localhost", "one.many.example"] {
        // Of a connection that is long gone, as only the gateway says it.
        let ask = json!({"url": format!("https://{host}/chat/@connections/BFHPhfCWIAMCKlQ=")});
        assert_eq!(answer(stack.running(), "Node", ask.clone()).await, (false, json!([410, 410])), "{host}");
        assert_eq!(answer(stack.running(), "Python", ask).await, (false, json!(410)), "{host}");
    }
    stack.stop().await;
}

const KINDS: &str = r#"
exports.async = async (event, context) => ({ event, id: typeof context.awsRequestId, arn: context.invokedFunctionArn,
  left: context.getRemainingTimeInMillis() > 0, name: process.env.AWS_LAMBDA_FUNCTION_NAME, handler: process.env._HANDLER,
  layer: require('shared'), own: require('own') });
exports.callback = (event, context, callback) => { setTimeout(() => callback(null, 'called'), 5); };
exports.waits = (event, context, callback) => {
  const said = []; setTimeout(() => said.push('late'), 50); callback(null, said);
};
exports.hurries = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 600000); callback(null, 'at once');
};
exports.silent = () => {};
exports.fails = async (event) => { throw new TypeError('no ' + event.what); };
exports.calls = (event, context, callback) => callback(new RangeError('too far'));
exports.throws = () => { setTimeout(() => { throw new Error('out of reach'); }, 1); return new Promise(() => {}); };
exports.rejects = () => { Promise.reject(new Error('unheard')); return new Promise((r) => setTimeout(r, 60000)); };
exports.hangs = () => new Promise((resolve) => setTimeout(resolve, 600000));
exports.exits = () => process.exit(3);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_handler_in_node_is_answered_as_by_lambda() {
    if !has("node").await {
        return;
    }
    let names = ["callback", "waits", "hurries", "silent", "fails", "calls", "throws", "rejects", "exits"];
    let mut resources: String =
        names.iter().map(|name| function(name, "nodejs20.x", &format!("kinds.{name}"), ", Timeout: 60")).collect();
    resources += &function("async", "nodejs20.x", "kinds.async", ", Timeout: 60, Layers: [!Ref Shared]");
    resources += &function("esm", "nodejs20.x", "deep/esm.handler", ", Timeout: 60");
    resources += &function("hangs", "nodejs20.x", "kinds.hangs", ", Timeout: 1");
    resources += "  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer}}\n";
    resources += "  inline: {Type: AWS::Serverless::Function, Properties: {Runtime: nodejs20.x, Handler: index.handler, \
                  Timeout: 60, InlineCode: 'exports.handler = async () => 7'}}\n";
    let files = [
        ("code/kinds.js", KINDS),
        ("code/deep/esm.mjs", "import path from 'node:path';\nexport const handler = async () => path.sep;\n"),
        ("code/node_modules/own/index.js", "module.exports = 'own';"),
        ("layer/nodejs/node_modules/shared/index.js", "module.exports = 'shared';"),
    ];
    // A function's `async` needs the layer, which the others do not have.
    let folder = folder(&resources, &files);
    let stack = start(&folder).await;
    let running = stack.running();
    let (failed, said) = answer(running, "async", json!({"a": [1]})).await;
    let name = &running.stack().functions["async"].name;
    let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    let expected = json!({"event": {"a": [1]}, "id": "string", "arn": arn, "left": true, "name": name,
        "handler": "kinds.async", "layer": "shared", "own": "own"});
    assert_eq!((failed, said), (false, expected));
    for (name, expected) in [
        ("callback", json!("called")),
        ("waits", json!(["late"])),
        ("hurries", json!("at once")),
        ("silent", json!(null)),
        ("esm", json!("/")),
        ("inline", json!(7)),
    ] {
        for _ in 0..2 {
            assert_eq!(answer(running, name, json!({})).await, (false, expected.clone()), "{name}");
        }
    }
    let (failed, said) = answer(running, "fails", json!({"what": "way"})).await;
    assert!(failed && said["trace"][0] == "TypeError: no way", "{said}");
    let pair = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    assert_eq!(error(running, "calls", json!({})).await, pair("RangeError", "too far"));
    for _ in 0..2 {
        assert_eq!(error(running, "throws", json!({})).await, pair("Error", "out of reach"));
        let unheard = pair("Runtime.UnhandledPromiseRejection", "Error: unheard");
        assert_eq!(error(running, "rejects", json!({})).await, unheard);
    }
    let (kind, text) = error(running, "exits", json!({})).await;
    assert!(kind == "Runtime.ExitError" && text.ends_with("exit status 3"), "{text}");
    let (kind, text) = error(running, "hangs", json!({})).await;
    assert!(kind == "Sandbox.Timedout" && text.ends_with("Task timed out after 1.00 seconds"), "{text}");
    stack.stop().await;
}

const PYTHON: &str = r#"
import json, logging, os
def handler(event, context):
    for record in event.get("Records", []):
        print("took", record["body"], context.aws_request_id != "", context.get_remaining_time_in_millis() > 0)
    logging.getLogger().warning("warned")
    return {"root": os.path.basename(os.environ["LAMBDA_TASK_ROOT"])}
def fails(event, context):
    raise ValueError("not so")
def odd(event, context):
    return {1, 2}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_in_python_takes_from_a_queue_and_fails_as_in_lambda() {
    if !has("python3").await {
        return;
    }
    let source = ", Timeout: 30, Events: {Q: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 1}}}";
    let resources = function("Worker", "python3.11", "deep.app.handler", source)
        + &function("fails", "python3.11", "deep/app.fails", ", Timeout: 30")
        + &function("odd", "python3.11", "deep/app.odd", ", Timeout: 30")
        + "  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: work, VisibilityTimeout: 60}}\n";
    let folder = folder(&resources, &[("code/deep/app.py", PYTHON)]);
    let stack = start(&folder).await;
    assert_eq!(answer(stack.running(), "Worker", json!({})).await, (false, json!({"root": "code"})));
    stack.send("work", &json!({"n": 1}));
    stack.settled().await;
    assert!(stack.log().contains("took {\\\"n\\\":1} True True") || stack.log().contains("took {\"n\":1} True True"));
    assert!(stack.log().contains("warned"));
    let (failed, said) = answer(stack.running(), "fails", json!({})).await;
    assert!(failed && said["errorType"] == "ValueError" && said["errorMessage"] == "not so", "{said}");
    assert!(said["stackTrace"][0].as_str().unwrap().contains("app.py\", line 9, in fails"), "{said}");
    assert_eq!(error(stack.running(), "odd", json!({})).await.0, "Runtime.MarshalError");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_one_sentence_with_the_function_and_its_line() {
    if !has("node").await || !has("python3").await {
        return;
    }
    let files = [
        ("code/app.js", "exports.handler = 1;"),
        ("code/bad.js", "exports.handler = (;"),
        ("code/needs.js", "require('nowhere');"),
        ("code/app.py", "x = 1\n"),
        ("code/bad.py", "def handler(:\n"),
        ("code/needs.py", "import nowhere\n"),
    ];
    for (runtime, handler, expected) in [
        ("nodejs20.x", "app.other", "app.other is undefined or not exported"),
        ("nodejs20.x", "app.handler", "app.handler is not a function"),
        ("nodejs20.x", "none.handler", "Error: Cannot find module 'none'"),
        ("nodejs20.x", "needs.handler", "Error: Cannot find module 'nowhere'"),
        ("nodejs20.x", "bad.handler", "SyntaxError: Unexpected token ';'"),
        ("nodejs20.x", "app", "Bad handler 'app': it must be file.function"),
        ("python3.11", "app.other", "Handler 'other' missing on module 'app'"),
        ("python3.11", "needs.handler", "Unable to import module 'needs': No module named 'nowhere'"),
        ("python3.11", "bad.handler", "Syntax error in module 'bad': invalid syntax"),
    ] {
        let folder = folder(&function("F", runtime, handler, ""), &files);
        let said = refusal(&folder).await;
        let line = said.lines().next().unwrap();
        let is_right =
            line.starts_with("function code (") && line.contains("template.yaml:5) reported an error at start: ");
        assert!(is_right && line.contains(expected), "{said}");
    }
    let folder = folder(&function("F", "nodejs20.x", "app.handler", ""), &[]);
    let said = refusal(&folder).await;
    assert!(said.contains("template.yaml:5): the folder of its code does not exist: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_folder_is_live_again_and_a_bad_change_says_so() {
    if !has("node").await {
        return;
    }
    let folder = folder(
        &function("F", "nodejs20.x", "app.handler", ", Timeout: 30"),
        &[("code/app.js", "exports.handler = async () => 'first';")],
    );
    let stack = start(&folder).await;
    assert_eq!(answer(stack.running(), "F", json!({})).await.1, "first");
    write(folder.path(), &[("code/app.js", "exports.handler = async () => (;")]);
    let mut said = String::new();
    for _ in 0..600 {
        said = stack.log();
        if said.contains("reported an error at start: SyntaxError") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(said.contains("reported an error at start: SyntaxError"), "{said}");
    let (kind, _) = error(stack.running(), "F", json!({})).await;
    assert_eq!(kind, "Runtime.UserCodeSyntaxError");
    write(folder.path(), &[("code/app.js", "exports.handler = async () => 'second';")]);
    for _ in 0..600 {
        if answer(stack.running(), "F", json!({})).await.1 == "second" {
            return stack.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the function is not live again: {}", stack.log());
}
