//! `tidings doctor`: a machine made of fake tools, and a stack of which the test plays the AWS side.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::project::{finish, tidings};

/// The program with no settings of AWS but these.
fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = tidings(&["doctor"]);
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    // Nobody else's settings, and no question to a metadata service that is not there.
    command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true").args(arguments);
    command.envs(environment.iter().copied());
    command
}

/// What it found, by check, and its exit status.
async fn checks(command: Command) -> (Option<i32>, Vec<Value>) {
    let (status, stdout, stderr) = finish(command).await;
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("no JSON: {stdout}{stderr}"));
    let is_wrong = |check: &Value| check["state"] == "wrong";
    let checks = report["checks"].as_array().unwrap().clone();
    assert_eq!(report["ok"], json!(!checks.iter().any(is_wrong)), "{report}");
    assert!(checks.iter().all(|check| check["state"] == "ok" || check["fix"].is_string()), "{report}");
    (status, checks)
}

fn of_state(checks: &[Value], state: &str) -> Vec<String> {
    let of_state = checks.iter().filter(|check| check["state"] == state);
    of_state.map(|check| check["check"].as_str().unwrap().to_owned()).collect()
}

#[cfg(unix)]
mod machine {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    /// A folder of programs that say these things.
    struct Tools(TempDir);

    impl Tools {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn all() -> Self {
            let tools = Self::new();
            let library = tools.0.path().display();
            tools.add(
                "cargo",
                "case $1 in lambda) echo 'cargo-lambda 1.9.2 (67129fc)';; *) echo 'cargo 1.97.0 (abc)';; esac",
            );
            tools.add("rustc", &format!("echo {library}"));
            tools.add("zig", "echo 0.17.1");
            tools.add("sam", "echo 'SAM CLI, version 1.170.0'");
            tools.add("aws", "echo 'aws-cli/2.30.1 Python/3.13'");
            tools.add("docker", "echo 28.1.0");
            tools.add("java", "echo 'openjdk version \"17.0.15\"' >&2");
            tools
        }

        fn add(&self, name: &str, script: &str) {
            let path = self.0.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn doctor(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
            let mut command = doctor(arguments, environment);
            command.env("PATH", self.0.path());
            command
        }
    }

    const KEYS: [(&str, &str); 3] =
        [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "eu-west-1")];

    #[tokio::test]
    async fn a_machine_that_has_everything_is_well() {
        let tools = Tools::all();
        let (status, stdout, stderr) = finish(tools.doctor(&[], &KEYS)).await;
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
        for line in [
            "ok    cargo: 1.97.0",
            "ok    standard library of aarch64-unknown-linux-gnu: installed",
            "ok    cargo-lambda: 1.9.2",
            "ok    zig: 0.17.1",
            "ok    sam: 1.170.0",
            "ok    AWS credentials: found, not tried",
            "ok    region: eu-west-1",
            "ok    aws: 2.30.1",
            "ok    docker: 28.1.0",
            "ok    java: openjdk version \"17.0.15\"",
        ] {
            assert!(stdout.lines().any(|there| there.starts_with(line)), "{line} is not in\n{stdout}");
        }
        assert!(!stdout.contains('\u{1b}'), "no colours where there is no terminal");
    }

    #[tokio::test]
    async fn a_bare_machine_is_told_what_to_get_and_what_it_can_do_without() {
        let (status, checks) = checks(Tools::new().doctor(&["--json"], &[])).await;
        assert_eq!(status, Some(1));
        let wrong = [
            "cargo",
            "standard library of aarch64-unknown-linux-gnu",
            "cargo-lambda",
            "zig",
            "sam",
            "AWS credentials",
            "region",
        ];
        assert_eq!(of_state(&checks, "wrong"), wrong);
        let notes = of_state(&checks, "note");
        for optional in ["aws", "docker or finch", "java"] {
            assert!(notes.iter().any(|note| note == optional), "{notes:?}");
        }
    }

    #[tokio::test]
    async fn old_tools_are_named_with_what_is_needed() {
        let tools = Tools::all();
        tools.add("cargo", "case $1 in lambda) echo 'cargo-lambda 1.2.0';; *) echo 'cargo 1.80.0';; esac");
        tools.add("sam", "echo 'SAM CLI, version 1.99.0'");
        let (status, checks) = checks(tools.doctor(&["--json"], &KEYS)).await;
        assert_eq!(
            (status, of_state(&checks, "wrong")),
            (Some(1), vec!["cargo".into(), "cargo-lambda".into(), "sam".into()])
        );
        assert_eq!(checks[0]["says"], format!("1.80.0 is too old, {} is needed", env!("CARGO_PKG_RUST_VERSION")));
    }

