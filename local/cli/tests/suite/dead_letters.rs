//! `tidings dead-letters` against real queues and a real function.

use std::process::{Command, Output};
use std::time::SystemTime;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::{DateTime, DateTimeFormat as Format};
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use serde_json::{Value, json};
use tidings_local_services::events::Events;
use tidings_local_services::json_api;
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::{Place, Sqs};
use tokio::net::TcpListener;

use crate::sqs::client;
use crate::support::TestHost;

/// Milliseconds since the epoch.
fn now() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

fn iso(milliseconds: i64) -> String {
    DateTime::from_millis(milliseconds).fmt(Format::DateTime).unwrap()
}

struct Gateway {
    endpoint: String,
    sqs: Client,
}

impl Gateway {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (region, account) = ("us-east-1".to_owned(), "123456789012".to_owned());
        let queues = Sqs::new(Place { endpoint: endpoint.clone(), region, account }, []);
        let host = TestHost::start(|_| {}).await;
        let router =
            json_api::router(&queues, &Secrets::default(), &Events::default(), &Sns::default()).merge(host.router());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let gateway = Self { sqs: client(&endpoint), endpoint };
        for name in ["DeadLetterQueue", "Orders"] {
            gateway.sqs.create_queue().queue_name(name).send().await.unwrap();
        }
        let fifo = gateway.sqs.create_queue().queue_name("Orders.fifo");
        fifo.attributes(QueueAttributeName::FifoQueue, "true").send().await.unwrap();
        gateway
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.endpoint)
    }

    async fn dead_letter(&self, body: &Value, reason: &str) {
        let text =
            |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
        let letter = self.sqs.send_message().queue_url(self.url("DeadLetterQueue")).message_body(body.to_string());
        let letter =
            letter.message_attributes("reason", text(reason)).message_attributes("source", text("aws/sqs/Orders"));
        letter.send().await.unwrap();
    }

    async fn bodies(&self, queue: &str) -> Vec<String> {
        self.messages(queue).await.into_iter().filter_map(|message| message.body).collect()
    }

    async fn messages(&self, queue: &str) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(self.url(queue)).max_number_of_messages(10);
        let receive = receive.message_attribute_names("All");
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        receive.visibility_timeout(0).send().await.unwrap().messages.unwrap_or_default()
    }

    async fn run(&self, action: &'static str) -> Output {
        self.run_with(action, &[]).await
    }

    async fn run_with(&self, action: &'static str, more: &[&'static str]) -> Output {
        let arguments = ["dead-letters", action, "--endpoint-url", &self.endpoint, "--function-name", "Echo"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).args(more);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_with_their_reason_and_stay_until_they_are_sent_again() {
    let gateway = Gateway::start().await;
    let arn = "arn:aws:sqs:us-east-1:123456789012:Orders";
    gateway
        .dead_letter(&json!({"eventSource": "aws:sqs", "eventSourceARN": arn, "body": "hello"}), "`to` is missing")
        .await;
    gateway.dead_letter(&json!({"EventSource": "aws:sns", "Sns": {}}), "rule 1").await;
    for _ in 0..2 {
        let listed = gateway.run("list").await;
        assert!(listed.status.success(), "{listed:?}");
        let lines = String::from_utf8(listed.stdout).unwrap();
        let letters: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let reasons: Vec<_> = letters.iter().map(|letter| &letter["reason"]).collect();
        assert_eq!(reasons, ["`to` is missing", "rule 1"]);
        assert_eq!(letters[0]["source"], "aws/sqs/Orders");
    }
    let sent = gateway.run("redrive").await;
    assert!(sent.status.success(), "{sent:?}");
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(
        said.contains("sent again to the queue Orders") && said.contains("sent again to the function Echo"),
        "{said}"
    );
    assert_eq!(gateway.bodies("Orders").await, ["hello"]);
    assert!(gateway.bodies("DeadLetterQueue").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_fails_again_stays_and_the_command_says_so() {
    let gateway = Gateway::start().await;
    gateway.dead_letter(&json!({"do": "error"}), "rule 1").await;
    let sent = gateway.run("redrive").await;
    assert_eq!(sent.status.code(), Some(1), "{sent:?}");
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(said.contains("stays, ") && said.contains("1 of 1 letters stay in the queue"), "{said}");
    assert_eq!(gateway.bodies("DeadLetterQueue").await.len(), 1);
}

/// A letter that was a message of a queue with this body.
fn of_queue(queue: &str, body: &Value) -> Value {
    let arn = format!("arn:aws:sqs:us-east-1:123456789012:{queue}");
    json!({"eventSource": "aws:sqs", "eventSourceARN": arn, "body": body.to_string()})
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_would_be_dropped_again_stay_until_they_are_given_time() {
    let gateway = Gateway::start().await;
    let (at, hour) = (now() - 7_200_000, 3_600_000);
    let notification = json!({"id": "n", "to": {"topic": "t"}, "data": 1, "at": at, "ttl": 60});
    let place = json!({"id": "0.2", "hops": 3, "at": at});
    let segment = json!({"notification": "n", "scope": "rest-1", "segment": place});
    gateway.dead_letter(&of_queue("Orders", &notification), "late").await;
    gateway.dead_letter(&of_queue("Orders", &segment), "endless").await;
    gateway.dead_letter(&notification, "2 connections did not get it").await;
    gateway.dead_letter(&json!({"detail-type": "t", "detail": {}, "time": iso(at)}), "rule 1").await;
    let sent = gateway.run("redrive").await;
    assert_eq!(sent.status.code(), Some(1), "{sent:?}");
    let said = String::from_utf8(sent.stderr).unwrap();
    assert_eq!(said.matches("would be dropped again; say with --ttl how long").count(), 4, "{said}");
    assert!(gateway.bodies("Orders").await.is_empty(), "nothing is sent");

    let sent = gateway.run_with("redrive", &["--ttl", "1h"]).await;
    assert!(sent.status.success(), "{sent:?}");
    assert!(gateway.bodies("DeadLetterQueue").await.is_empty());
    let lasts = |ttl: &Value| {
        let end = at + ttl.as_i64().unwrap() * 1_000;
        assert!((now() + hour - 60_000..=now() + hour + 1_000).contains(&end), "{ttl}");
    };
    for body in gateway.bodies("Orders").await {
        let body: Value = serde_json::from_str(&body).unwrap();
        match body.get("segment") {
            Some(segment) => {
                lasts(&segment["ttl"]);
                assert_eq!((&segment["id"], &body["scope"]), (&json!("0.2"), &json!("rest-1")));
                assert!(segment.get("hops").is_none(), "it begins again: {segment}");
            }
            None => {
                lasts(&body["ttl"]);
                assert_eq!((&body["at"], &body["id"]), (&json!(at), &json!("n")));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_back_with_what_says_who_sent_it() {
    let gateway = Gateway::start().await;
    for queue in ["Orders", "Orders.fifo"] {
        let mut letter = of_queue(queue, &json!({"to": "everyone", "data": 1}));
        letter["attributes"] = json!({"MessageGroupId": "g"});
        letter["messageAttributes"] = json!({"scope": {"stringValue": "rest-1", "dataType": "String"}});
        gateway.dead_letter(&letter, "rule 1").await;
        let sent = gateway.run("redrive").await;
        assert!(sent.status.success(), "{queue}: {sent:?}");
        let messages = gateway.messages(queue).await;
        let attributes = messages[0].message_attributes().unwrap();
        assert_eq!(attributes["scope"].string_value(), Some("rest-1"), "{queue}");
        let group = messages[0].attributes().unwrap().get(&MessageSystemAttributeName::MessageGroupId);
        assert_eq!(group.map(String::as_str), Some("g"), "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_to_come_again_stays() {
    let gateway = Gateway::start().await;
    let change = json!({"Keys": {"pk": {"S": "bad"}}, "SequenceNumber": "1"});
    gateway.dead_letter(&json!({"eventSource": "aws:dynamodb", "dynamodb": change}), "rule 1").await;
    let sent = gateway.run("redrive").await;
    assert_eq!(sent.status.code(), Some(1), "{sent:?}");
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(said.contains("stays, it failed for a passing reason"), "{said}");
    assert_eq!(gateway.bodies("DeadLetterQueue").await.len(), 1);
}
