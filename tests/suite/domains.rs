//! Custom domains and API mappings of somebody else's template, as a client and a function see them.

use serde_json::{Value, json};
use tests::stack::root;
use tests::wire::{Answer, Frame, Url, frame};
use tidings_local_dev::{self as dev, DevOptions, Running};
use tidings_local_lambda::Logs;
use tokio::io::AsyncWriteExt as _;

use crate::http_api::function;

struct Domains(Running);

impl Domains {
    async fn start() -> Self {
        let mut options = DevOptions::new(root().join("tests/templates/domains.yaml"));
        options.port = 0;
        options.lambda_endpoint = Some(function().await);
        options.logs = std::sync::Arc::new(Logs::to(Vec::new(), true));
        Self(dev::start(options).await.unwrap())
    }

    fn port(&self) -> &str {
        self.0.addresses.lambda.rsplit(':').next().unwrap()
    }

    /// A request at an address, by the name that a client calls it.
    async fn send(address: &str, host: &str, head: &str) -> (Answer, tests::wire::Socket) {
        let mut stream = Url::parse(address).open().await;
        let (first, more) = head.split_once('\n').unwrap_or((head, ""));
        let head = format!("{first} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        (Answer::read(&mut stream).await, tests::wire::Socket(stream))
    }

    async fn get(&self, host: &str, path: &str) -> Answer {
        Self::send(&self.0.addresses.lambda, host, &format!("GET {path}")).await.0
    }

    async fn handshake(&self, host: &str, path: &str) -> (Answer, tests::wire::Socket) {
        let lines: String = tests::wire::UPGRADE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::send(&self.0.addresses.lambda, host, &format!("GET {path}\n{lines}")).await
    }
}

fn event(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_api_answers_at_its_domain_and_nowhere_else() {
    let domains = Domains::start().await;
    let host = format!("ws.example.com:{}", domains.port());
    let (answer, mut socket) = domains.handshake(&host, "/talk").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    socket.send(&frame(Frame::TEXT, b"hello")).await;
    let said = socket.next().await.unwrap();
    let said: Value = serde_json::from_slice(&said.payload).unwrap();
    let context = &said["requestContext"];
    assert_eq!((&context["domainName"], &context["stage"]), (&json!(host), &json!("prod")), "{said}");

    // `@connections` is below the mapping, which is what code has to know that uses a domain.
    let id = context["connectionId"].as_str().unwrap().replace('=', "%3D");
    let described = domains.get(&host, &format!("/talk/@connections/{id}")).await;
    assert_eq!(described.status, 200, "{described:?}");
    for name in ["ws.example.com.localhost", "WS.example.com"] {
        assert_eq!(domains.handshake(name, "/talk").await.0.status, 101, "{name}");
    }
    let api_id = &domains.0.stack().apis["Chat"].api_id;
    for (host, path) in [
        (host.as_str(), "/"),
        (&host, "/prod"),
        (&host, "/talk/more"),
        (&host, "/_tidings/connections"),
        ("localhost", "/prod"),
        ("localhost", "/talk"),
        (&format!("{api_id}.execute-api.us-east-1.amazonaws.com"), "/prod"),
    ] {
        let refused = domains.handshake(host, path).await.0;
        assert_eq!((refused.status, refused.body.as_str()), (403, r#"{"message":"Forbidden"}"#), "{host} {path}");
    }
    // The SDK in functions is told this address, which is no endpoint of AWS.
    let described = domains.get("localhost", &format!("/prod/@connections/{id}")).await;
    assert_eq!(described.status, 200, "{described:?}");
    domains.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_apis_answer_at_each_path_of_their_domain_and_see_the_path_of_their_stage() {
    let domains = Domains::start().await;
    for (host, path, raw, stage) in [
        ("api.example.com", "/items/7", "/v1/items/7", "v1"),
        ("api.example.com:1", "/shop/goods/items/7", "/v1/items/7", "v1"),
        ("one.plain.example", "/v1/items/7", "/v1/items/7", "$default"),
    ] {
        let said = event(&domains.get(host, path).await);
        assert_eq!((&said["rawPath"], &said["requestContext"]["stage"]), (&json!(raw), &json!(stage)), "{host}{path}");
        assert_eq!(said["requestContext"]["domainName"], host);
    }
    let shop = &domains.0.stack().http_apis["Shop"].api_id;
    let own = format!("{shop}.execute-api.us-east-1.amazonaws.com");
    assert_eq!(event(&domains.get(&own, "/v1/items/7").await)["rawPath"], "/v1/items/7");
    assert_eq!(domains.get("api.example.com", "/shop/items/7").await.status, 404);
    assert_eq!(domains.get("two.one.plain.example", "/x").await.status, 403, "a star is one label");

    // An API that has given up its endpoint does not answer at its own port either, but by its domain.
    let own_port = &domains.0.addresses.apis["Plain"];
    assert_eq!(Domains::send(own_port, "localhost", "GET /x").await.0.status, 404);
    assert_eq!(Domains::send(own_port, "a.plain.example", "GET /x").await.0.status, 200);
    domains.0.shutdown().await;
}
