//! Azure Web PubSub's API for servers: its official libraries, unmodified, and what they hide on the wire.

mod libraries;
mod raw;

use serde_json::{Value, json};
use tests::issuer::secret_token;
use tests::stack::Stack;
use tests::wire::{self, Answer, Url};
use tidings_test::Client;

const FAR: i64 = 4_102_444_800;
const VERSION: &str = "api-version=2024-12-01";
const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn start() -> Stack {
    start_shuffled(None).await
}

/// A stack whose frames overtake one another where there is a seed.
async fn start_shuffled(seed: Option<u64>) -> Stack {
    start_with(&[], seed).await
}

async fn start_with(more: &[(&str, &str)], seed: Option<u64>) -> Stack {
    Stack::start_with(|options| {
        let parameters = [&[("Protocols", "centrifuge,webpubsub"), ("Authentication", "anonymous")], more].concat();
        options.parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        options.shuffle = seed;
    })
    .await
}

fn key(stack: &Stack) -> String {
    stack.running().secrets().text("tidings-dev/webpubsub-key").unwrap()
}

/// A call below `/api/hubs/`, signed for its whole address.
async fn call(stack: &Stack, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let address = format!("{}/api/hubs/{target}", stack.root());
    let token = secret_token(key(stack).as_bytes(), &json!({"aud": address, "exp": FAR}));
    signed_by(stack, &token, method, target, headers, body).await
}

async fn signed_by(
    stack: &Stack,
    token: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [headers, &[("Authorization", authorization.as_str())]].concat();
    wire::request(method, &Url::parse(&format!("{}/api/hubs/{target}", stack.root())), &headers, body).await
}

/// A connection of a user, in the stack's own protocol, and its id.
async fn connect(stack: &Stack, query: &str) -> (Client, String) {
    let mut client = Client::connect(&format!("{}{query}", stack.url())).await;
    let who = client.ask(json!({"action": "whoami", "id": 1})).await;
    (client, who["connection"].as_str().unwrap().to_owned())
}

