//! Commands that name a deployed stack: the toolkit's own, one that nests it, and one that nests several. The test plays AWS.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::project::{finish, tidings};

/// A stack: how CloudFormation knows it, and what it nests.
struct Stack {
    name: &'static str,
    /// Logical ids and names of nested stacks.
    nests: &'static [(&'static str, &'static str)],
    is_toolkit: bool,
}

const STACKS: [Stack; 8] = [
    Stack { name: "tidings", nests: &[], is_toolkit: true },
    // An application, which has another stack beside.
    Stack { name: "shop", nests: &[("Alarms", "shop-Alarms-1"), ("Tidings", "shop-Tidings-2")], is_toolkit: false },
    Stack { name: "shop-Alarms-1", nests: &[], is_toolkit: false },
    Stack { name: "shop-Tidings-2", nests: &[], is_toolkit: true },
    // Two, one of them a level deeper.
    Stack { name: "mall", nests: &[("Left", "mall-Left"), ("Right", "mall-Right")], is_toolkit: false },
    Stack { name: "mall-Left", nests: &[("Tidings", "tidings")], is_toolkit: false },
    Stack { name: "mall-Right", nests: &[], is_toolkit: true },
    Stack { name: "empty", nests: &[], is_toolkit: false },
];

/// AWS as the commands see it.
#[derive(Clone)]
struct Aws {
    endpoint: String,
    /// What was asked for besides stacks.
    calls: Arc<Mutex<Vec<String>>>,
}

impl Aws {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let aws = Self { endpoint: format!("http://{}", listener.local_addr().unwrap()), calls: Arc::default() };
        let router = Router::new().fallback(answer).with_state(aws.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        aws
    }

    /// Runs a command; its status, its standard error, and what it called.
    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, Vec<String>) {
        let mut command = tidings(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true").envs([
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_MAX_ATTEMPTS", "1"),
        ]);
        let (status, _, stderr) = finish(command).await;
        (status, stderr, std::mem::take(&mut *self.calls.lock().unwrap()))
    }

    fn cloudformation(&self, form: &str) -> Response<Body> {
        let name = form.split('&').find_map(|pair| pair.strip_prefix("StackName=")).unwrap();
        let Some(stack) = STACKS.iter().find(|stack| stack.name == name) else {
            let error = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
                 <Message>Stack with id {name} does not exist</Message></Error></ErrorResponse>"
            );
            return respond(StatusCode::BAD_REQUEST, "text/xml", error);
        };
        let answer = if form.contains("Action=ListStackResources") { stack.resources() } else { stack.described(self) };
        respond(StatusCode::OK, "text/xml", answer)
    }

    fn target(&self, target: &str, body: &str) -> (StatusCode, Value) {
        let body: Value = serde_json::from_str(body).unwrap();
        let asked = |field: &str| body[field].as_str().unwrap().to_owned();
        let (status, call, answer) = match target {
            "secretsmanager.GetSecretValue" => {
                let id = asked("SecretId");
                let missing = json!({"__type": "ResourceNotFoundException"});
                // The parameter `Name` of what the application nests is not the application's name.
                let is_there = ["tidings/tokens", "shop-Tidings-2-TokenSecret"].contains(&id.as_str());
                let (status, answer) = match is_there {
                    true => (StatusCode::OK, json!({"SecretString": "s".repeat(64)})),
                    false => (StatusCode::BAD_REQUEST, missing),
                };
                (status, format!("secret {id}"), answer)
            }
            "AmazonSQS.ReceiveMessage" => (StatusCode::OK, format!("queue {}", asked("QueueUrl")), json!({})),
            other => panic!("{other} is not expected"),
        };
        self.calls.lock().unwrap().push(call);
        (status, answer)
    }

    fn path(&self, path: &str) -> Value {
        let (call, answer) = match path.strip_prefix("/2015-03-31/functions/") {
            Some(function) => (format!("function {}", function.trim_end_matches("/invocations")), json!({})),
            None => (format!("GET {path}"), json!({"connections": [], "topics": []})),
        };
        self.calls.lock().unwrap().push(call);
        answer
    }
}

impl Stack {
    fn described(&self, aws: &Aws) -> String {
        // An application may call its outputs as the toolkit does.
        let url = format!("{}/{}", aws.endpoint, self.name);
        format!(
            "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
             <Stacks><member><StackName>{}</StackName><CreationTime>2026-11-24T11:46:23Z</CreationTime>\
             <StackStatus>CREATE_COMPLETE</StackStatus><Outputs><member><OutputKey>WebSocketUrl</OutputKey>\
             <OutputValue>{}/dev</OutputValue></member><member><OutputKey>RestUrl</OutputKey>\
             <OutputValue>{url}/</OutputValue></member></Outputs></member></Stacks></DescribeStacksResult>\
             </DescribeStacksResponse>",
            self.name,
            url.replace("http", "ws")
        )
    }

