//! Queues to test with.

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig, retry::RetryConfig};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use tidings::aws::Aws;
use tidings::queue::Queue;
use tidings_local_services::events::Events;
use tidings_local_services::json_api;
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::{Place, Sqs};
use tidings_local_stack as stack;
use tokio::net::TcpListener;

/// An SQS client of the server at `endpoint`.
#[must_use]
pub fn client(endpoint: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        // A busy machine answers late.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(crate::engine::http());
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// A queue of its own, served in this process.
#[derive(Debug)]
pub struct Served {
    client: aws_sdk_sqs::Client,
    endpoint: String,
    url: String,
}

impl Served {
    /// Serves a queue on a port of its own.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (region, account) = ("us-east-1".to_owned(), "123456789012".to_owned());
        let (name, arn) = ("served".to_owned(), format!("arn:aws:sqs:{region}:{account}:served"));
        let queue = stack::Queue { name, arn, settings: stack::QueueSettings::default() };
        let sqs = Sqs::new(Place { endpoint: endpoint.clone(), region, account }, [&queue]);
        let router = json_api::router(&sqs, &Secrets::default(), &Events::default(), &Sns::default());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { client: client(&endpoint), url: format!("{endpoint}/123456789012/served"), endpoint }
    }

    /// The queue as the functions use it.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Aws::local(&self.endpoint).queue(&self.url)
    }

    /// Takes no message larger than this from now on, in bytes.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn limit(&self, bytes: usize) {
        let name = QueueAttributeName::MaximumMessageSize;
        let request = self.client.set_queue_attributes().queue_url(&self.url).attributes(name, bytes.to_string());
        request.send().await.unwrap();
    }

    /// The bodies of what is in it now, at most ten messages.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn bodies(&self) -> Vec<String> {
        self.receive(0).await.into_iter().filter_map(|message| message.body).collect()
    }

    /// Takes out all messages that are in it now.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn take(&self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let messages = self.receive(600).await;
            if messages.is_empty() {
                return all;
            }
            all.extend(messages);
        }
    }

    /// Hands out messages, at most ten, that come again after `hidden` seconds unless they are deleted.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn lend(&self, hidden: i32) -> Vec<Message> {
        self.receive(hidden).await
    }

    /// Deletes a message that was handed out.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn delete(&self, message: &Message) {
        let receipt = message.receipt_handle.clone().unwrap_or_default();
        self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await.unwrap();
    }

    /// How many messages are in it, those that are delayed or handed out included.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn count(&self) -> u64 {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let counts = answer.attributes.unwrap_or_default();
        let counts = counts.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
        counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }

    /// Lets a message come again at once.
    ///
    /// # Panics
    /// When the queue does not answer.
    pub async fn give_back(&self, message: &Message) {
        let request = self.client.change_message_visibility().queue_url(&self.url).visibility_timeout(0);
        request.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    }

    async fn receive(&self, hidden: i32) -> Vec<Message> {
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let request = request.visibility_timeout(hidden).message_attribute_names("All");
        request.send().await.unwrap().messages.unwrap_or_default()
    }
}

/// A queue for what must not send anything: there is nothing at its address.
#[must_use]
pub fn nowhere() -> Queue {
    Aws::local("http://127.0.0.1:9").queue("http://127.0.0.1:9/123456789012/nowhere")
}
