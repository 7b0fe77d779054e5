//! SQS as its users see it: through the AWS SDK, and as a form over plain HTTP.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioExecutor;
use tidings_local_services::events::Events;
use tidings_local_services::json_api;
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::{Place, Sqs};
use tokio::net::TcpListener;

/// A client of the API at `endpoint`.
pub(crate) fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

struct Api {
    endpoint: String,
    client: Client,
    sqs: Sqs,
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let place =
            Place { endpoint: endpoint.clone(), region: "us-east-1".to_owned(), account: "123456789012".to_owned() };
        let sqs = Sqs::new(place, []);
        let router = json_api::router(&sqs, &Secrets::default(), &Events::default(), &Sns::default());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { client: client(&endpoint), endpoint, sqs }
    }

    async fn queue(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let attributes: HashMap<_, _> =
            attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let call = self.client.create_queue().queue_name(name).set_attributes(Some(attributes));
        call.send().await.unwrap().queue_url.unwrap()
    }

    async fn send(&self, queue: &str, body: &str) {
        self.client.send_message().queue_url(queue).message_body(body).send().await.unwrap();
    }

    async fn form(&self, path: &str, form: &str) -> (u16, String) {
        let mut request = Request::post(format!("{}{path}", self.endpoint));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let (head, body) = http.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }
}

/// The code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(result: Result<T, SdkError<E>>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_goes_through_with_all_that_it_carries() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[]).await;
    assert_eq!(queue, format!("{}/123456789012/orders", api.endpoint));
    let text = MessageAttributeValue::builder().data_type("String").string_value("v").build().unwrap();
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255])).build().unwrap();
    // The SDK verifies the checksums of both answers.
    let sent = api.client.send_message().queue_url(&queue).message_body("hello 😀").message_group_id("fair");
    let sent = sent.message_attributes("text", text.clone()).message_attributes("bytes", bytes.clone());
    let sent = sent.send().await.unwrap();
    assert!(sent.md5_of_message_attributes().is_some());

    let received = api.client.receive_message().queue_url(&queue).message_attribute_names("All");
    let received = received.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
    let [message] = received.messages() else { panic!("{received:?}") };
    assert_eq!((message.body(), message.message_id()), (Some("hello 😀"), sent.message_id()));
    assert_eq!(message.message_attributes().unwrap()["text"], text);
    assert_eq!(message.message_attributes().unwrap()["bytes"], bytes);
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    let attributes = message.attributes().unwrap();
    assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "fair");
    assert!(attributes.contains_key(&MessageSystemAttributeName::SentTimestamp));

    let receipt = message.receipt_handle().unwrap();
    api.client.delete_message().queue_url(&queue).receipt_handle(receipt).send().await.unwrap();
    let names = [QueueAttributeName::All];
    let attributes = api.client.get_queue_attributes().queue_url(&queue).set_attribute_names(Some(names.into()));
    let attributes = attributes.send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::QueueArn], "arn:aws:sqs:us-east-1:123456789012:orders");
    assert_eq!(attributes[&QueueAttributeName::ApproximateNumberOfMessagesNotVisible], "0");
}

#[tokio::test]
async fn a_long_poll_ends_as_soon_as_a_message_is_there() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[]).await;
    let started = Instant::now();
    let receive = api.client.receive_message().queue_url(&queue).wait_time_seconds(20).send();
    let (received, ()) = tokio::join!(receive, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        api.send(&queue, "a").await;
    });
    assert_eq!(received.unwrap().messages().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));

    // The time of a delayed or hidden message ends a wait too.
    api.client.send_message().queue_url(&queue).message_body("late").delay_seconds(1).send().await.unwrap();
    let received = api.client.receive_message().queue_url(&queue).wait_time_seconds(20).send().await.unwrap();
    assert_eq!(received.messages()[0].body(), Some("late"));
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_stop_ends_every_long_poll() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[]).await;
    let started = Instant::now();
    let receive = api.client.receive_message().queue_url(&queue).wait_time_seconds(20).send();
    let (received, ()) = tokio::join!(receive, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        api.sqs.stop();
    });
    assert!(received.unwrap().messages().is_empty());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn batches_tell_of_each_entry() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[]).await;
    let entry =
        |id: &str, body: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().unwrap();
    let entries = vec![entry("a", "1"), entry("b", "\u{1}"), entry("c", "3")];
    let sent = api.client.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(sent.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!((sent.failed()[0].id(), sent.failed()[0].code()), ("b", "InvalidMessageContents"));

    let received = api.client.receive_message().queue_url(&queue).max_number_of_messages(10).send().await.unwrap();
    let receipts: Vec<_> = received.messages().iter().map(|message| message.receipt_handle().unwrap()).collect();
    let change = |receipt: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("x").receipt_handle(receipt);
        entry.visibility_timeout(0).build().unwrap()
    };
    let changed = api.client.change_message_visibility_batch().queue_url(&queue).entries(change(receipts[0]));
    assert_eq!(changed.send().await.unwrap().successful().len(), 1);
    let delete = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().unwrap()
    };
    let deleted = api.client.delete_message_batch().queue_url(&queue);
    let deleted = deleted.entries(delete("x", receipts[1])).entries(delete("y", "nonsense")).send().await.unwrap();
    assert_eq!((deleted.successful()[0].id(), deleted.failed()[0].code()), ("x", "ReceiptHandleIsInvalid"));

    let same = api.client.send_message_batch().queue_url(&queue).entries(entry("a", "1")).entries(entry("a", "2"));
    assert_eq!(code(same.send().await), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct");
}

