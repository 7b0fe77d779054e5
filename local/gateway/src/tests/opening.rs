//! Handshakes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::super::Settings;
use super::harness::*;
use tidings_local_stack::{Integration, Limit};

const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const UPGRADE: [(&str, &str); 4] =
    [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), KEY];

async fn raw(app: &App, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("GET {path} HTTP/1.1\r\nHOST: {}\r\n", app.address);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    Answer::read(&mut stream).await
}

#[tokio::test]
async fn the_connect_event_tells_the_handshake_in_the_clients_own_spelling() {
    let app = App::start(usual(), friendly()).await;
    let mut headers = UPGRADE.to_vec();
    headers.extend([("x-api-key", "k"), ("X-OwN-Case", "1"), ("User-Agent", "test/1"), ("Cookie", "a=b")]);
    headers.push(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"));
    let answer = raw(&app, "/dev?topic=a%2Fb&topic=c", &headers).await;
    assert_eq!(answer.status, 101);
    let event = app.functions.invoked("connect", 1).await.remove(0);
    let names: Vec<_> = event["headers"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "Cookie",
        "HOST",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "User-Agent",
        "X-Amzn-Trace-Id",
        "x-api-key",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-OwN-Case",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(event["multiValueHeaders"]["X-OwN-Case"], json!(["1"]));
    assert_eq!(event["headers"]["X-Forwarded-For"], "127.0.0.1");
    assert_eq!(event["headers"]["X-Forwarded-Port"], app.address.port().to_string());
    assert_eq!(event["queryStringParameters"], json!({"topic": "c"}));
    assert_eq!(event["multiValueQueryStringParameters"], json!({"topic": ["a/b", "c"]}));
    let context = &event["requestContext"];
    assert_eq!(context["identity"], json!({"sourceIp": "127.0.0.1", "userAgent": "test/1"}));
    assert_eq!(context["domainName"], app.address.to_string());
    assert_eq!(context["stage"], "dev");
    assert_eq!(context["apiId"], "abcdef1234");
    assert_eq!(context.get("authorizer"), None);
}

#[tokio::test]
async fn header_names_survive_on_a_connection_that_was_used_before() {
    let app = App::start(usual(), friendly()).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let first = "POST /dev/@connections/BFHPhfCWIAMCKlQ= HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nGET /";
    let second = "GET /dev HTTP/1.1\r\nHost: x\r\nX-OwN-Case: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(first.as_bytes()).await.unwrap();
    stream.write_all(second.as_bytes()).await.unwrap();
    let event = app.functions.invoked("connect", 1).await.remove(0);
    assert_eq!(event["headers"]["X-OwN-Case"], "1");
}

#[tokio::test]
async fn the_switch_has_only_the_headers_it_needs_and_declines_compression() {
    let functions = Functions::default().always(
        "connect",
        returns(json!({"statusCode": 200, "headers": {"X-Secret": "1", "Set-Cookie": "a=b"}, "body": "hello"})),
    );
    let app = App::start(usual(), functions).await;
    let mut headers = UPGRADE.to_vec();
    headers.push(("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"));
    headers.push(("Sec-WebSocket-Protocol", "one, two"));
    let answer = raw(&app, "/dev", &headers).await;
    assert_eq!(answer.status, 101);
    let mut names: Vec<_> = answer.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["connection", "date", "sec-websocket-accept", "upgrade"]);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.body, "");
}

#[tokio::test]
async fn the_subprotocol_is_what_connect_answers() {
    let functions = Functions::default().on("connect", |event| async move {
        assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "one, two");
        let name = event["queryStringParameters"]["as"].as_str().unwrap().to_owned();
        returns(match name.as_str() {
            "multi" => json!({"statusCode": 200, "multiValueHeaders": {"Sec-WebSocket-Protocol": ["two"]}}),
            name => json!({"statusCode": 200, "headers": {name: "two"}}),
        })
    });
    let app = App::start(usual(), functions).await;
    let mut headers = UPGRADE.to_vec();
    headers.push(("Sec-WebSocket-Protocol", "one, two"));
    for name in ["Sec-WebSocket-Protocol", "sec-websocket-protocol", "multi"] {
        let answer = raw(&app, &format!("/dev?as={name}"), &headers).await;
        assert_eq!(answer.header("sec-websocket-protocol"), Some("two"), "{name}");
    }
}