/// A client of Web PubSub's in a hub, with the roles of its token, and its id.
async fn client_of(stack: &Stack, hub: &str, user: &str, roles: &[&str]) -> (wire::Socket, String) {
    let root = stack.root();
    let claims = json!({"aud": format!("{root}/client/hubs/{hub}"), "exp": FAR, "sub": user, "role": roles});
    let token = secret_token(key(stack).as_bytes(), &claims);
    let address = format!("{root}/client/hubs/{hub}?access_token={token}").replacen("http", "ws", 1);
    let (answer, mut socket) =
        wire::handshake(&address, &[("Sec-WebSocket-Protocol", "json.webpubsub.azure.v1")]).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    let connected: Value = serde_json::from_str(&socket.text().await).unwrap();
    let id = connected["connectionId"].as_str().unwrap().to_owned();
    (socket, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_for_the_address_signed_with_the_key_lets_in() {
    let stack = Stack::start(&[("Protocols", "centrifuge,webpubsub"), ("Authentication", "hs256")]).await;
    let (key, root) = (key(&stack), stack.root().to_owned());
    let target = format!("chat/groups/g/:send?{VERSION}");
    let aud = format!("{root}/api/hubs/{target}");
    let own = |secret: &[u8], claims: Value| secret_token(secret, &claims);
    let good = json!({"aud": aud, "exp": FAR});
    let past = |seconds: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        json!({"aud": aud, "exp": now - seconds})
    };
    let server_key = stack.running().secrets().text("tidings-dev/server-key").unwrap();
    for token in [
        "",
        "a.b.c",
        &key,
        &own(&[b'x'; 64], good.clone()),
        &own(&stack.secret().await, good.clone()),
        &own(server_key.as_bytes(), good.clone()),
        &own(key.as_bytes(), json!({"aud": aud})),
        &own(key.as_bytes(), json!({"exp": FAR})),
        &own(key.as_bytes(), past(400)),
        &own(key.as_bytes(), json!({"aud": format!("{root}/client/hubs/chat"), "exp": FAR})),
        &own(key.as_bytes(), json!({"aud": format!("{root}/api/hubs/chat/groups/h/:send"), "exp": FAR})),
        &own(key.as_bytes(), json!({"aud": format!("{root}/api/hubs/chat/:send?{VERSION}"), "exp": FAR})),
        &own(key.as_bytes(), json!({"aud": format!("{aud}&filter=true"), "exp": FAR})),
        &stack.token("u1", &["subscribe:**", "publish:**"]),
    ] {
        let answer = signed_by(&stack, token, "POST", &target, &[JSON], b"1").await;
        assert_eq!(answer.status, 401, "{token}: {}", answer.body);
    }
    for claims in [
        good,
        past(200),
        json!({"aud": ["x", format!("https://example.com/api/hubs/CHAT/groups/g/:send/")], "exp": FAR}),
        json!({"aud": aud.replace("http://", "ws://"), "exp": FAR}),
    ] {
        let answer = signed_by(&stack, &own(key.as_bytes(), claims.clone()), "POST", &target, &[JSON], b"1").await;
        assert_eq!(answer.status, 202, "{claims}: {}", answer.body);
    }
    // A server's token opens no connection and nothing else of the stack.
    let token = own(key.as_bytes(), json!({"aud": aud, "exp": FAR, "sub": "u1"}));
    let handshake = format!("{root}/client/hubs/chat?access_token={token}").replacen("http", "ws", 1);
    let (answer, _) = wire::handshake(&handshake, &[("Sec-WebSocket-Protocol", "json.webpubsub.azure.v1")]).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
    let (answer, _) = wire::handshake(&format!("{}?access_token={token}", stack.url()), &[]).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
    let bearer = format!("Bearer {token}");
    for (url, header) in [
        (format!("{}/messages?topic=a", stack.api()), ("Authorization", bearer.as_str())),
        (format!("{}/api/info", stack.api()), ("X-API-Key", key.as_str())),
    ] {
        let method = if url.ends_with("info") { "POST" } else { "GET" };
        assert_eq!(wire::request(method, &Url::parse(&url), &[header], b"{}").await.status, 401, "{url}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_has_its_statuses() {
    let stack = start().await;
    let (_client, id) = connect(&stack, "?user=u1").await;
    let long = "g".repeat(1_025);
    let health = Url::parse(&format!("{}/api/health", stack.root()));
    assert_eq!(wire::request("HEAD", &health, &[], b"").await.status, 200);
    for (status, method, target, kind, body) in [
        (202, "POST", "h/:send".to_owned(), "text/plain", &b"hi"[..]),
        (202, "POST", "h/:send?messageTtlSeconds=300&excluded=a&excluded=b".to_owned(), "application/json", b"\"hi\""),
        (202, "POST", "h/connections/none/:send?messageTtlSeconds=0".to_owned(), "application/octet-stream", b"\0\xff"),
        (202, "POST", format!("h/users/u1/:send?{VERSION}"), "application/json", b"{}"),
        (
            202,
            "POST",
            "h/groups/g/:send?api-version=2021-10-01&filter=userId%20ne%20null".to_owned(),
            "text/plain",
            b"",
        ),
        (415, "POST", "h/:send".to_owned(), "text/html", b"hi"),
        (400, "POST", "h/:send".to_owned(), "application/json", b"{"),
        (400, "POST", "h/:send?messageTtlSeconds=301".to_owned(), "text/plain", b"hi"),
        (400, "POST", "h/:send?messageTtlSeconds=-1".to_owned(), "text/plain", b"hi"),
        (400, "POST", "h/groups/g/:send?filter=userId%20eq".to_owned(), "text/plain", b"hi"),
        (400, "POST", "h/:send?api-version=2020-01-01".to_owned(), "text/plain", b"hi"),
        (400, "POST", format!("h/:send?{VERSION}&{VERSION}"), "text/plain", b"hi"),
        (400, "POST", "1h/:send".to_owned(), "text/plain", b"hi"),
        (400, "POST", format!("h/groups/{long}/:send"), "text/plain", b"hi"),
        (400, "POST", "h/groups/%20/:send".to_owned(), "text/plain", b"hi"),
        (413, "POST", "h/:send".to_owned(), "text/plain", &[b'x'; 130 * 1_024]),
        (404, "POST", "h/:other".to_owned(), "text/plain", b""),
        (405, "GET", "h/:send".to_owned(), "text/plain", b""),
        (200, "HEAD", format!("h/connections/{id}"), "", b""),
        (404, "HEAD", "h/connections/none".to_owned(), "", b""),
        (200, "HEAD", "h/users/u1".to_owned(), "", b""),
        (404, "HEAD", "h/users/u2".to_owned(), "", b""),
        (404, "HEAD", "h/groups/g".to_owned(), "", b""),
        (200, "PUT", format!("h/groups/g/connections/{id}"), "", b""),
        (200, "HEAD", "H/groups/g".to_owned(), "", b""),
        (404, "HEAD", "h2/groups/g".to_owned(), "", b""),
        (404, "PUT", "h/groups/g/connections/none".to_owned(), "", b""),
        (204, "DELETE", format!("h/groups/g/connections/{id}"), "", b""),
        (204, "DELETE", "h/groups/g/connections/none".to_owned(), "", b""),
        (200, "PUT", "h/users/u1/groups/g".to_owned(), "", b""),
        (404, "PUT", "h/users/u2/groups/g".to_owned(), "", b""),
        (204, "DELETE", "h/users/u1/groups/g".to_owned(), "", b""),
        (204, "DELETE", "h/users/u2/groups".to_owned(), "", b""),
        (204, "DELETE", format!("h/connections/{id}/groups"), "", b""),
        (200, "POST", "h/:addToGroups".to_owned(), "application/json", br#"{"groups":["g"],"filter":"userId eq 'u'"}"#),
        (200, "POST", "h/:removeFromGroups".to_owned(), "application/json", br#"{"groups":["g"]}"#),
        (400, "POST", "h/:addToGroups".to_owned(), "application/json", br#"{"groups":[],"filter":"true"}"#),
        (400, "POST", "h/:addToGroups".to_owned(), "application/json", br#"{"groups":["g"],"filter":"x y"}"#),
        (415, "POST", "h/:addToGroups".to_owned(), "text/plain", br#"{"groups":["g"]}"#),
        (200, "GET", "h/groups/g/connections?top=1&maxpagesize=200".to_owned(), "", b""),
        (400, "GET", "h/groups/g/connections?maxpagesize=201".to_owned(), "", b""),
        (400, "GET", "h/groups/g/connections?continuationToken=x".to_owned(), "", b""),
        // A connection of another protocol has none of these permissions, nor can have them.
        (404, "PUT", format!("h/permissions/sendToGroup/connections/{id}"), "", b""),
        (204, "DELETE", "h/permissions/SENDTOGROUP/connections/none".to_owned(), "", b""),
        (404, "HEAD", "h/permissions/joinLeaveGroup/connections/none".to_owned(), "", b""),
        (400, "PUT", format!("h/permissions/sendToGroup/connections/{id}?targetName="), "", b""),
        (400, "PUT", format!("h/permissions/sendToGroup/connections/{id}?targetName={long}"), "", b""),
        (400, "POST", "h/:generateToken?minutesToExpire=0".to_owned(), "", b""),
        (400, "POST", "h/:generateToken?clientType=MQTT".to_owned(), "", b""),
        (400, "POST", "h/:generateToken?group=%20".to_owned(), "", b""),
        (204, "POST", "h/users/u2/:closeConnections?reason=r".to_owned(), "", b""),
        (204, "POST", "h/groups/g/:closeConnections".to_owned(), "", b""),
        (204, "DELETE", "h/connections/none?reason=r".to_owned(), "", b""),
        (204, "DELETE", format!("h/connections/{id}"), "", b""),
        (404, "HEAD", format!("h/connections/{id}"), "", b""),
    ] {
        let headers = [("Content-Type", kind)];
        let headers = if kind.is_empty() { &[][..] } else { &headers };
        let answer = call(&stack, method, &target, headers, body).await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        if status >= 400 && method != "HEAD" {
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(answer.header("x-ms-error-code"), body["code"].as_str(), "{method} {target}: {answer:?}");
            assert!(body["message"].is_string() && body["target"] == "Request", "{body}");
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_and_denied_counts_beside_roles_up_to_what_a_row_holds() {
    let stack = start().await;
    let (mut client, id) = client_of(&stack, "h", "u1", &["webpubsub.sendToGroups.room-*"]).await;
    let ask = async |method: &str, right: &str, group: &str| {
        let target = format!("h/permissions/{right}/connections/{id}?{group}");
        call(&stack, method, &target, &[], b"").await.status
    };
    for (status, method, right, group) in [
        (404, "HEAD", "joinLeaveGroup", ""),
        (200, "HEAD", "sendToGroup", "targetName=room-1"),
        (404, "HEAD", "sendToGroup", "targetName=hall"),
        (204, "DELETE", "sendToGroup", "targetName=room-1"),
        (404, "HEAD", "SENDTOGROUP", "targetName=room-1"),
        (200, "HEAD", "sendToGroup", "targetName=room-2"),
        (200, "PUT", "sendToGroup", "targetName=hall"),
        (200, "HEAD", "sendToGroup", "targetName=hall"),
        (404, "HEAD", "sendToGroup", "targetName=Hall"),
        (404, "HEAD", "sendToGroup", ""),
        // What is said of all is said of each, and what is said of one after that counts more.
        (200, "PUT", "sendToGroup", ""),
        (200, "HEAD", "sendToGroup", "targetName=room-1"),
        (204, "DELETE", "sendToGroup", "targetName=room-1"),
        (404, "HEAD", "sendToGroup", "targetName=room-1"),
        (200, "PUT", "joinLeaveGroup", "TargetName=hall"),
        (200, "HEAD", "joinLeaveGroup", "targetName=hall"),
        (400, "PUT", "sendToGroup", "targetName="),
        (400, "DELETE", "sendToGroup", "targetName=%20"),
        (400, "PUT", "sendToGroup", "targetName=a&targetName=b"),
        (400, "PUT", "invoke", "targetName=a"),
    ] {
        assert_eq!(ask(method, right, group).await, status, "{method} {right} {group}");
    }
    let answers = [("room-1", "Forbidden"), ("room-2", ""), ("hall", "")];
    for (number, (group, error)) in answers.into_iter().enumerate() {
        let frame = json!({"type": "sendToGroup", "group": group, "ackId": number, "dataType": "text", "data": "hi"});
        client.send(&wire::frame(0x81, frame.to_string().as_bytes())).await;
        let ack: Value = serde_json::from_str(&client.text().await).unwrap();
        assert_eq!(
            (&ack["ackId"], ack["error"]["name"].as_str().unwrap_or_default()),
            (&json!(number), error),
            "{ack}"
        );
    }
    // Of another hub it is not known.
    let elsewhere = call(&stack, "HEAD", &format!("h2/permissions/sendToGroup/connections/{id}"), &[], b"").await;
    assert_eq!(elsewhere.status, 404);
    let mut granted = Vec::new();
    for number in 0..20 {
        granted.push(ask("PUT", "sendToGroup", &format!("targetName={}{number}", "g".repeat(900))).await);
    }
    let taken = granted.iter().filter(|status| **status == 200).count();
    assert!((1..20).contains(&taken), "{granted:?}");
    assert!(granted[taken..].iter().all(|status| *status == 409), "{granted:?}");
    assert_eq!(ask("HEAD", "sendToGroup", "targetName=hall").await, 200, "what was granted before stays");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_chooses_among_clients_of_all_kinds_and_a_group_stays_the_group() {
    let stack = start().await;
    let (mut one, _) = connect(&stack, "?user=one&topic=h%2Fg").await;
    let (mut two, excluded) = connect(&stack, "?user=two&topic=h%2Fg&topic=h%2Fvip").await;
    let (mut nobody, _) = connect(&stack, "?topic=h%2Fg").await;
    let send = async |query: &str, body: &str| {
        let answer = call(&stack, "POST", &format!("h/groups/g/:send?{query}"), &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 202, "{query}: {}", answer.body);
    };
    send("filter='vip'%20in%20groups", "1").await;
    send("filter=userId%20eq%20null%20or%20length(groups)%20gt%201", "2").await;
    let told = two.json().await;
    assert_eq!((&told["topic"], &told["data"]), (&json!("h/g"), &json!(1)), "{told}");
    // What stands for a message that is not for the client has none.
    let data = async |client: &mut Client| loop {
        if let Some(data) = client.json().await.get("data") {
            break data.clone();
        }
    };
    assert_eq!(data(&mut two).await, 2);
    assert_eq!(data(&mut nobody).await, 2);
    send(&format!("excluded={excluded}&excluded=not%23one"), "3").await;
    send("", "4").await;
    for (client, expected) in [(&mut one, vec![3, 4]), (&mut two, vec![4]), (&mut nobody, vec![3, 4])] {
        for number in expected {
            assert_eq!(data(client).await, number);
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_page_by_page_and_each_page_leads_to_the_next() {
    let stack = start().await;
    let mut clients = Vec::new();
    for number in 0..5 {
        clients.push(connect(&stack, &format!("?user=u{number}&topic=h%2Fg%2F1")).await);
    }
    let list = async |target: String| {
        let answer = call(&stack, "GET", &target, &[], b"").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let (mut target, mut found, mut pages) =
        ("h/groups/g%2F1/connections?maxpagesize=2&top=4".to_owned(), Vec::new(), 0);
    loop {
        let page = list(target).await;
        found.extend(
            page["value"].as_array().unwrap().iter().map(|member| member["connectionId"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        let Some(next) = page["nextLink"].as_str() else { break };
        target = next.strip_prefix(&format!("{}/api/hubs/", stack.root())).unwrap().to_owned();
    }
    found.dedup();
    assert_eq!((pages, found.len()), (2, 4));
    let whole = list("h/groups/g%2F1/connections?maxpagesize=5".to_owned()).await;
    assert_eq!((whole["value"].as_array().unwrap().len(), &whole["nextLink"]), (5, &Value::Null));
    assert_eq!(whole["value"][0]["userId"].as_str().unwrap().len(), 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_token_opens_a_connection_in_its_hub_by_the_path_that_libraries_make() {
    let stack = start().await;
    let target =
        "Chat/:generateToken?userId=u1&role=webpubsub.joinLeaveGroup&group=first&minutesToExpire=5&clientType=default";
    let answer = call(&stack, "POST", target, &[], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = serde_json::from_str::<Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned();
    let root = stack.root().replacen("http", "ws", 1);
    let offers = [("Sec-WebSocket-Protocol", "json.webpubsub.azure.v1")];
    let mut sockets = Vec::new();
    for path in ["/client/hubs/chat?", "/client/?hub=CHAT&"] {
        let (answer, mut socket) = wire::handshake(&format!("{root}{path}access_token={token}"), &offers).await;
        assert_eq!(answer.status, 101, "{path}: {answer:?}");
        let connected: Value = serde_json::from_str(&socket.text().await).unwrap();
        assert_eq!((&connected["event"], &connected["userId"]), (&json!("connected"), &json!("u1")), "{connected}");
        sockets.push(socket);
    }
    let (answer, _) = wire::handshake(&format!("{root}/client/hubs/other?access_token={token}"), &offers).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
    assert_eq!(call(&stack, "HEAD", "chat/groups/first", &[], b"").await.status, 200);
    assert!(
        stack.log().contains(&format!("Endpoint={};AccessKey=<tidings-dev/webpubsub-key>;Version=1.0;", stack.root()))
    );
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_protocol_there_is_no_such_path_and_no_key() {
    let stack = Stack::start(&[("Protocols", "centrifuge")]).await;
    assert_eq!(stack.running().secrets().text("tidings-dev/webpubsub-key"), None);
    assert!(!stack.log().contains("AccessKey="), "{}", stack.log());
    let token = secret_token(&[b'x'; 64], &json!({"aud": format!("{}/api/hubs/h/:send", stack.api()), "exp": FAR}));
    let authorization = format!("Bearer {token}");
    for root in [stack.api(), stack.root()] {
        let url = Url::parse(&format!("{root}/api/hubs/h/:send"));
        let answer = wire::request("POST", &url, &[JSON, ("Authorization", &authorization)], b"1").await;
        assert!([403, 404].contains(&answer.status), "{root}: {answer:?}");
    }
    stack.stop().await;
}