    fn resources(&self) -> String {
        let own = [
            ("WebSocketApi", "AWS::ApiGatewayV2::Api"),
            ("NotifierFunction", "AWS::Lambda::Function"),
            ("DeadLetterQueue", "AWS::SQS::Queue"),
            ("TokenSecret", "AWS::SecretsManager::Secret"),
        ];
        let own =
            own.iter().filter(|_| self.is_toolkit).map(|(id, kind)| member(id, &format!("{}-{id}", self.name), kind));
        let nested = self.nests.iter().map(|(id, name)| member(id, name, "AWS::CloudFormation::Stack"));
        format!(
            "<ListStackResourcesResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
             <ListStackResourcesResult><StackResourceSummaries>{}</StackResourceSummaries></ListStackResourcesResult>\
             </ListStackResourcesResponse>",
            own.chain(nested).collect::<String>()
        )
    }
}

fn member(id: &str, physical: &str, kind: &str) -> String {
    format!(
        "<member><LogicalResourceId>{id}</LogicalResourceId><PhysicalResourceId>{physical}</PhysicalResourceId>\
         <ResourceType>{kind}</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus>\
         <LastUpdatedTimestamp>2026-11-24T11:46:23Z</LastUpdatedTimestamp></member>"
    )
}

async fn answer(State(aws): State<Aws>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let target = headers.get("x-amz-target").map(|target| target.to_str().unwrap());
    let body = std::str::from_utf8(&body).unwrap();
    match target {
        Some(target) => {
            let (status, answer) = aws.target(target, body);
            respond(status, "application/x-amz-json-1.1", answer.to_string())
        }
        None if body.contains("Action=") => aws.cloudformation(body),
        None => respond(StatusCode::OK, "application/json", aws.path(uri.path()).to_string()),
    }
}

fn respond(status: StatusCode, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

const NOTIFY: [&str; 4] = ["notify", "--everyone", "1", "--stack"];
const LETTERS: [&str; 3] = ["dead-letters", "list", "--stack"];
const CONNECTIONS: [&str; 3] = ["connections", "list", "--stack"];
const TOPICS: [&str; 4] = ["topics", "list", "alice", "--stack"];
const TOKEN: [&str; 4] = ["token", "--user", "u", "--stack"];

#[tokio::test]
async fn each_command_finds_its_part_of_the_stack_and_of_the_one_that_an_application_nests() {
    let aws = Aws::start().await;
    for (command, stack, calls) in [
        (&NOTIFY[..], "tidings", &["function tidings-NotifierFunction"][..]),
        (&NOTIFY, "shop", &["function shop-Tidings-2-NotifierFunction"]),
        (&NOTIFY, "shop/Tidings", &["function shop-Tidings-2-NotifierFunction"]),
        (&NOTIFY, "mall/Right", &["function mall-Right-NotifierFunction"]),
        (&NOTIFY, "mall/Left", &["function tidings-NotifierFunction"]),
        (&NOTIFY, "mall/Left/Tidings", &["function tidings-NotifierFunction"]),
        (&LETTERS, "shop", &["queue shop-Tidings-2-DeadLetterQueue"]),
        (&CONNECTIONS, "shop", &["GET /shop-Tidings-2/connections"]),
        (&TOPICS, "shop", &["GET /shop-Tidings-2/users/-/topics"]),
        (&TOKEN, "tidings", &["secret tidings/tokens"]),
        (&TOKEN, "shop", &["secret shop/tokens", "secret shop-Tidings-2-TokenSecret"]),
    ] {
        let (status, stderr, called) = aws.run(&[command, &[stack]].concat()).await;
        assert_eq!(
            (status, called),
            (Some(0), calls.iter().map(|call| (*call).to_owned()).collect()),
            "{stack}: {stderr}"
        );
    }
}

#[tokio::test]
async fn a_listener_connects_to_the_stack_that_an_application_nests() {
    let aws = Aws::start().await;
    let (status, stderr, called) = aws.run(&["listen", "--topic", "t", "--no-reconnect", "--stack", "shop"]).await;
    // The test is no WebSocket server.
    assert_eq!(status, Some(1), "{stderr}");
    assert_eq!(called, ["GET /shop-Tidings-2/dev"], "{stderr}");
}

#[tokio::test]
async fn what_is_unclear_or_not_there_is_said_with_what_to_do() {
    let aws = Aws::start().await;
    for (stack, said) in [
        ("mall", "nests 2 of the toolkit's stacks; say which: --stack mall/Right or --stack mall/Left/Tidings"),
        ("empty", "the stack empty is not the toolkit's and nests none that is"),
        ("shop/Tiding", "the stack shop nests no stack Tiding; those that it nests: Alarms, Tidings"),
        ("empty/Tidings", "the stack empty nests no stack Tidings; those that it nests: none"),
        ("gone", "the stack gone cannot be read"),
        ("gone", "does not exist"),
        ("gone", "check name, region and profile"),
    ] {
        for command in [&NOTIFY[..], &LETTERS, &CONNECTIONS, &TOPICS, &TOKEN] {
            let (status, stderr, called) = aws.run(&[command, &[stack]].concat()).await;
            assert_eq!(status, Some(1), "{command:?}: {stderr}");
            assert!(stderr.contains(said), "{command:?} {stack}: {stderr}");
            assert!(called.iter().all(|call| call.starts_with("secret ")), "{called:?}");
        }
    }
}
