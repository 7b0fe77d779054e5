//! What clients of Azure Web PubSub are answered, and what it costs.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::queues::Served;
use tests::standin::{Behaviour, Standin};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, Registry, WebPubSub};
use tidings::web_pubsub::Right;
use tidings::{Caller, ConnectionId, Context, Error};
use tidings_default::{Commands, Frame, Function, Reply, Services};

const ID: &str = "c";
const ROLES: &str = r#"["webpubsub.sendToGroups.a*","webpubsub.joinLeaveGroup.a"]"#;

async fn echo(cx: Context<()>, body: serde_json::Map<String, Value>) -> Result<Reply, Error> {
    match body.get("room") {
        Some(room) if room == "full" => Err(Error::new("RoomIsFull", "take another one")),
        Some(room) if room == "broken" => Err(Error::internal(std::io::Error::other("no"))),
        _ => Ok(Reply::with(json!({"user": cx.user(), "got": body}))),
    }
}

async fn silent(_: Context<()>, (): ()) -> Result<(), Error> {
    Ok(())
}

async fn told(_: Context<()>, body: serde_json::Map<String, Value>) -> Result<Reply, Error> {
    match body["data"].as_str() {
        Some("no") => Err(Error::new("No", "not that")),
        Some("nothing") => Ok(Reply::default()),
        Some("much") => Ok(Reply::with("m".repeat(40_000).into())),
        _ => Ok(Reply::with(json!({"got": body}))),
    }
}

struct Given {
    commands: Commands<()>,
    registry: Registry,
    standin: Standin,
    queue: Served,
}

