//! Rules of EventBridge: what they match goes to functions, which nobody waits for, and to queues; schedules fire.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

use crate::{Asynchronous, Logs, Names};
use tidings_local_observe::{BusEvent, Event, Observer, Text};
use tidings_local_services::events::{Events, Matched};
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::{Message, Sqs};
use tidings_local_stack::{Cron, Destination, Rule, RuleTarget, Schedule, Stack};

/// How often the clock is looked at while a schedule waits.
const LOOK: Duration = Duration::from_secs(30);

/// Rules that are at work until they are stopped.
#[derive(Debug)]
pub struct EventRules {
    tasks: JoinSet<()>,
}

/// What delivers, and tells of it.
#[derive(Debug)]
struct Delivery {
    names: Names,
    functions: Arc<Asynchronous>,
    sqs: Sqs,
    sns: Sns,
    observer: Observer,
    logs: Arc<Logs>,
}

/// Where what a rule matches can go.
#[derive(Debug, Clone)]
pub struct Destinations {
    /// Functions.
    pub functions: Arc<Asynchronous>,
    /// Queues.
    pub sqs: Sqs,
    /// Topics.
    pub sns: Sns,
}

impl EventRules {
    /// Delivers what the rules of `events` match, and fires those with a schedule: first when their time is over once.
    #[must_use]
    pub fn start(
        stack: &Stack,
        events: &Events,
        matched: UnboundedReceiver<Matched>,
        destinations: &Destinations,
        observer: &Observer,
        logs: &Arc<Logs>,
    ) -> Self {
        let Destinations { functions, sqs, sns } = destinations.clone();
        let delivery = Delivery {
            names: Names::new(stack),
            functions,
            sqs,
            sns,
            observer: observer.clone(),
            logs: Arc::clone(logs),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(delivery.run(matched));
        for rule in events.rules() {
            let (events, id) = (events.clone(), rule.id.clone());
            match rule.schedule.clone() {
                Some(Schedule::Rate(rate)) => drop(tasks.spawn(keep_firing(events, id, rate))),
                Some(Schedule::Cron(cron)) => drop(tasks.spawn(fire_at(events, id, *cron, now))),
                None => {}
            }
        }
        Self { tasks }
    }

    /// Stops delivering and firing.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn keep_firing(events: Events, rule: String, rate: Duration) {
    let mut ticks = interval_at(Instant::now() + rate, rate);
    loop {
        ticks.tick().await;
        if !events.fire(&rule) {
            return;
        }
    }
}

/// Fires whenever it is time, by the clock that is given.
async fn fire_at(events: Events, rule: String, cron: Cron, now: impl Fn() -> Duration) {
    let mut last = now();
    while let Some(next) = cron.next(last.as_secs()) {
        last = Duration::from_secs(next);
        while let Some(left) = last.checked_sub(now()).filter(|left| !left.is_zero()) {
            // A machine that slept has another time when it wakes.
            sleep(left.min(LOOK)).await;
        }
        // What was slept through is not made up for.
        last = last.max(now());
        if !events.fire(&rule) {
            return;
        }
    }
}

/// Since the epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Delivery {
    async fn run(self, mut matched: UnboundedReceiver<Matched>) {
        let mut fired = HashSet::new();
        while let Some(matched) = matched.recv().await {
            // What comes every minute would hide all the rest.
            match matched.schedule().map(|rule| fired.insert(rule.to_owned())) {
                None => self.logs.say(&self.line(&matched)),
                Some(true) => self.logs.say(&format!("{}; next times are in the console only", self.line(&matched))),
                Some(false) => {}
            }
            self.observer.record(|| self.shown(&matched));
            for rule in &matched.rules {
                for target in &rule.targets {
                    self.deliver(&matched, rule, target);
                }
            }
        }
    }

    /// What was put, and what becomes of it.
    fn line(&self, matched: &Matched) -> String {
        let (detail_type, source) = (text(matched, "detail-type"), text(matched, "source"));
        let event = format!("the event {detail_type} of {source} on the bus {}", matched.bus);
        if !matched.is_bus_known {
            return format!("{event} is dropped: there is no such bus in the template");
        }
        if matched.rules.is_empty() {
            return format!("{event} matches no rule");
        }
        format!("{event} matches {}", self.rules(matched).join(", "))
    }