#[tokio::test]
async fn queues_are_found_changed_purged_and_deleted() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[(QueueAttributeName::VisibilityTimeout, "45")]).await;
    api.queue("orders", &[(QueueAttributeName::VisibilityTimeout, "45")]).await;
    assert_eq!(code(api.client.create_queue().queue_name("orders").send().await), "QueueAlreadyExists");
    api.queue("other", &[]).await;
    let found = api.client.get_queue_url().queue_name("orders").send().await.unwrap();
    assert_eq!(found.queue_url(), Some(queue.as_str()));
    let listed = api.client.list_queues().queue_name_prefix("or").send().await.unwrap();
    assert_eq!(listed.queue_urls(), std::slice::from_ref(&queue));

    api.send(&queue, "a").await;
    api.client.purge_queue().queue_url(&queue).send().await.unwrap();
    assert!(api.client.receive_message().queue_url(&queue).send().await.unwrap().messages().is_empty());

    let set = api.client.set_queue_attributes().queue_url(&queue);
    set.attributes(QueueAttributeName::VisibilityTimeout, "7").send().await.unwrap();
    let name = QueueAttributeName::VisibilityTimeout;
    let attributes = api.client.get_queue_attributes().queue_url(&queue).attribute_names(name.clone()).send().await;
    assert_eq!(attributes.unwrap().attributes.unwrap(), HashMap::from([(name, "7".to_owned())]));

    api.client.delete_queue().queue_url(&queue).send().await.unwrap();
    let gone = api.client.send_message().queue_url(&queue).message_body("a").send().await;
    assert!(gone.as_ref().unwrap_err().as_service_error().unwrap().is_queue_does_not_exist());
    assert_eq!(code(gone), "AWS.SimpleQueueService.NonExistentQueue");
}

#[tokio::test]
async fn what_is_received_too_often_is_in_the_dead_letter_queue() {
    let api = Api::start().await;
    let dead = api.queue("dead", &[]).await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":"2"}"#;
    let queue = api.queue("orders", &[(QueueAttributeName::RedrivePolicy, policy)]).await;
    api.send(&queue, "poison").await;
    for _ in 0..2 {
        let received = api.client.receive_message().queue_url(&queue).visibility_timeout(0).send().await.unwrap();
        assert_eq!(received.messages().len(), 1);
    }
    assert!(api.client.receive_message().queue_url(&queue).send().await.unwrap().messages().is_empty());
    let received = api.client.receive_message().queue_url(&dead);
    let received = received.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
    let origin = &received.messages()[0].attributes().unwrap()[&MessageSystemAttributeName::DeadLetterQueueSourceArn];
    assert_eq!(origin, "arn:aws:sqs:us-east-1:123456789012:orders");
    let sources = api.client.list_dead_letter_source_queues().queue_url(&dead).send().await.unwrap();
    assert_eq!(sources.queue_urls(), [queue]);
}

#[tokio::test]
async fn a_fifo_queue_keeps_groups_in_order_and_drops_duplicates() {
    let api = Api::start().await;
    let queue = api.queue("orders.fifo", &[(QueueAttributeName::FifoQueue, "true")]).await;
    let send = |body: &str, duplicate: &str| {
        let call = api.client.send_message().queue_url(&queue).message_body(body).message_group_id("g");
        call.message_deduplication_id(duplicate).send()
    };
    let first = send("1", "a").await.unwrap();
    assert_eq!(send("1", "a").await.unwrap().sequence_number(), first.sequence_number());
    send("2", "b").await.unwrap();
    let received = api.client.receive_message().queue_url(&queue).max_number_of_messages(10).send().await.unwrap();
    assert_eq!(received.messages().iter().filter_map(|message| message.body()).collect::<Vec<_>>(), ["1", "2"]);
    let without_group = api.client.send_message().queue_url(&queue).message_body("3").send().await;
    assert_eq!(code(without_group), "MissingParameter");
}

#[tokio::test]
async fn curl_can_send_a_form() {
    let api = Api::start().await;
    let queue = api.queue("orders", &[]).await;
    let (status, xml) = api.form("/123456789012/orders", "Action=SendMessage&MessageBody=a%3Cb").await;
    assert!(status == 200 && xml.contains("<MessageId>"), "{xml}");
    let form = format!("Action=ReceiveMessage&AttributeName.1=All&QueueUrl={queue}");
    let (status, xml) = api.form("/", &form).await;
    assert!(status == 200 && xml.contains("<Body>a&lt;b</Body>"), "{xml}");
    assert!(xml.contains("<Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute>"), "{xml}");
    let (status, xml) = api.form("/123456789012/nobody", "Action=PurgeQueue").await;
    assert!(status == 400 && xml.contains("<Code>AWS.SimpleQueueService.NonExistentQueue</Code>"), "{xml}");
    let (status, xml) = api.form("/", "Action=AddPermission").await;
    assert!(status == 400 && xml.contains("AddPermission is not emulated locally."), "{xml}");
}
