//! EventBridge in this process: buses and rules of the template, behind the API that SDKs and the AWS command line speak.
//!
//! `operations` are the API's calls, `input` makes of an event what a target gets. What a rule matches is [`Matched`] and
//! goes to whoever delivers: the functions' host, which knows functions and queues.
//!
//! What is *not* here: archives and replays, pipes, API destinations, schemas, permissions, encryption, and rules that are
//! made while it runs.

mod input;
mod operations;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

use tidings_local_stack::{DEFAULT_BUS, EventBus, Rule, filter};

pub use input::InputError;
pub(crate) use operations::call;

/// What `X-Amz-Target` begins with.
pub(crate) const TARGET: &str = "AWSEvents";

/// The `source` of what schedules fire.
const SCHEDULER: &str = "aws.events";

/// All buses and rules. Clones share them.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    region: String,
    account: String,
    buses: BTreeSet<String>,
    rules: Vec<Arc<Rule>>,
    matched: UnboundedSender<Matched>,
}

/// An event, and the rules whose targets get it.
#[derive(Debug, Clone)]
pub struct Matched {
    /// The bus that it was put on.
    pub bus: String,
    /// Whether there is such a bus: EventBridge takes what is put on others, and drops it.
    pub is_bus_known: bool,
    /// The event, as targets see it.
    pub event: Value,
    /// The rules that it matched.
    pub rules: Vec<Arc<Rule>>,
}

impl Matched {
    /// The rule whose schedule fired, by its id in the template.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        let is_fired = self.event["source"] == SCHEDULER;
        self.rules.first().filter(|_| is_fired).map(|rule| rule.id.as_str())
    }
}

impl Default for Events {
    /// Without rules: what is put reaches nobody.
    fn default() -> Self {
        Self::new("us-east-1", "123456789012", [], []).0
    }
}

impl Events {
    /// The buses and rules of a template, and where what they match comes out.
    #[must_use]
    pub fn new<'a>(
        region: &str,
        account: &str,
        buses: impl IntoIterator<Item = &'a EventBus>,
        rules: impl IntoIterator<Item = &'a Rule>,
    ) -> (Self, UnboundedReceiver<Matched>) {
        let (matched, receiver) = unbounded_channel();
        let rules: Vec<_> = rules.into_iter().map(|rule| Arc::new(rule.clone())).collect();
        let of_template = buses.into_iter().map(|bus| bus.name.clone());
        let of_rules = rules.iter().map(|rule| rule.bus.clone());
        let buses = [DEFAULT_BUS.to_owned()].into_iter().chain(of_template).chain(of_rules).collect();
        let shared = Shared { region: region.to_owned(), account: account.to_owned(), buses, rules, matched };
        (Self(Arc::new(shared)), receiver)
    }

    /// The rules, in the template's order.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.0.rules
    }

    /// Fires a rule that has a schedule, now, by its logical id or its name; `false` if there is none.
    #[must_use]
    pub fn fire(&self, rule: &str) -> bool {
        let rule =
            self.0.rules.iter().find(|other| (other.id == rule || other.name == rule) && other.schedule.is_some());
        let Some(rule) = rule.cloned() else { return false };
        let event = json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": "Scheduled Event",
            "source": SCHEDULER,
            "account": self.0.account,
            "time": timestamp(DateTime::from(SystemTime::now())),
            "region": self.0.region,
            "resources": [rule.arn],
            "detail": {},
        });
        self.send(Matched { bus: rule.bus.clone(), is_bus_known: true, event, rules: vec![rule] });
        true
    }

    /// Takes an event that was put on a bus.
    fn accept(&self, bus: &str, event: Value) {
        let is_matched = |rule: &&Arc<Rule>| {
            rule.bus == bus && rule.pattern.as_ref().is_some_and(|pattern| filter::matches(pattern, &event))
        };
        let rules = self.0.rules.iter().filter(is_matched).cloned().collect();
        let is_bus_known = self.0.buses.contains(bus);
        self.send(Matched { bus: bus.to_owned(), is_bus_known, event, rules });
    }

    fn send(&self, matched: Matched) {
        // Whoever delivers has gone: everything is about to end.
        let _ = self.0.matched.send(matched);
    }
}

impl Matched {
    /// What a target of one of its rules gets.
    ///
    /// # Errors
    /// When the target's input cannot be made of this event.
    pub fn input(&self, rule: &Rule, input: &tidings_local_stack::Input) -> Result<String, InputError> {
        input::of(input, &self.event, rule)
    }
}

/// As events have it: to the second.
fn timestamp(time: DateTime) -> String {
    // It fails only for years beyond 9999.
    DateTime::from_secs(time.secs()).fmt(Format::DateTime).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_local_stack::Schedule;

    fn rule(name: &str, bus: &str, pattern: Option<Value>) -> Rule {
        let schedule = pattern.is_none().then(|| Schedule::parse("rate(1 minute)").unwrap());
        let arn = format!("arn:aws:events:us-east-1:123456789012:rule/{name}");
        Rule {
            id: name.to_owned(),
            name: name.to_owned(),
            arn,
            bus: bus.to_owned(),
            pattern,
            schedule,
            targets: Vec::new(),
        }
    }

    fn events(rules: &[Rule]) -> (Events, UnboundedReceiver<Matched>) {
        let bus = EventBus { name: "shop".to_owned(), arn: String::new() };
        Events::new("us-east-1", "123456789012", [&bus], rules)
    }

    fn names(matched: &Matched) -> Vec<&str> {
        matched.rules.iter().map(|rule| rule.id.as_str()).collect()
    }

    #[test]
    fn an_event_goes_to_the_rules_of_its_bus_that_it_matches() {
        let pattern = |kind: &str| Some(json!({"detail-type": [kind]}));
        let (events, mut matched) = events(&[
            rule("a", "default", pattern("x")),
            rule("b", "shop", pattern("x")),
            rule("c", "shop", pattern("y")),
        ]);
        for (bus, kind, expected, is_known) in
            [("shop", "x", vec!["b"], true), ("default", "y", vec![], true), ("other", "x", vec![], false)]
        {
            events.accept(bus, json!({"detail-type": kind}));
            let matched = matched.try_recv().unwrap();
            assert_eq!((names(&matched), matched.is_bus_known), (expected, is_known), "{bus} {kind}");
        }
    }

    #[test]
    fn a_schedule_is_fired_by_its_name() {
        let (events, mut matched) = events(&[rule("tick", "default", None), rule("a", "default", Some(json!({})))]);
        assert!(!events.fire("a") && !events.fire("other"));
        assert!(events.fire("tick"));
        let matched = matched.try_recv().unwrap();
        assert_eq!(names(&matched), ["tick"]);
        assert_eq!(matched.event["source"], "aws.events");
        assert_eq!(matched.event["resources"], json!(["arn:aws:events:us-east-1:123456789012:rule/tick"]));
        assert_eq!(matched.event["time"].as_str().unwrap().len(), "2026-01-01T00:00:00Z".len());
    }
}
