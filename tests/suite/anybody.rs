//! Somebody else's template, with functions in whatever language behind a Lambda Invoke API.

use std::io::Write;
use std::sync::{Arc, Mutex};

use aws_sdk_apigatewaymanagement::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tests::engine;
use tests::stack::root;
use tidings_local_dev::{self as dev, Addresses, DevOptions};
use tidings_local_lambda::Logs;
use tidings_test::Client;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

const TABLE: &str = "tidings-dev-members";

/// A chat room's functions, as `sam local start-lambda` would run them.
#[derive(Clone, Default)]
struct Functions(Arc<OnceCell<Addresses>>);

impl Functions {
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let path = "/2015-03-31/functions/{name}/invocations";
        let router = Router::new().route(path, post(invoke)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn table(&self) -> aws_sdk_dynamodb::Client {
        engine::client(&self.0.get().unwrap().dynamodb, engine::http())
    }

    async fn run(&self, name: &str, event: &Value) -> Option<Value> {
        let context = &event["requestContext"];
        let id = AttributeValue::S(context["connectionId"].as_str().unwrap().to_owned());
        match name {
            "Enter" => drop(self.table().put_item().table_name(TABLE).item("id", id).send().await.unwrap()),
            "Leave" => drop(self.table().delete_item().table_name(TABLE).key("id", id).send().await.unwrap()),
            "Say" => self.say(event).await,
            "Count" => {
                let count = engine::rows(&self.table(), TABLE).await.len();
                return Some(json!({"statusCode": 200, "body": json!({"members": count}).to_string()}));
            }
            _ => return None,
        }
        Some(json!({"statusCode": 200, "body": "done"}))
    }

    /// Sends to everyone, at the address that the event gives, as AWS's samples do.
    async fn say(&self, event: &Value) {
        let context = &event["requestContext"];
        let (domain, stage) = (context["domainName"].as_str().unwrap(), context["stage"].as_str().unwrap());
        let client =
            tests::standin::management(&format!("http://{domain}/{stage}"), std::time::Duration::from_secs(10));
        let message: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        let data = message["text"].as_str().unwrap();
        for row in engine::rows(&self.table(), TABLE).await {
            let id = row["id"].as_s().unwrap();
            client.post_to_connection().connection_id(id).data(Blob::new(data)).send().await.unwrap();
        }
    }
}

async fn invoke(State(functions): State<Functions>, Path(name): Path<String>, event: Bytes) -> Response {
    match functions.run(&name, &serde_json::from_slice(&event).unwrap()).await {
        Some(answer) => answer.to_string().into_response(),
        None => (StatusCode::NOT_FOUND, [("x-amzn-errortype", "ResourceNotFoundException")], "{}").into_response(),
    }
}

/// What `tidings dev` tells.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The number of the template's first line that has this text.
fn line_of(text: &str) -> usize {
    let template = std::fs::read_to_string(root().join("tests/templates/rooms.yaml")).unwrap();
    template.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_template_runs_with_its_functions_elsewhere_and_what_is_not_emulated_blocks_only_itself() {
    let (functions, told) = (Functions::default(), Told::default());
    let mut options = DevOptions::new(root().join("tests/templates/rooms.yaml"));
    options.port = 0;
    options.lambda_endpoint = Some(functions.serve().await);
    options.logs = Arc::new(Logs::to(told.clone(), false));
    let running = dev::start(options).await.unwrap();
    functions.0.set(running.addresses.clone()).unwrap();
    let url = running.addresses.websocket.clone();
    assert!(url.ends_with("/trial"), "{url}");

    let (mut ann, mut bob) = (Client::connect(&url).await, Client::connect(&url).await);
    ann.send(r#"{"action":"say","text":"hello, room"}"#).await;
    assert_eq!((ann.text().await, bob.text().await), ("hello, room".to_owned(), "hello, room".to_owned()));
    bob.send("no route for this").await;
    assert_eq!(bob.json().await["message"], "Forbidden");

    let mut desk = Client::connect(&url.replace("trial", "desk")).await;
    assert_eq!(desk.ask(json!({"action": "count"})).await, json!({"members": 2}));
    for action in ["export", "audit"] {
        assert_eq!(desk.ask(json!({"action": action})).await["message"], "Internal server error");
    }
    bob.close().await;
    tests::eventually("one member", std::time::Duration::from_secs(20), async || {
        (desk.ask(json!({"action": "count"})).await == json!({"members": 1})).then_some(())
    })
    .await;

    let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
    for (line, text) in [
        (
            line_of("  ExportRoute:"),
            "the route `export` of `Desk` always fails here: integrations of the type `HTTP_PROXY`",
        ),
        (
            line_of("  AuditRoute:"),
            "the route `audit` of `Desk` always fails here: `Fn::ImportValue` cannot be resolved",
        ),
        (line_of("  Nested:"), "`Nested` does not run locally: its template is at https://example.org/nested.yaml"),
    ] {
        assert!(told.contains(&format!("rooms.yaml:{line}: {text}")), "{line} {text}: {told}");
    }
    running.shutdown().await;
}