    /// The same for the console.
    fn shown(&self, matched: &Matched) -> Event {
        Event::Bus(BusEvent {
            bus: matched.bus.clone(),
            source: text(matched, "source").to_owned(),
            detail_type: text(matched, "detail-type").to_owned(),
            rules: self.rules(matched),
            body: Text::of(&matched.event.to_string()),
        })
    }

    /// The rules that matched, with their targets.
    fn rules(&self, matched: &Matched) -> Vec<String> {
        matched.rules.iter().map(|rule| format!("{} ({})", rule.id, self.targets(rule))).collect()
    }

    fn targets(&self, rule: &Rule) -> String {
        let targets = rule.targets.iter().map(|target| match &target.destination {
            Destination::Function { id } => format!("invokes {}", self.names.label(id)),
            Destination::Queue { name, .. } => format!("goes to {name}"),
            Destination::Topic { name, .. } => format!("is published to {name}"),
        });
        let mut targets: Vec<_> = targets.collect();
        targets.dedup();
        if targets.is_empty() { "without a target".to_owned() } else { targets.join(", ") }
    }

    fn deliver(&self, matched: &Matched, rule: &Rule, target: &RuleTarget) {
        let (name, id) = (&rule.id, &target.id);
        let input = match matched.input(rule, &target.input) {
            Ok(input) => input,
            Err(error) => return self.logs.error(&format!("the target {id} of the rule {name} gets nothing: {error}")),
        };
        match &target.destination {
            // It tries again and tells of what fails.
            Destination::Function { id } => drop(self.functions.accept(id, Bytes::from(input))),
            Destination::Queue { arn, group, .. } => {
                let message = Message { group: group.clone(), ..Message::text(input) };
                if let Err(error) = self.sqs.send_to_arn(arn, message) {
                    self.logs.error(&format!("the target {id} of the rule {name} does not take the event: {error}"));
                }
            }
            Destination::Topic { arn, .. } => {
                if let Err(error) = self.sns.publish(arn, &input) {
                    self.logs.error(&format!("the target {id} of the rule {name} does not take the event: {error}"));
                }
            }
        }
    }
}

/// A field of an event that is text.
fn text<'a>(matched: &'a Matched, name: &str) -> &'a str {
    matched.event[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(schedule: &str) -> Rule {
        Rule {
            id: "R".to_owned(),
            name: "tick".to_owned(),
            arn: "arn:rule".to_owned(),
            bus: "default".to_owned(),
            pattern: None,
            schedule: Some(Schedule::parse(schedule).unwrap()),
            targets: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cron_schedule_fires_at_the_minutes_that_it_names() {
        // Friday, 27 November 2026, 17:59:30: half a minute before six, and then comes a weekend.
        let start = Duration::from_secs(1_795_802_370);
        let rule = rule("cron(0 18 ? * MON-FRI *)");
        let Some(Schedule::Cron(cron)) = rule.schedule.clone() else { panic!("{rule:?}") };
        let (events, mut matched) = Events::new("us-east-1", "123456789012", [], [&rule]);
        let begin = Instant::now();
        let firing = tokio::spawn(fire_at(events, "tick".to_owned(), *cron, move || start + begin.elapsed()));
        for hours in [0, 3 * 24, 4 * 24] {
            assert!(matched.recv().await.is_some());
            let expected = Duration::from_secs(30 + hours * 60 * 60);
            assert!(begin.elapsed() >= expected && begin.elapsed() < expected + Duration::from_secs(1), "{hours}");
        }
        firing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_schedule_fires_each_time_that_its_time_is_over() {
        let rate = Duration::from_secs(60);
        let rule = rule("rate(1 minute)");
        let (events, mut matched) = Events::new("us-east-1", "123456789012", [], [&rule]);
        let begin = Instant::now();
        let firing = tokio::spawn(keep_firing(events, "tick".to_owned(), rate));
        for times in 1..=3 {
            assert_eq!(
                matched.recv().await.map(|matched| matched.event["detail-type"].clone()),
                Some("Scheduled Event".into())
            );
            assert_eq!(begin.elapsed(), rate * times);
        }
        firing.abort();
    }
}
