//! Topics of SNS: what is published goes to functions, which nobody waits for, and to queues.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::{Asynchronous, Logs, Names};
use tidings_local_observe::{Event, Observer, Text, TopicMessage};
use tidings_local_services::sns::{Published, Subscribed};
use tidings_local_services::sqs::Sqs;
use tidings_local_stack::{Stack, Subscriber};

/// Topics whose messages are delivered until they are stopped.
#[derive(Debug)]
pub struct Topics {
    task: JoinHandle<()>,
}

/// What delivers, and tells of it.
#[derive(Debug)]
struct Delivery {
    names: Names,
    functions: Arc<Asynchronous>,
    sqs: Sqs,
    observer: Observer,
    logs: Arc<Logs>,
}

impl Topics {
    /// Delivers what is published, one message after the other.
    #[must_use]
    pub fn start(
        stack: &Stack,
        published: UnboundedReceiver<Published>,
        functions: &Arc<Asynchronous>,
        sqs: &Sqs,
        observer: &Observer,
        logs: &Arc<Logs>,
    ) -> Self {
        let delivery = Delivery {
            names: Names::new(stack),
            functions: Arc::clone(functions),
            sqs: sqs.clone(),
            observer: observer.clone(),
            logs: Arc::clone(logs),
        };
        Self { task: tokio::spawn(delivery.run(published)) }
    }

    /// Stops delivering.
    pub async fn stop(self) {
        self.task.abort();
        // It was cut off, and has nothing left to stop.
        let _ = self.task.await;
    }
}

impl Delivery {
    async fn run(self, mut published: UnboundedReceiver<Published>) {
        while let Some(published) = published.recv().await {
            self.logs.say(&self.line(&published));
            self.observer.record(|| self.shown(&published));
            for subscribed in &published.subscribers {
                self.deliver(&published, subscribed);
            }
        }
    }

    /// What was published, and who gets it.
    fn line(&self, published: &Published) -> String {
        let message = format!("the message for the topic {}", name(published));
        let filtered = match published.filtered {
            0 => String::new(),
            1 => "; a filter policy keeps it from 1 more".to_owned(),
            more => format!("; filter policies keep it from {more} more"),
        };
        match published.subscribers.is_empty() {
            true => format!("{message} reaches nobody{filtered}"),
            false => format!("{message} {}{filtered}", self.subscribers(published).join(", ")),
        }
    }

    /// The same for the console.
    fn shown(&self, published: &Published) -> Event {
        Event::Topic(TopicMessage {
            topic: name(published).to_owned(),
            subject: published.subject.clone(),
            subscribers: self.subscribers(published),
            filtered: published.filtered,
            body: Text::of(published.text()),
        })
    }

    fn subscribers(&self, published: &Published) -> Vec<String> {
        let what = |subscribed: &Arc<Subscribed>| match &subscribed.subscription.subscriber {
            Subscriber::Function { id } => format!("invokes {}", self.names.label(id)),
            Subscriber::Queue { name, .. } => format!("goes to {name}"),
        };
        published.subscribers.iter().map(what).collect()
    }

    fn deliver(&self, published: &Published, subscribed: &Subscribed) {
        match &subscribed.subscription.subscriber {
            // It tries again and tells of what fails.
            Subscriber::Function { id } => {
                drop(self.functions.accept(id, Bytes::from(published.event(subscribed).to_string())));
            }
            Subscriber::Queue { name, arn } => {
                if let Err(error) = self.sqs.send_to_arn(arn, published.queue_message(subscribed)) {
                    let id = &subscribed.subscription.id;
                    self.logs.error(&format!("{name} does not take the message of the subscription {id}: {error}"));
                }
            }
        }
    }
}

/// The topic's name, without the rest of its ARN.
fn name(published: &Published) -> &str {
    published.topic.rsplit(':').next().unwrap_or(&published.topic)
}