    #[tokio::test]
    async fn the_template_says_for_which_processor_and_a_taken_port_is_no_fault() {
        let tools = Tools::all();
        let template = tools.0.path().join("template.yaml");
        std::fs::write(&template, "Parameters: {Architecture: {Type: String, Default: x86_64}}\n").unwrap();
        // Another test or program may have it already, which is as good.
        let _taken = TcpListener::bind("127.0.0.1:3030").await;
        let (status, checks) = checks(tools.doctor(&["--json", "--template", template.to_str().unwrap()], &KEYS)).await;
        assert_eq!(status, Some(0), "{checks:?}");
        assert!(of_state(&checks, "ok").contains(&"standard library of x86_64-unknown-linux-gnu".to_owned()));
        assert!(of_state(&checks, "note").contains(&"port 3030".to_owned()), "{checks:?}");
    }
}

/// The resources of an application that nests the toolkit's stack.
const APPLICATION: &str = "\
    <ListStackResourcesResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><ListStackResourcesResult>\
    <StackResourceSummaries><member><LogicalResourceId>Tidings</LogicalResourceId>\
    <PhysicalResourceId>arn:nested</PhysicalResourceId><ResourceType>AWS::CloudFormation::Stack</ResourceType>\
    <ResourceStatus>CREATE_COMPLETE</ResourceStatus><LastUpdatedTimestamp>2026-11-24T11:46:23Z</LastUpdatedTimestamp></member>\
    <member><LogicalResourceId>OrdersNotify</LogicalResourceId><PhysicalResourceId>uuid</PhysicalResourceId>\
    <ResourceType>AWS::Lambda::EventSourceMapping</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus>\
    <LastUpdatedTimestamp>2026-11-24T11:46:23Z</LastUpdatedTimestamp></member></StackResourceSummaries>\
    </ListStackResourcesResult></ListStackResourcesResponse>";

/// AWS as the doctor sees it, with at most one thing wrong.
#[derive(Clone)]
struct Aws {
    fault: &'static str,
    endpoint: String,
}

impl Aws {
    async fn start(fault: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let aws = Self { fault, endpoint: format!("http://{}", listener.local_addr().unwrap()) };
        let router = Router::new().fallback(answer).with_state(aws.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        aws
    }

    async fn checks(&self) -> (Option<i32>, Vec<Value>) {
        let environment = [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_MAX_ATTEMPTS", "1"),
        ];
        checks(doctor(&["--stack", "tidings", "--json"], &environment)).await
    }

    fn has(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn stack(&self) -> String {
        let status = match self.fault {
            "undone" => "UPDATE_ROLLBACK_COMPLETE",
            "never there" => "ROLLBACK_COMPLETE",
            _ => "UPDATE_COMPLETE",
        };
        let url = self.endpoint.replace("http", "ws");
        let outputs = [("WebSocketUrl", format!("{url}/dev")), ("DeadLetterQueueUrl", "https://sqs/1/Dead".to_owned())];
        let outputs = outputs.map(|(key, value)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        });
        let retain = if self.has("retained") { "true" } else { "false" };
        let parameters = [("LogRetentionDays", "30"), ("Authentication", "hs256"), ("RetainTable", retain)];
        let parameters = parameters.map(|(key, value)| {
            format!("<member><ParameterKey>{key}</ParameterKey><ParameterValue>{value}</ParameterValue></member>")
        });
        format!(
            "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
             <Stacks><member><StackName>tidings</StackName><CreationTime>2026-11-24T11:46:23Z</CreationTime>\
             <StackStatus>{status}</StackStatus><Outputs>{}</Outputs><Parameters>{}</Parameters></member></Stacks>\
             </DescribeStacksResult></DescribeStacksResponse>",
            outputs.concat(),
            parameters.concat()
        )
    }

    /// In two pages, as a large stack has them.
    fn resources(&self, page: usize) -> String {
        let all: [&[_]; 2] = [
            &[
                ("WebSocketApi", "AWS::ApiGatewayV2::Api", "api"),
                ("HttpApi", "AWS::ApiGatewayV2::Api", "http"),
                ("ConnectFunction", "AWS::Lambda::Function", "tidings-connect"),
                ("NotifierFunction", "AWS::Lambda::Function", "tidings-notifier"),
                ("FanOutMapping", "AWS::Lambda::EventSourceMapping", "uuid"),
            ],
            &[
                ("ConnectionsTable", "AWS::DynamoDB::Table", "table"),
                ("DeadLetterQueue", "AWS::SQS::Queue", "https://sqs/1/Dead"),
                ("FunctionLogs", "AWS::Logs::LogGroup", "/aws/lambda/tidings"),
                ("TokenSecret", "AWS::SecretsManager::Secret", "arn:secret"),
            ],
        ];
        let kept = all[page].iter().filter(|(name, _, _)| self.fault != format!("no {name}"));
        let members = kept.map(|(name, kind, id)| {
            format!(
                "<member><LogicalResourceId>{name}</LogicalResourceId><PhysicalResourceId>{id}</PhysicalResourceId>\
                 <ResourceType>{kind}</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus>\
                 <LastUpdatedTimestamp>2026-11-24T11:46:23Z</LastUpdatedTimestamp></member>"
            )
        });
        let next = if page == 0 { "<NextToken>second</NextToken>" } else { "" };
        format!(
            "<ListStackResourcesResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
             <ListStackResourcesResult><StackResourceSummaries>{}</StackResourceSummaries>{next}\
             </ListStackResourcesResult></ListStackResourcesResponse>",
            members.collect::<String>()
        )
    }

    fn cloudformation(&self, form: &str) -> Response<Body> {
        if self.has("no stack") {
            let error = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
                         <Message>Stack with id tidings does not exist</Message></Error></ErrorResponse>";
            return respond(StatusCode::BAD_REQUEST, "text/xml", error);
        }
        let body = match form.contains("Action=ListStackResources") {
            true if self.has("nested") && form.contains("StackName=tidings") => APPLICATION.to_owned(),
            false => self.stack(),
            true => self.resources(usize::from(form.contains("NextToken=second"))),
        };
        respond(StatusCode::OK, "text/xml", body)
    }

    fn target(&self, target: &str) -> Value {
        match target {
            "DynamoDB_20120810.DescribeTable" => {
                let status = if self.has("table is made") { "CREATING" } else { "ACTIVE" };
                json!({"Table": {"TableName": "table", "TableStatus": status}})
            }
            "DynamoDB_20120810.DescribeTimeToLive" if self.has("no time to live") => {
                json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}})
            }
            "DynamoDB_20120810.DescribeTimeToLive" => {
                json!({"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}})
            }
            "AmazonSQS.GetQueueAttributes" => {
                let count = if self.has("letters") { "3" } else { "0" };
                json!({"Attributes": {"ApproximateNumberOfMessages": count}})
            }
            other => panic!("{other} is not expected"),
        }
    }

