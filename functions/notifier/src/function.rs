//! The function as an application sees it: rules, and `run`.

use std::process::ExitCode;

use serde_json::value::RawValue;
use tidings::aws::Aws;
use tidings::clock::Clock;
use tidings::config::{ConfigError, optional, required};
use tidings::delivery::{Delivery, Limits, POST_DEADLINE};
use tidings::fanout::{FanOut, Queues};
use tidings::function::BoxError;
use tidings::history::History;
use tidings::lambda;
use tidings::metrics::Metrics;

use crate::event::{Event, Notification};
use crate::rules::{CodeRule, Rules};
use crate::{Deps, Notifier};

/// The function `notifier`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Function {
    rules: Vec<CodeRule>,
}

impl Function {
    /// With the rules of the stack's parameter `Rules` alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A rule in code: what becomes of events of a source, which is a pattern as in the parameter `Rules`: `aws/s3/photos`,
    /// `aws/sqs/*`. It is called for what is no notification already, with each record for itself. An empty list notifies
    /// nobody.
    ///
    /// The first rule that fits is the only one that is asked: those in code, in the order in which they were added, and then
    /// those of the parameter. So code can take a few sources out of a pattern there that takes all.
    ///
    /// ```no_run
    /// use tidings_notifier::{Event, Function, Notification};
    ///
    /// /// A message of the queue `orders` goes to the topic of its order, and to who bought.
    /// fn order(event: &Event) -> Vec<Notification> {
    ///     let data = &event.data;
    ///     let (Some(order), Some(buyer)) = (data["order"].as_u64(), data["buyer"].as_str()) else { return vec![] };
    ///     vec![
    ///         Notification::to_topic(format!("orders/{order}"), data.clone()).with_type("order.changed"),
    ///         Notification::to_user(buyer, order).with_type("order.yours"),
    ///     ]
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Function::new().rule("aws/sqs/orders", order).run()
    /// }
    /// ```
    ///
    /// # Panics
    /// When the source is empty: a mistake of the program, found at its start.
    #[must_use]
    pub fn rule(
        mut self,
        source: impl Into<String>,
        rule: impl Fn(&Event) -> Vec<Notification> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(CodeRule::new(source.into(), Box::new(rule)));
        self
    }

    /// What notifies without Lambda: in a test, or in a server of one's own.
    #[must_use]
    pub fn core(self, deps: Deps) -> Notifier {
        Notifier { deps, code: self.rules }
    }

    /// Serves Lambda until it ends the environment. Reads `TABLE_NAME`, `WEBSOCKET_ENDPOINT`, the URLs of the queues,
    /// `RULES`, `HISTORY`, `PRESENCE`, `EVENT_BUS_NAME`, the bus that is told of users, if one is, and what
    /// [`Limits::from_env`] does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let start = async { Ok(self.core(deps()?)) };
        lambda::run(start, async |notifier, event: Box<RawValue>, request| notifier.handle(&event, &request).await)
    }
}

fn deps() -> Result<Deps, BoxError> {
    let aws = Aws::from_env()?;
    let registry = aws.registry_from_env()?;
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where messages are posted, as https://…/<stage>")?;
    let delivery = Delivery::new(aws.sockets(&endpoint, POST_DEADLINE)?, registry, Limits::from_env()?, Clock::System);
    let queue = |name| Ok::<_, ConfigError>(aws.queue(required(name, "it is the URL of a queue")?));
    let queues = Queues {
        notifications: queue("NOTIFICATION_QUEUE_URL")?,
        fan_out: queue("FAN_OUT_QUEUE_URL")?,
        dead_letters: queue("DEAD_LETTER_QUEUE_URL")?,
    };
    let rules = Rules::parse(optional("RULES").as_deref().unwrap_or("[]"))?;
    let bus = optional("EVENT_BUS_NAME").map(|name| aws.bus(name));
    let fan_out = FanOut::new(delivery, queues).with_history(History::from_env()?).with_bus(bus);
    Ok(Deps { fan_out, rules, metrics: Metrics::from_env(), clock: Clock::System })
}