#[tokio::test]
async fn connect_decides_the_status() {
    for (outcome, expected) in [
        (returns(json!({"statusCode": 301, "headers": {"Location": "/x"}})), 301),
        (returns(json!({"statusCode": 400, "body": "no"})), 400),
        (returns(json!({"statusCode": 401})), 401),
        (returns(json!({"statusCode": 403})), 403),
        (returns(json!({"statusCode": 500})), 500),
        (returns(json!({"statusCode": 501})), 501),
        (fails("boom"), 502),
        (returns(json!(null)), 502),
        (returns(json!("ok")), 502),
        (returns(json!({"body": "no status"})), 502),
        (returns(json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "a\nb"}})), 502),
        (Outcome::Refused, 500),
    ] {
        let functions = friendly().always("connect", outcome.clone());
        let app = App::start(usual(), functions).await;
        let answer = raw(&app, "/dev", &[&UPGRADE[..], &[("Connection", "close")]].concat()).await;
        assert_eq!(answer.status, expected, "{outcome:?}");
        assert_eq!(answer.header("location"), None);
        assert!(!answer.body.contains("no"), "{answer:?}");
        assert!(app.functions.events("disconnect").is_empty());
    }
    for status in [200, 201, 204, 299] {
        let functions = friendly().always("connect", returns(json!({"statusCode": status})));
        let app = App::start(usual(), functions).await;
        app.connect().await;
    }
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_answered_504() {
    let functions = Functions::default().on("connect", |_| std::future::pending());
    let app = App::start(api(&[("$connect", impatient("connect", 50))]), functions).await;
    assert_eq!(app.refused("/dev", &[]).await, 504);
}

#[tokio::test]
async fn connect_and_disconnect_are_optional() {
    let app = App::start(api(&[("$default", two_way("default"))]), friendly()).await;
    let mut client = app.connect().await;
    assert_quiet(&mut client).await;
    client.close(None).await.unwrap();
    assert!(app.functions.events("connect").is_empty());
}

#[tokio::test]
async fn other_requests_to_a_stage_are_told_to_upgrade() {
    let app = App::start(usual(), friendly()).await;
    for headers in [
        &[][..],
        &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), KEY],
        &[("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), KEY],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket"), KEY],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "8"), KEY],
    ] {
        let answer = raw(&app, "/dev", &[headers, &[("Connection", "close")]].concat()).await;
        assert_eq!(answer.status, 426, "{headers:?}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
    let keyless = [&UPGRADE[..3], &[("Connection", "close")]].concat();
    assert_eq!(raw(&app, "/dev", &keyless).await.status, 400);
    assert_eq!(app.http("POST", "/dev", &[], b"{}").await.status, 403);
    assert!(app.functions.events("connect").is_empty());
}

#[tokio::test]
async fn unknown_stages_and_paths_are_forbidden() {
    let app = App::start(usual(), friendly()).await;
    for path in ["/", "/prod", "/dev/more", "/dev/a/b/c", "/abcdef1234/prod", "/zzzzzzzzzz/dev", "/Dev"] {
        assert_eq!(app.refused(path, &[]).await, 403, "{path}");
        let answer = app.http("GET", path, &[], b"").await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.body, r#"{"message":"Forbidden"}"#);
        assert_eq!(answer.header("x-amzn-errortype"), Some("ForbiddenException"));
    }
    app.open("/dev/", &[]).await.unwrap();
    app.open("/abcdef1234/dev", &[]).await.unwrap();
}

#[tokio::test]
async fn too_many_new_connections_are_answered_429() {
    let settings = Settings { new_connections_per_second: Some(1), ..Settings::default() };
    let app = App::with_settings([usual()], friendly(), settings).await;
    let first = app.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        if let Err(tokio_tungstenite::tungstenite::Error::Http(response)) = app.open("/dev", &[]).await {
            statuses.push(response.status().as_u16());
        }
    }
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 429), "{statuses:?}");
    drop(first);
}

#[tokio::test]
async fn an_id_is_gone_until_connect_has_returned() {
    let gate = Arc::new(Notify::new());
    let functions = {
        let gate = Arc::clone(&gate);
        friendly().on("connect", move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                ok()
            }
        })
    };
    let app = App::start(usual(), functions).await;
    let opening = async {
        let mut client = app.connect().await;
        assert_eq!(receive_text(&mut client).await, "now");
    };
    let posting = async {
        let event = app.functions.invoked("connect", 1).await.remove(0);
        let id = event["requestContext"]["connectionId"].as_str().unwrap().to_owned();
        for method in ["POST", "GET", "DELETE"] {
            let answer = app.manage(method, &id, b"x").await;
            assert_eq!((answer.status, answer.body.as_str()), (410, ""), "{method}");
            assert_eq!(answer.header("x-amzn-errortype"), Some("GoneException"));
        }
        gate.notify_one();
        while app.manage("POST", &id, b"now").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, async { tokio::join!(opening, posting) }).await.unwrap();
}