    fn get(&self, path: &str) -> (StatusCode, Value) {
        let status = match (path, self.fault) {
            ("/dev", "handshake fails") => StatusCode::BAD_GATEWAY,
            ("/dev", _) => StatusCode::FORBIDDEN,
            (path, "denied") if path.contains("/functions/tidings-connect") => StatusCode::FORBIDDEN,
            _ => StatusCode::OK,
        };
        let routes =
            [("$connect", false), ("$disconnect", false), ("$default", true), ("ping//", true), ("//ping", true)];
        let kept = routes.iter().filter(|(key, _)| self.fault != format!("no route {key}"));
        let route = |(key, answers): &(&str, bool)| match answers {
            true => {
                json!({"routeKey": key, "routeId": key.trim_matches(['$', '/']), "routeResponseSelectionExpression": "$default"})
            }
            false => json!({"routeKey": key, "routeId": key.trim_matches('$')}),
        };
        let body = match path {
            "/dev" => json!({"message": "Forbidden"}),
            "/v2/apis/api" => json!({"apiId": "api", "protocolType": "WEBSOCKET"}),
            "/v2/apis/http" => json!({"apiId": "http", "protocolType": "HTTP"}),
            "/v2/apis/api/stages" if self.has("no stage") => json!({"items": []}),
            "/v2/apis/api/stages" => json!({"items": [{"stageName": "dev", "autoDeploy": true}]}),
            "/v2/apis/api/routes" => json!({"items": kept.map(route).collect::<Vec<_>>()}),
            "/v2/apis/api/routes/default/routeresponses" if self.has("no route response") => json!({"items": []}),
            _ if path.ends_with("/routeresponses") => json!({"items": [{"routeResponseKey": "$default"}]}),
            _ if status == StatusCode::FORBIDDEN => json!({"Message": "not authorized to perform lambda:Get"}),
            _ if path.contains("/functions/tidings-connect") && self.has("function failed") => {
                json!({"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no disk"})
            }
            _ if path.contains("/functions/") => {
                json!({"State": "Active", "LastUpdateStatus": "Successful", "LastModified": "2026-11-24T11:46:23Z"})
            }
            _ if path.contains("/event-source-mappings/") => {
                json!({"State": if self.has("mapping off") { "Disabled" } else { "Enabled" }})
            }
            other => panic!("{other} is not expected"),
        };
        (status, body)
    }
}

