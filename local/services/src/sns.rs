//! SNS in this process: topics of the template, behind the API that SDKs and the AWS command line speak.
//!
//! `operations` are the API's calls, `query` their form on the wire, `message` makes of what was published what subscribers
//! get. Who gets a message is [`Published`] and goes to whoever delivers: the functions' host, which knows functions and
//! queues.
//!
//! What is *not* here: subscribers other than functions and queues, subscriptions that are made while it runs, permissions,
//! encryption, delivery status, data protection, and archives of FIFO topics.

mod message;
mod operations;
mod query;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

use message::Accepted;
use tidings_local_stack::{Subscriber, Subscription, Topic};

pub use message::Published;
pub use operations::Refusal;
pub(crate) use query::{answer, is_meant};

/// How long a FIFO topic knows a deduplication id (SNS Developer Guide, "Message deduplication for FIFO topics").
const DEDUPLICATION: Duration = Duration::from_secs(5 * 60);

/// All topics. Clones share them.
#[derive(Debug, Clone)]
pub struct Sns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    region: String,
    account: String,
    /// By ARN.
    topics: Mutex<IndexMap<String, State>>,
    subscriptions: Vec<Arc<Subscribed>>,
    published: UnboundedSender<Published>,
}

/// A subscription with what SNS calls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed {
    /// The topic's ARN with something random behind it.
    pub arn: String,
    /// What the template says.
    pub subscription: Subscription,
}

#[derive(Debug)]
struct State {
    topic: Topic,
    /// The last sequence number of a FIFO topic.
    sequence: u128,
    /// What became of the messages with these deduplication ids.
    recent: HashMap<String, (Instant, Accepted)>,
}

impl State {
    fn new(topic: Topic) -> Self {
        // Twenty digits, as AWS has them.
        Self { topic, sequence: 10_000_000_000_000_000_000, recent: HashMap::new() }
    }
}

impl Default for Sns {
    /// Without topics.
    fn default() -> Self {
        Self::new("us-east-1", "123456789012", [], []).0
    }
}

impl Sns {
    /// The topics and subscriptions of a template, and where what is published comes out.
    #[must_use]
    pub fn new<'a>(
        region: &str,
        account: &str,
        topics: impl IntoIterator<Item = &'a Topic>,
        subscriptions: impl IntoIterator<Item = &'a Subscription>,
    ) -> (Self, UnboundedReceiver<Published>) {
        let (published, receiver) = unbounded_channel();
        let topics = topics.into_iter().map(|topic| (topic.arn.clone(), State::new(topic.clone())));
        let subscriptions = subscriptions.into_iter().map(|subscription| {
            let arn = format!("{}:{}", subscription.topic, Uuid::new_v4());
            Arc::new(Subscribed { arn, subscription: subscription.clone() })
        });
        let shared = Shared {
            region: region.to_owned(),
            account: account.to_owned(),
            topics: Mutex::new(topics.collect()),
            subscriptions: subscriptions.collect(),
            published,
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Publishes a text to the topic of this ARN; what FIFO topics need beside it is made up.
    ///
    /// # Errors
    /// When there is no such topic, or it does not take the message.
    pub fn publish(&self, arn: &str, message: &str) -> Result<(), Refusal> {
        let mut input = serde_json::json!({"TopicArn": arn, "Message": message});
        if arn.ends_with(".fifo") {
            input["MessageGroupId"] = "default".into();
            input["MessageDeduplicationId"] = Uuid::new_v4().to_string().into();
        }
        operations::publish(self, arn, &input).map(drop)
    }

    /// The names of all topics.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.topics().values().map(|state| state.topic.name.clone()).collect()
    }

    /// The ARN of a topic, by its name or its ARN.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<String> {
        let topics = self.topics();
        let found = topics.values().find(|state| state.topic.name == topic || state.topic.arn == topic);
        found.map(|state| state.topic.arn.clone())
    }

    /// Adds a topic; one that exists is left as it is.
    fn create(&self, name: &str, content_based_deduplication: bool) -> String {
        let arn = format!("arn:aws:sns:{}:{}:{name}", self.0.region, self.0.account);
        let (name, fifo) = (name.to_owned(), name.ends_with(".fifo"));
        let topic = Topic { name, arn: arn.clone(), fifo, content_based_deduplication };
        self.topics().entry(arn.clone()).or_insert_with(|| State::new(topic));
        arn
    }

    /// Who is subscribed to the topic of this ARN.
    fn subscribers<'a>(&'a self, arn: &'a str) -> impl Iterator<Item = &'a Arc<Subscribed>> {
        self.0.subscriptions.iter().filter(move |subscribed| subscribed.subscription.topic == arn)
    }

    fn send(&self, published: Published) {
        // Whoever delivers has gone: everything is about to end.
        let _ = self.0.published.send(published);
    }

    fn topics(&self) -> MutexGuard<'_, IndexMap<String, State>> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscribed {
    /// `lambda` or `sqs`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self.subscription.subscriber {
            Subscriber::Function { .. } => "lambda",
            Subscriber::Queue { .. } => "sqs",
        }
    }
}