/// Starts a handshake whose `$connect` waits, hangs up, lets `$connect` end with `outcome`, and tells the events of
/// `$disconnect` after a second connection has come and gone.
async fn hang_up_during_connect(outcome: Outcome) -> Vec<Value> {
    let gate = Arc::new(Notify::new());
    let functions = {
        let gate = Arc::clone(&gate);
        friendly().on("connect", move |event| {
            let (gate, outcome) = (Arc::clone(&gate), outcome.clone());
            async move {
                if event.get("queryStringParameters").is_some() {
                    return ok();
                }
                gate.notified().await;
                outcome
            }
        })
    };
    let app = App::start(usual(), functions).await;
    let mut head = "GET /dev HTTP/1.1\r\nHost: x\r\n".to_owned();
    for (name, value) in UPGRADE {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    app.functions.invoked("connect", 1).await;
    drop(stream);
    gate.notify_one();
    app.gateway.close_all().await;
    app.functions.events("disconnect")
}

#[tokio::test]
async fn a_client_that_leaves_during_connect_is_disconnected_if_it_was_let_in() {
    let events = hang_up_during_connect(ok()).await;
    assert_eq!(events.len(), 1);
    assert_eq!(hang_up_during_connect(returns(json!({"statusCode": 403}))).await, Vec::<Value>::new());
}

#[tokio::test]
async fn two_apis_share_a_stage_name_and_the_first_has_the_short_path() {
    let mut second = api(&[("$connect", lambda("other")), ("$default", two_way("default"))]);
    second.api_id = "zyxwvu9876".to_owned();
    let functions = friendly().always("other", ok());
    let app = App::with_settings([usual(), second], functions, Settings::default()).await;
    let _first = app.open("/dev", &[]).await.unwrap();
    assert_eq!(app.functions.events("connect").len(), 1);
    let mut client = app.open("/zyxwvu9876/dev", &[]).await.unwrap();
    let event = app.functions.invoked("other", 1).await.remove(0);
    assert_eq!(event["requestContext"]["apiId"], "zyxwvu9876");
    // The stage's short path reaches connections of both, as a function knows only domain name and stage.
    let id = event["requestContext"]["connectionId"].as_str().unwrap();
    for path in ["/dev", "/zyxwvu9876/dev"] {
        assert_eq!(app.http("POST", &format!("{path}/@connections/{id}"), &[], b"hi").await.status, 200);
        assert_eq!(receive_text(&mut client).await, "hi");
    }
    let path = format!("/abcdef1234/dev/@connections/{id}");
    assert_eq!(app.http("POST", &path, &[], b"hi").await.status, 410);
}

#[tokio::test]
async fn stage_variables_reach_the_functions() {
    let mut api = usual();
    api.stages[0].variables.insert("table".to_owned(), "t1".to_owned());
    let app = App::start(api, friendly()).await;
    app.connect().await;
    let event = app.functions.invoked("connect", 1).await.remove(0);
    assert_eq!(event["stageVariables"], json!({"table": "t1"}));
}

#[tokio::test]
async fn two_hundred_sockets_open_at_once() {
    let app = Arc::new(App::start(usual(), friendly()).await);
    let clients = (0..200).map(|index| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let mut client = app.connect().await;
            send(&mut client, &format!("message {index}")).await;
            assert_eq!(receive_text(&mut client).await, format!("message {index}"));
            client
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut open = Vec::new();
    for client in clients {
        open.push(tokio::time::timeout(DEADLINE, client).await.unwrap().unwrap());
    }
    assert_eq!(app.functions.events("connect").len(), 200);
    drop(open);
    app.functions.invoked("disconnect", 200).await;
    let ids: std::collections::HashSet<_> = app
        .functions
        .events("disconnect")
        .iter()
        .map(|event| event["requestContext"]["connectionId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 200);
    tokio::time::timeout(Duration::from_secs(1), app.gateway.close_all()).await.unwrap();
}

#[tokio::test]
async fn a_connect_that_is_throttled_or_not_emulated_lets_nobody_in() {
    let mut api = usual();
    api.stages[0].default_limit = Some(Limit { rate: 0.0, burst: 0 });
    let app = App::start(api, friendly()).await;
    assert_eq!(app.refused("/dev", &[]).await, 429);
    let mut api = usual();
    api.routes["$connect"].integration = Integration::Unsupported { reason: "HTTP".to_owned() };
    let app = App::start(api, friendly()).await;
    assert_eq!(app.refused("/dev", &[]).await, 500);
}

#[tokio::test]
async fn a_url_may_have_4096_bytes() {
    let app = App::start(usual(), friendly()).await;
    let path = |length: usize| format!("/dev?{}", "x".repeat(length - 5));
    app.open(&path(4096), &[]).await.unwrap();
    assert_eq!(app.refused(&path(4097), &[]).await, 414);
}
