//! `tidings dead-letters` against real queues and a real function.

use std::process::{Command, Output};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use serde_json::{Value, json};
use tidings_local::sqs::{Place, Sqs, router};
use tokio::net::TcpListener;

use crate::sqs::client;
use crate::support::TestHost;

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
        let router = router(&queues).merge(host.router());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let gateway = Self { sqs: client(&endpoint), endpoint };
        for name in ["DeadLetterQueue", "Orders"] {
            gateway.sqs.create_queue().queue_name(name).send().await.unwrap();
        }
        gateway
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.endpoint)
    }

    async fn bury(&self, body: &Value, reason: &str) {
        let text =
            |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().unwrap();
        let letter = self.sqs.send_message().queue_url(self.url("DeadLetterQueue")).message_body(body.to_string());
        let letter =
            letter.message_attributes("reason", text(reason)).message_attributes("source", text("aws/sqs/Orders"));
        letter.send().await.unwrap();
    }

    async fn bodies(&self, queue: &str) -> Vec<String> {
        let receive = self.sqs.receive_message().queue_url(self.url(queue)).max_number_of_messages(10);
        let messages = receive.visibility_timeout(0).send().await.unwrap().messages.unwrap_or_default();
        messages.into_iter().filter_map(|message| message.body).collect()
    }

    async fn run(&self, action: &'static str) -> Output {
        let arguments = ["dead-letters", action, "--endpoint-url", &self.endpoint, "--function-name", "Echo"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_with_their_reason_and_stay_until_they_are_sent_again() {
    let gateway = Gateway::start().await;
    let arn = "arn:aws:sqs:us-east-1:123456789012:Orders";
    gateway.bury(&json!({"eventSource": "aws:sqs", "eventSourceARN": arn, "body": "hello"}), "`to` is missing").await;
    gateway.bury(&json!({"EventSource": "aws:sns", "Sns": {}}), "rule 1").await;
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
    gateway.bury(&json!({"do": "error"}), "rule 1").await;
    let sent = gateway.run("redrive").await;
    assert_eq!(sent.status.code(), Some(1), "{sent:?}");
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(said.contains("stays, ") && said.contains("1 of 1 letters stay in the queue"), "{said}");
    assert_eq!(gateway.bodies("DeadLetterQueue").await.len(), 1);
}
