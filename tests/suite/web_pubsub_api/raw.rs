//! Clients without a subprotocol: they get bare data, and what they say is an event or a message.

use serde_json::{Value, json};
use tests::issuer::secret_token;
use tests::stack::Stack;
use tests::wire::{self, Answer, Frame, Socket};

use super::{FAR, JSON, VERSION, call, client_of, key, start};

const TEXT: (&str, &str) = ("Content-Type", "text/plain");
const BYTES: (&str, &str) = ("Content-Type", "application/octet-stream");

fn token(stack: &Stack, user: &str, roles: &[&str], groups: &[&str]) -> String {
    let audience = format!("{}/client/hubs/chat", stack.root());
    let claims = json!({"aud": audience, "exp": FAR, "sub": user, "role": roles, "webpubsub.group": groups});
    secret_token(key(stack).as_bytes(), &claims)
}

/// A handshake at the hub's path, with no subprotocol.
async fn asks(stack: &Stack, token: &str, query: &str) -> (Answer, Socket) {
    let address = format!("{}/client/hubs/chat?access_token={token}{query}", stack.root());
    wire::handshake(&address.replacen("http", "ws", 1), &[]).await
}

async fn connects(stack: &Stack, token: &str, query: &str) -> Socket {
    let (answer, socket) = asks(stack, token, query).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None), "{answer:?}");
    socket
}

async fn says(socket: &mut Socket, text: &str) {
    socket.send(&wire::frame(Frame::TEXT, text.as_bytes())).await;
}

/// Nothing else was said before the end.
async fn is_closed(mut socket: Socket) {
    let frame = socket.next().await.expect("a close frame");
    assert_eq!(frame.close_code(), Some(1_000), "{frame:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_send_comes_as_bare_data_and_nothing_else_does() {
    let stack = start().await;
    let mut client = connects(&stack, &token(&stack, "u1", &[], &["g"]), "").await;
    let members = call(&stack, "GET", &format!("chat/groups/g/connections?{VERSION}"), &[], b"").await;
    let members: Value = serde_json::from_str(&members.body).unwrap();
    let id = members["value"][0]["connectionId"].as_str().unwrap().trim_end_matches('=');
    for (to, kind, body, expected) in [
        ("/groups/g".to_owned(), TEXT, b"hi \"you\"".as_slice(), "hi \"you\""),
        ("/users/u1".to_owned(), JSON, b"{\"b\" : 1.0}", "{\"b\" : 1.0}"),
        (format!("/connections/{id}%3D"), JSON, b"\"a text\"", "\"a text\""),
        (String::new(), BYTES, &[1, 2, 3], "AQID"),
    ] {
        let sent = call(&stack, "POST", &format!("chat{to}/:send?{VERSION}"), &[kind], body).await;
        assert_eq!(sent.status, 202, "{to}: {}", sent.body);
        assert_eq!(client.text().await, expected, "{to}");
    }
    let closed = call(&stack, "POST", &format!("chat/users/u1/:closeConnections?{VERSION}&reason=why"), &[], b"").await;
    assert_eq!(closed.status, 204);
    is_closed(client).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_to_the_group_that_the_client_has_named_where_it_may_send_to_it() {
    let stack = start().await;
    let (mut member, id) = client_of(&stack, "chat", "ada", &[]).await;
    let joined =
        call(&stack, "PUT", &format!("chat/groups/room/connections/{}?{VERSION}", id.replace('=', "%3D")), &[], b"")
            .await;
    assert_eq!(joined.status, 200, "{}", joined.body);
    let may = token(&stack, "u1", &["webpubsub.sendToGroup.room"], &["room"]);
    let mut raw = connects(&stack, &token(&stack, "u2", &[], &["room"]), "").await;
    let mut sender = connects(&stack, &may, "&webpubsub_mode=sendToGroup&group=room").await;
    says(&mut sender, r#"{"type":"joinGroup","group":"g","ackId":1}"#).await;
    let text = r#"{"type":"joinGroup","group":"g","ackId":1}"#;
    let message: Value = serde_json::from_str(&member.text().await).unwrap();
    let expected = json!({"type": "message", "from": "group", "group": "room", "fromUserId": "u1", "dataType": "text", "data": text});
    assert_eq!(message, expected, "a frame is no command");
    assert_eq!((raw.text().await, sender.text().await), (text.to_owned(), text.to_owned()));

    // By the address that has no path, and without an echo.
    let address = format!("{}?hub=chat&protocol=webpubsub.raw&access_token={may}", stack.url());
    let address = format!("{address}&webpubsub_mode=sendToGroup&group=room&noEcho=true");
    let (answer, mut quiet) = wire::handshake(&address, &[]).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    says(&mut quiet, "one").await;
    assert_eq!(raw.text().await, "one");
    says(&mut sender, "two").await;
    assert_eq!(quiet.text().await, "two", "its own did not come");

    let mut may_not = connects(&stack, &token(&stack, "u3", &[], &[]), "&webpubsub_mode=sendToGroup&group=room").await;
    says(&mut may_not, "three").await;
    is_closed(may_not).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_an_event_and_where_nobody_handles_it_the_connection_ends() {
    let stack = start().await;
    let mut client = connects(&stack, &token(&stack, "u1", &[], &[]), "").await;
    says(&mut client, "hi").await;
    is_closed(client).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_and_who_asks_for_nonsense_is_not_let_in() {
    let stack =
        Stack::start(&[("Protocols", "webpubsub"), ("Authentication", "hs256"), ("AllowAnonymous", "true")]).await;
    let good = token(&stack, "u1", &[], &[]);
    let of_another_hub = json!({"aud": "https://x/client/hubs/other", "exp": FAR});
    let of_another_hub = secret_token(key(&stack).as_bytes(), &of_another_hub);
    for (token, query, status) in [
        ("", "", 403),
        ("a.b.c", "", 403),
        (&of_another_hub, "", 403),
        (&stack.token("u1", &["subscribe:**"]), "", 403),
        (&good, "&webpubsub_mode=fly", 400),
        (&good, "&webpubsub_mode=sendToGroup", 400),
        (&good, "&topic=a", 400),
    ] {
        let (answer, _) = asks(&stack, token, query).await;
        assert_eq!(answer.status, status, "{token} {query}");
    }
    stack.stop().await;
    let other = Stack::start(&[("Protocols", "centrifuge"), ("Authentication", "anonymous")]).await;
    let (answer, _) = wire::handshake(&format!("{}?hub=chat&protocol=webpubsub.raw", other.url()), &[]).await;
    assert_eq!(answer.status, 403, "it is not spoken");
    other.stop().await;
}