async fn answer(State(aws): State<Aws>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap());
    let form = std::str::from_utf8(&body).unwrap();
    match target {
        Some(target) => respond(StatusCode::OK, "application/x-amz-json-1.0", aws.target(target).to_string()),
        None if form.contains("Action=") => aws.cloudformation(form),
        None => {
            let (status, body) = aws.get(uri.path().trim_end_matches("/configuration"));
            respond(status, "application/json", body.to_string())
        }
    }
}

fn respond(status: StatusCode, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

#[tokio::test]
async fn a_stack_that_is_well_is_said_to_be_so_part_by_part() {
    let (status, checks) = Aws::start("none").await.checks().await;
    assert_eq!(status, Some(0), "{checks:?}");
    let expected = [
        "stack",
        "stage of WebSocketApi",
        "routes of WebSocketApi",
        "HttpApi",
        "ConnectFunction",
        "NotifierFunction",
        "FanOutMapping",
        "ConnectionsTable",
        "time to live of ConnectionsTable",
        "retention of ConnectionsTable",
        "DeadLetterQueue",
        "FunctionLogs",
        "TokenSecret",
        "handshake",
    ];
    assert_eq!(of_state(&checks, "ok"), expected);
}

#[tokio::test]
async fn of_an_application_the_nested_stack_is_looked_at_and_what_may_keep_it_from_working() {
    let (status, checks) = Aws::start("nested").await.checks().await;
    assert_eq!(status, Some(0), "{checks:?}");
    let expected = [
        "stack",
        "stack Tidings",
        "OrdersNotify",
        "stage of Tidings/WebSocketApi",
        "routes of Tidings/WebSocketApi",
        "Tidings/HttpApi",
        "Tidings/ConnectFunction",
        "Tidings/NotifierFunction",
        "Tidings/FanOutMapping",
        "Tidings/ConnectionsTable",
        "time to live of Tidings/ConnectionsTable",
        "retention of Tidings/ConnectionsTable",
        "Tidings/DeadLetterQueue",
        "Tidings/FunctionLogs",
        "Tidings/TokenSecret",
        "handshake",
    ];
    assert_eq!(of_state(&checks, "ok"), expected);
}

#[tokio::test]
async fn what_becomes_of_the_table_and_what_a_change_of_that_costs_is_told() {
    for (fault, fate) in [("", "goes with the stack"), ("retained", "stays when the stack is deleted")] {
        let (status, checks) = Aws::start(fault).await.checks().await;
        assert_eq!(status, Some(0), "{checks:?}");
        let found = checks.iter().find(|found| found["check"] == "retention of ConnectionsTable").unwrap();
        let says = found["says"].as_str().unwrap();
        assert!(says.starts_with(fate) && says.ends_with("changing that begins an empty table"), "{says}");
    }
}

#[tokio::test]
async fn each_fault_of_a_stack_is_found_and_named() {
    for (fault, state, check, says) in [
        ("no stack", "wrong", "stack", "does not exist"),
        ("undone", "note", "stack", "the last deployment was undone"),
        ("never there", "wrong", "stack", "it was never there"),
        ("no stage", "wrong", "stage of WebSocketApi", "none to connect to"),
        ("no route $default", "wrong", "routes of WebSocketApi", "$default is missing"),
        ("no route ping//", "wrong", "routes of WebSocketApi", "ping// is missing"),
        ("no route response", "wrong", "routes of WebSocketApi", "$default has no route response"),
        ("function failed", "wrong", "ConnectFunction", "its last update failed: no disk"),
        ("denied", "wrong", "ConnectFunction", "not authorized"),
        ("mapping off", "wrong", "FanOutMapping", "Disabled: nothing is read"),
        ("table is made", "wrong", "ConnectionsTable", "CREATING"),
        ("no time to live", "wrong", "time to live of ConnectionsTable", "not on for expires_at"),
        ("letters", "note", "DeadLetterQueue", "3 messages could not be delivered"),
        ("no ConnectionsTable", "wrong", "table", "has no AWS::DynamoDB::Table"),
        ("no TokenSecret", "wrong", "secret", "has no AWS::SecretsManager::Secret"),
        ("handshake fails", "wrong", "handshake", "answers with status 502"),
    ] {
        let (status, checks) = Aws::start(fault).await.checks().await;
        assert_eq!(status, Some(i32::from(state == "wrong")), "{fault}: {checks:?}");
        assert_eq!(of_state(&checks, state), [check], "{fault}: {checks:?}");
        let found = checks.iter().find(|found| found["check"] == check).unwrap();
        assert!(found["says"].as_str().unwrap().contains(says), "{fault}: {found}");
    }
}
