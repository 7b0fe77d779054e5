//! What other tools write, unmodified: the CDK, the Serverless Framework, and CloudFormation's templates by hand.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_test::{Client, Stack};
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::scripts::{answer, refusal, write};
use tests::clients::{do_in, for_tools, has};

/// Sends back what the packages say that it finds in its archive and beside the template.
const ECHO: &str = "
const bundled = require('bundled');
const beside = require('beside');
exports.handler = async (event) => {
  const { routeKey, connectionId, domainName, stage } = event.requestContext;
  if (routeKey === 'echo') {
    const url = `https://${domainName}/${stage}/@connections/${encodeURIComponent(connectionId)}`;
    await fetch(url, { method: 'POST', body: `${bundled} ${beside}` });
  }
  return { statusCode: 200 };
};
";

fn archive(path: &Path, files: &[(&str, &str)]) {
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    for (name, text) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

/// A template of the form that `serverless package` writes: all names by functions, the code where it will be in S3.
fn serverless() -> Value {
    let api = json!({"Ref": "WebsocketsApi"});
    let uri = json!({"Fn::Join": ["", [
        "arn:", {"Ref": "AWS::Partition"}, ":apigateway:", {"Ref": "AWS::Region"}, ":lambda:path/2015-03-31/functions/",
        {"Fn::GetAtt": ["ChatLambdaFunction", "Arn"]}, "/invocations"]]});
    let mut template = json!({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {
        "ServerlessDeploymentBucket": {"Type": "AWS::S3::Bucket"},
        "ChatLogGroup": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/aws/lambda/chat-dev-chat"}},
        "IamRoleLambdaExecution": {"Type": "AWS::IAM::Role", "Properties": {}},
        "ChatLambdaFunction": {"Type": "AWS::Lambda::Function", "DependsOn": ["ChatLogGroup"], "Properties": {
            "Code": {"S3Bucket": {"Ref": "ServerlessDeploymentBucket"},
                "S3Key": "serverless/chat/dev/1700000000000-2023-11-14T22:13:20.000Z/chat.zip"},
            "Handler": "src/chat.handler", "Runtime": "nodejs20.x", "FunctionName": "chat-dev-chat",
            "MemorySize": 1024, "Timeout": 60, "Role": {"Fn::GetAtt": ["IamRoleLambdaExecution", "Arn"]}}},
        "ChatLambdaVersionAbc": {"Type": "AWS::Lambda::Version", "DeletionPolicy": "Retain", "Properties": {
            "FunctionName": {"Ref": "ChatLambdaFunction"}, "CodeSha256": "x"}},
        "WebsocketsApi": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "dev-chat-websockets",
            "RouteSelectionExpression": "$request.body.action", "ProtocolType": "WEBSOCKET"}},
        "ChatWebsocketsIntegration": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
            "ApiId": api, "IntegrationType": "AWS_PROXY", "IntegrationUri": uri}},
        "WebsocketsDeploymentStage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": api, "StageName": "dev", "DeploymentId": {"Ref": "WebsocketsDeploymentAbc"}}},
        "WebsocketsDeploymentAbc": {"Type": "AWS::ApiGatewayV2::Deployment", "Properties": {"ApiId": api}},
    }});
    for (id, key) in [("SconnectWebsocketsRoute", "$connect"), ("EchoWebsocketsRoute", "echo")] {
        template["Resources"][id] = json!({"Type": "AWS::ApiGatewayV2::Route", "Properties": {
            "ApiId": api, "RouteKey": key, "AuthorizationType": "NONE",
            "Target": {"Fn::Join": ["/", ["integrations", {"Ref": "ChatWebsocketsIntegration"}]]}}});
    }
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serverless_package_leaves_runs_from_its_archive_with_the_packages_of_its_service() {
    if !has("node").await {
        return;
    }
    let service = tempfile::tempdir().unwrap();
    let template = service.path().join(".serverless/cloudformation-template-update-stack.json");
    write(service.path(), &[("node_modules/beside/index.js", "module.exports = 'beside';")]);
    write(service.path(), &[(".serverless/cloudformation-template-update-stack.json", &serverless().to_string())]);
    let code = [("src/chat.js", ECHO), ("node_modules/bundled/index.js", "module.exports = 'bundled';")];
    archive(&service.path().join(".serverless/chat.zip"), &code);
    let stack = Stack::start(template).await;
    let mut client = Client::connect(&stack.url().replace("127.0.0.1", "localhost")).await;
    client.send(r#"{"action": "echo"}"#).await;
    assert_eq!(client.text().await, "bundled beside");
    client.close().await;
    stack.stop().await;
}

/// Lets a client of a running chat speak.
async fn chats(template: &Path, answer: &str) {
    let stack = Stack::start(template).await;
    let mut client = Client::connect(&stack.url().replace("127.0.0.1", "localhost")).await;
    client.send("hello").await;
    assert_eq!(client.text().await, answer);
    client.close().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tools_themselves_write_runs_unmodified() {
    if !has("node").await || !has("npm").await {
        return;
    }
    let folder = for_tools().await;
    do_in(&folder, "node", &["app.js"]).await;
    chats(&folder.join("cdk.out/Chat.template.json"), "cdk: hello").await;
    do_in(&folder, "node_modules/.bin/serverless", &["package"]).await;
    chats(&folder.join(".serverless/cloudformation-template-update-stack.json"), "serverless: hello").await;
}

const HEAD: &str = "Resources:\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: a, ProtocolType: WEBSOCKET, \
                    RouteSelectionExpression: $request.body.action}}\n  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: \
                    {ApiId: !Ref Api, StageName: v1}}\n";

fn folder(resources: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    std::fs::write(folder.path().join("template.yaml"), format!("{HEAD}{resources}")).unwrap();
    folder
}

/// With the indicator of indentation that the template of the Developer Guide's chat has.
const IN_THE_TEMPLATE: &str = r"
  Found:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: nodejs20.x
      Handler: index.handler
      Timeout: 60
      Code:
        ZipFile: |-2

                const found = require('beside');
                exports.handler = async () => [found, (await import('beside')).default];
";

#[tokio::test(flavor = "multi_thread")]
async fn code_in_the_template_finds_packages_that_are_installed_beside_it() {
    if !has("node").await {
        return;
    }
    let folder = folder(IN_THE_TEMPLATE, &[("node_modules/beside/index.js", "module.exports = 'beside';")]);
    let stack = Stack::start(folder.path().join("template.yaml")).await;
    assert_eq!(answer(stack.running(), "Found", json!({})).await, (false, json!(["beside", "beside"])));
    stack.stop().await;
}

fn of_zip_file(id: &str, code: &str) -> String {
    format!(
        "  {id}: {{Type: AWS::Lambda::Function, Properties: {{Runtime: nodejs20.x, Handler: index.handler, Timeout: 60, Code: \
         {{ZipFile: \"{code}\"}}}}}}\n"
    )
}

/// The CDK adds such functions by itself, for example for `logRetention`; their code needs what only Lambda has.
#[tokio::test(flavor = "multi_thread")]
async fn functions_of_custom_resources_keep_no_gateway_from_starting() {
    if !has("node").await {
        return;
    }
    let retention = "  Retention: {Type: Custom::LogRetention, Properties: {ServiceToken: !GetAtt Provider.Arn}}\n  \
                     Buckets: {Type: Custom::Buckets, Properties: {ServiceToken: !GetAtt Gone.Arn}}\n  Gone: {Type: \
                     AWS::Lambda::Function, Properties: {Runtime: nodejs20.x, Handler: index.handler, Code: gone}}\n";
    let needy = "require('aws-sdk'); exports.handler = async () => 1";
    let own = of_zip_file("Own", "exports.handler = async () => 'own'");
    let provided = folder(&(of_zip_file("Provider", needy) + retention + &own), &[]);
    let stack = Stack::start(provided.path().join("template.yaml")).await;
    assert_eq!(answer(stack.running(), "Own", json!({})).await, (false, json!("own")));
    stack.stop().await;
    let called = folder(&of_zip_file("Called", needy), &[]);
    let reason = refusal(&called).await;
    let first = reason.lines().next().unwrap();
    let fix = "Cannot find module 'aws-sdk'; Lambda brings the AWS SDK, this machine does not: run `npm install aws-sdk` in \
               the function's folder, or beside the template";
    assert!(first.contains("template.yaml:4") && first.contains(fix), "{first}");
}
