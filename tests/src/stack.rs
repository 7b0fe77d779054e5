//! The whole thing: the gateway, the functions' own binaries and DynamoDB, from this repository's template.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use serde_json::Value;
use tidings::aws::Aws;
use tidings::lookout::Lookout;
use tidings::presence::Presence;
use tidings::registry::Registry;
use tidings_local_dev::{Addresses, DevOptions};

use crate::engine;

/// The template's secret.
const SECRET: &str = "tidings-dev/tokens";

/// A stack that runs until it is stopped: [`tidings_test::Stack`], called with the SDKs of AWS.
#[derive(Debug)]
pub struct Stack(tidings_test::Stack);

impl Deref for Stack {
    type Target = tidings_test::Stack;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it returned, or its error.
    pub payload: Value,
    /// Whether that is an error.
    pub failed: bool,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package has a parent folder").to_owned()
}

/// The command line, which Cargo builds for its own package's tests, next to this test.
///
/// # Panics
/// When it is not there: run the tests with `--workspace`.
#[must_use]
pub fn tidings() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program =
        test.parent().and_then(Path::parent).unwrap().join(format!("tidings{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not built: test with --workspace", program.display());
    program
}

impl Stack {
    /// Starts the stack on random ports, with these parameters of the template.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(parameters: &[(&str, &str)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::start_with(|options| options.parameters = parameters.collect()).await
    }

    /// Starts the stack of another template; a release build of its functions is asked for with the word `release`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_at(template: &Path, parameters: &[(&str, &str)], flags: &[&str]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::start_with(|options| {
            options.template = template.to_owned();
            options.release = flags.contains(&"release");
            options.parameters = parameters.collect();
        })
        .await
    }

    /// Starts the stack on random ports, with changed options.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(change: impl FnOnce(&mut DevOptions)) -> Self {
        Self(tidings_test::Stack::of(root().join("template.yaml")).with(change).start().await)
    }

    fn addresses(&self) -> &Addresses {
        &self.running().addresses
    }

    /// Where DynamoDB is.
    #[must_use]
    pub fn dynamodb(&self) -> &str {
        &self.addresses().dynamodb
    }

    /// The page for people.
    #[must_use]
    pub fn console(&self) -> &str {
        &self.addresses().console
    }

    /// The registry in the stack's table.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let client = engine::client(&self.addresses().dynamodb, engine::http());
        Registry::new(client, self.table())
    }

    /// The name of the stack's table.
    ///
    /// # Panics
    /// When the template has none.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.running().stack().tables["ConnectionsTable"].name
    }

    /// Every row of the stack's table.
    pub async fn rows(&self) -> Vec<engine::Row> {
        engine::rows(&engine::client(&self.addresses().dynamodb, engine::http()), self.table()).await
    }

    /// The rows of connections: those of notifications, logs and the rate limit outlive them.
    ///
    /// # Panics
    /// When a row has no key.
    pub async fn connection_rows(&self) -> Vec<engine::Row> {
        let mut rows = self.rows().await;
        let outlives = ["work#", "rate", "keep-alive", "head#", "log#", "lane#", "pres#", "told#", "outbox#"];
        rows.retain(|row| !outlives.iter().any(|kind| row["pk"].as_s().unwrap().starts_with(kind)));
        rows
    }

    /// Invokes a function with the AWS SDK.
    ///
    /// # Panics
    /// When it cannot be invoked; a function that fails is an answer.
    pub async fn invoke(&self, function: &str, payload: &str) -> Answer {
        self.invoking(function, payload).await.unwrap()
    }

    /// The same as a future of its own; a function that cannot be invoked is an error.
    pub fn invoking(
        &self,
        function: &str,
        payload: &str,
    ) -> impl Future<Output = Result<Answer, aws_sdk_lambda::Error>> + Send + use<> {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(&self.addresses().lambda)
            .http_client(engine::http());
        let client = aws_sdk_lambda::Client::from_conf(config.build());
        let request = client.invoke().function_name(function).payload(Blob::new(payload));
        async move {
            let answer = request.send().await?;
            let payload = answer.payload.unwrap().into_inner();
            Ok(Answer { payload: serde_json::from_slice(&payload).unwrap(), failed: answer.function_error.is_some() })
        }
    }

    /// Puts a message into one of the stack's queues.
    ///
    /// # Panics
    /// When the queue does not take it.
    pub async fn send(&self, queue: &str, body: &str) {
        let request = self.sqs().send_message().queue_url(self.queue_url(queue)).message_body(body);
        request.send().await.unwrap();
    }

    /// What is in one of the stack's queues now, at most ten messages.
    ///
    /// # Panics
    /// When the queue does not answer.
    pub async fn receive(&self, queue: &str) -> Vec<aws_sdk_sqs::types::Message> {
        let request = self.sqs().receive_message().queue_url(self.queue_url(queue)).max_number_of_messages(10);
        let request = request.message_attribute_names("All").visibility_timeout(0);
        let request = request.message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All);
        request.send().await.unwrap().messages.unwrap_or_default()
    }

    /// The registry in the stack's table, which keeps who is in the topics of these patterns as the stack's functions do.
    ///
    /// # Panics
    /// When the patterns are none.
    #[must_use]
    pub fn registry_with_presence(&self, patterns: &str) -> Registry {
        let queue = Aws::local(&self.addresses().sqs).queue(self.queue_url("NotificationQueue"));
        self.registry().with_lookout(Lookout::new(Presence::parse(patterns).unwrap(), false, queue))
    }

    /// How many messages of a queue are still to be done, those that somebody works on included.
    ///
    /// # Panics
    /// When the queue does not answer.
    pub async fn waiting(&self, queue: &str) -> u64 {
        let request = self.sqs().get_queue_attributes().queue_url(self.queue_url(queue));
        let answer = request.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All).send().await.unwrap();
        let counts = answer.attributes.unwrap_or_default();
        let counts = counts.iter().filter(|(name, _)| name.as_str().starts_with("ApproximateNumberOfMessages"));
        counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        crate::queues::client(&self.addresses().sqs)
    }

    fn queue_url(&self, queue: &str) -> String {
        format!("{}/123456789012/{}", self.addresses().sqs, self.queue_name(queue))
    }

    /// The name of a queue by its logical id, or its path in a nested stack.
    ///
    /// # Panics
    /// When the template has no such queue.
    #[must_use]
    pub fn queue_name(&self, queue: &str) -> &str {
        &self.running().stack().queues[queue].name
    }

    /// Where the Lambda Invoke API, SQS and Secrets Manager are.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.addresses().lambda
    }

    /// What tokens are signed with now.
    ///
    /// # Panics
    /// When the stack has no secret.
    pub async fn secret(&self) -> Vec<u8> {
        let answer = self.secrets().get_secret_value().secret_id(SECRET).send().await.unwrap();
        answer.secret_string.unwrap().into_bytes()
    }

    /// Replaces what tokens are signed with.
    ///
    /// # Panics
    /// When the stack has no secret, or this one is no text.
    pub async fn put_secret(&self, secret: &[u8]) {
        let text = std::str::from_utf8(secret).unwrap();
        self.secrets().put_secret_value().secret_id(SECRET).secret_string(text).send().await.unwrap();
    }

    fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(self.root())
            .http_client(engine::http());
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}