impl Given {
    async fn new() -> Self {
        let (table, standin, queue) =
            (Engine::Embedded.table().await.unwrap(), Standin::start().await, Served::start().await);
        standin.add(ID, Behaviour::Takes);
        let registry = Registry::new(table.client(), &table.name);
        let services = Services::new(registry.clone(), standin.client(Duration::from_secs(5)), queue.queue());
        let commands =
            Function::new().on("echo", echo).on("silent", silent).on("message", told).core(services).await.unwrap();
        let mut connection = Connection::new(ConnectionId::parse(ID).unwrap());
        connection.protocol = Protocol::WebPubSubReliable;
        connection.connected_at = tests::now();
        let client = serde_json::from_str(&format!(r#"{{"hub":"h","roles":{ROLES}}}"#)).unwrap();
        connection.web_pubsub = Some(WebPubSub::new(client));
        registry.connect(&connection).await.unwrap();
        Self { commands, registry, standin, queue }
    }

    /// What a frame is answered; `Null` for nothing.
    async fn ask_text(&self, text: &str) -> Value {
        let answer = self.answer("webpubsub.reliable", text).await;
        answer.map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default()
    }

    async fn answer(&self, protocol: &str, text: &str) -> Option<String> {
        let said = format!(r#"{{"hub":"h","roles":{ROLES}}}"#);
        let said = |name: &str| match name {
            "principalId" | "user" => Some("alice"),
            "protocol" => Some(protocol),
            "webPubSub" => Some(said.as_str()),
            _ => None,
        };
        let mut frame = Frame::new(Caller::read(ConnectionId::parse(ID).unwrap(), said).unwrap(), text);
        (frame.message, frame.at) = ("m".to_owned(), tests::now());
        self.commands.handle(frame).await.unwrap()
    }

    async fn ask(&self, frame: Value) -> Value {
        self.ask_text(&frame.to_string()).await
    }

    async fn error(&self, frame: Value) -> String {
        let answer = self.ask(frame).await;
        assert_eq!((&answer["type"], &answer["success"]), (&json!("ack"), &json!(false)), "{answer}");
        answer["error"]["name"].as_str().unwrap().to_owned()
    }

    fn posted(&self) -> Vec<Value> {
        self.standin.used(ID).messages.iter().map(|message| serde_json::from_slice(message).unwrap()).collect()
    }
}

#[tokio::test]
async fn an_event_is_an_action_whose_answer_comes_as_a_message_before_the_ack() {
    let given = Given::new().await;
    let done = given.ask(json!({"type": "event", "event": "echo", "ackId": 0, "data": {"room": "a"}})).await;
    assert_eq!(done, json!({"type": "ack", "ackId": 0, "success": true}), "0 is a number");
    let data = json!({"user": "alice", "got": {"room": "a"}});
    assert_eq!(given.posted(), [json!({"type": "message", "from": "server", "dataType": "json", "data": data})]);
    let text = json!({"type": "event", "event": "echo", "ackId": 1, "dataType": "text", "data": "hi"});
    assert_eq!(given.ask(text).await["success"], true);
    assert_eq!(given.posted()[1]["data"]["got"], json!({"data": "hi", "dataType": "text"}));
    let unasked = given.ask(json!({"type": "event", "event": "echo", "data": 1})).await;
    assert_eq!((unasked, given.posted().len()), (Value::Null, 3), "nobody waits for an ack");
}

#[tokio::test]
async fn a_frame_of_a_client_without_a_subprotocol_is_the_event_message_and_is_answered_with_bare_data() {
    let given = Given::new().await;
    let raw = async |text: &str| given.answer("webpubsub.raw", text).await;
    let command = r#"{"type":"ping"}"#;
    let got = json!({"got": {"data": command, "dataType": "text"}});
    assert_eq!(raw(command).await, Some(got.to_string()), "it is no command");
    assert_eq!(raw("nothing").await, None);
    assert_eq!(raw("much").await, None, "it is too long for the route's response");
    assert_eq!(given.posted(), [json!("m".repeat(40_000))]);
    assert!(!given.standin.used(ID).is_closed);
    assert_eq!(raw("no").await, None);
    assert!(given.standin.used(ID).is_closed, "there are no words for what fails");
    assert_eq!(given.posted().len(), 1, "and none are said");
}

#[tokio::test]
async fn an_event_that_fails_is_answered_with_its_reason_and_the_connection_stays() {
    let given = Given::new().await;
    let event = |name: &str, data: Value| json!({"type": "event", "event": name, "ackId": 1, "data": data});
    assert_eq!(given.error(event("nothing", json!(1))).await, "InternalServerError");
    assert_eq!(given.error(event("subscribe", json!(1))).await, "InternalServerError", "ours are no events");
    assert_eq!(given.error(event("echo", json!({"room": "full"}))).await, "RoomIsFull");
    assert_eq!(given.error(event("echo", json!({"room": "broken"}))).await, "InternalServerError");
    assert_eq!(given.error(event("silent", json!({"more": 1}))).await, "BadRequest");
    assert!(!given.standin.used(ID).is_closed);
    assert_eq!(given.ask(event("echo", json!({}))).await["success"], true, "a failure is no duplicate");
}

#[tokio::test]
async fn what_was_done_is_a_duplicate_when_it_comes_again_and_only_numbered_commands_are_written_down() {
    let given = Given::new().await;
    let ack_id = 9_223_372_036_854_775_806_u64;
    let send = json!({"type": "sendToGroup", "group": "ab", "ackId": ack_id, "noEcho": true, "data": 1});
    assert_eq!(given.ask(send.clone()).await, json!({"type": "ack", "ackId": ack_id, "success": true}));
    assert_eq!(given.error(send).await, "Duplicate");
    let bodies = given.queue.bodies().await;
    let sent: Vec<Value> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["to"], &sent[0]["except"]), (&json!({"topic": "h/ab"}), &json!([ID])));
    assert_eq!((&sent[0]["from"], &sent[0]["data"]), (&json!({"user": "alice"}), &json!(1)));

    let before = given.registry.consumed();
    given.ask(json!({"type": "sendToGroup", "group": "ab", "data": 2})).await;
    let after = given.registry.consumed();
    assert!((after.write - before.write).abs() < f64::EPSILON, "nothing is written without a number");
    assert!((after.read - before.read - 1.0).abs() < f64::EPSILON, "what it may is read");
}

#[tokio::test]
async fn the_last_sixty_four_numbers_are_known_and_there_is_an_end_to_them() {
    let given = Given::new().await;
    let event = |number: u64| json!({"type": "event", "event": "silent", "ackId": number, "data": {}});
    for number in 0..200 {
        assert_eq!(given.ask(event(number)).await["success"], true, "{number}");
    }
    for number in [136, 150, 199] {
        assert_eq!(given.error(event(number)).await, "Duplicate", "{number}");
    }
    assert_eq!(given.ask(event(0)).await["success"], true, "it was too long ago");
    let id = ConnectionId::parse(ID).unwrap();
    assert!(given.registry.connection(&id).await.unwrap().unwrap().web_pubsub.unwrap().acked.len() <= 128);
}

#[tokio::test]
async fn roles_permit_groups_and_what_servers_say_later_counts_first() {
    let given = Given::new().await;
    let send = |group: &str, number: u64| json!({"type": "sendToGroup", "group": group, "ackId": number, "data": 1});
    let join = |group: &str, number: u64| json!({"type": "joinGroup", "group": group, "ackId": number});
    assert_eq!(given.ask(join("a", 1)).await["success"], true);
    assert_eq!(given.error(join("ab", 2)).await, "Forbidden");
    assert_eq!(given.error(send("b", 3)).await, "Forbidden");
    let id = ConnectionId::parse(ID).unwrap();
    for (right, group, is_granted) in [
        (Right::SendToGroup, Some("b"), true),
        (Right::SendToGroup, Some("ab"), false),
        (Right::JoinLeaveGroup, None, true),
    ] {
        assert!(given.registry.grant(&id, right, group, is_granted).await.unwrap());
    }
    assert_eq!(given.ask(send("b", 4)).await["success"], true);
    assert_eq!(given.error(send("ab", 5)).await, "Forbidden", "a denial beats a pattern");
    assert_eq!(given.ask(join("anything", 6)).await["success"], true);
    assert_eq!(given.ask(json!({"type": "leaveGroup", "group": "a", "ackId": 7})).await["success"], true);
    let topics = given.registry.connection(&id).await.unwrap().unwrap().topics;
    assert_eq!(topics, [tidings::Topic::parse("h/anything").unwrap()]);
    assert_eq!(given.error(join(" ", 8)).await, "BadRequest");
    let nobody = ConnectionId::parse("nobody").unwrap();
    assert!(!given.registry.grant(&nobody, Right::SendToGroup, None, true).await.unwrap());
}

#[tokio::test]
async fn what_is_not_here_is_said_to_be_not_supported_and_nothing_waits_for_ever() {
    let given = Given::new().await;
    let invoked =
        given.ask(json!({"type": "invoke", "invocationId": "1", "target": "event", "event": "e", "data": 1})).await;
    assert_eq!((&invoked["type"], &invoked["error"]["name"]), (&json!("invokeResponse"), &json!("NotSupported")));
    let stream = json!({"type": "sendToGroup", "group": "ab", "stream": {"streamId": "s"}});
    let closed = given.ask(stream).await;
    assert_eq!((&closed["type"], &closed["streamId"]), (&json!("streamClosed"), &json!("s")));
    assert_eq!(given.error(json!({"type": "setGroupState", "group": "a", "ackId": 1})).await, "NotSupported");
    assert_eq!(given.ask(json!({"type": "ping", "id": 1})).await, json!({"type": "pong"}));
    assert_eq!(given.ask(json!({"type": "sequenceAck", "sequenceId": 5})).await, Value::Null);
    assert!(given.posted().is_empty());
}

#[tokio::test]
async fn what_is_no_command_and_who_is_not_registered_end_with_a_reason_that_has_a_type() {
    for text in ["x", "{}", r#"{"action":"subscribe","topic":"h/a"}"#, r#"{"type":"fly"}"#] {
        let given = Given::new().await;
        assert_eq!(given.ask_text(text).await, Value::Null);
        let posted = given.posted();
        assert_eq!((posted.len(), &posted[0]["event"]), (1, &json!("disconnected")), "{text}");
        assert!(given.standin.used(ID).is_closed, "{text}");
    }
    let given = Given::new().await;
    let id = ConnectionId::parse(ID).unwrap();
    given.registry.disconnect(&id, &id.first_socket()).await.unwrap();
    assert_eq!(given.ask(json!({"type": "joinGroup", "group": "a", "ackId": 1})).await, Value::Null);
    assert_eq!(given.posted()[0]["event"], "disconnected");
}
