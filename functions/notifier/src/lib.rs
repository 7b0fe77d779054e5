//! The notifier of a [Tidings](https://docs.rs/tidings) stack: takes notifications, and events that become notifications, and
//! pushes them to everyone whom they are for.
//!
//! The function of an application is this one, with rules of its own for events:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use tidings_notifier::{Event, Function, Notification};
//!
//! fn uploaded(event: &Event) -> Vec<Notification> {
//!     let Some(album) = event.data["s3"]["object"]["key"].as_str().and_then(|key| key.split('/').next()) else {
//!         return vec![];
//!     };
//!     vec![Notification::to_topic(format!("photos/{album}"), event.data.clone()).with_type("photo.new")]
//! }
//!
//! fn main() -> ExitCode {
//!     Function::new().rule("aws/s3/photos", uploaded).run()
//! }
//! ```
//!
//! # The way of a message
//!
//! This file is that way, from top to bottom:
//!
//! 1. [`Notifier::handle`] takes an event. `trigger` reads what it is: notifications that somebody invokes the function with
//!    and waits for, or records of a service.
//! 2. Who waits is served at once (`direct`), and gets a report.
//! 3. Records are served side by side, and those that keep an order one after the other (`batch`).
//! 4. What does a record ask for? A part of an audience that another invocation handed on, a notification, or what the
//!    `rules` make of an event (`asked_for`, `notifications`).
//! 5. Each of these goes to [`tidings::fanout`], which pushes it or hands it on (`push`).
//! 6. It is counted and logged (`count`, `log`). A record that failed is kept as a dead letter or comes again: `batch` says
//!    which.

mod batch;
mod error;
mod event;
mod function;
mod rules;
mod shape;
mod time;
mod trigger;

use serde::Serialize;
use serde_json::value::RawValue;
use tidings::clock::Clock;
use tidings::delivery::Report;
use tidings::events::Identified;
use tidings::fanout::{FanOut, FanOutError, HandedOn, InLog, Invocation, PassedMember, Segment};
use tidings::lambda::Request;
use tidings::metrics::{Metric, Metrics};
use tidings::notification::{Defaults, MAX_TTL_SECONDS, Notification as Checked, Target};
use tidings::presence::{Check, Moved};
use tidings::trigger::Trigger;
use tidings::web_pubsub::{Errand, Greeting};
use tidings::{NotificationId, Topic};

pub use error::Error;
pub use event::{Event, Notification};
pub use function::Function;
pub use rules::{InvalidRules, Rules};
use trigger::{Answer, Input, Record};

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// What delivers.
    pub fan_out: FanOut,
    /// What becomes of events that are not notifications.
    pub rules: Rules,
    /// What counts.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

/// What notifies: what it needs, and an application's rules. [`Function::core`] makes one.
#[derive(Debug)]
pub struct Notifier {
    deps: Deps,
    code: Vec<rules::CodeRule>,
}

/// What a record asks for.
enum Asked {
    /// Notifications, or parts of their audiences.
    Segments(Vec<Segment>),
    /// An ordered topic whose log has something to push.
    Lane {
        topic: Topic,
        /// How often the message has come.
        receives: u32,
    },
    /// A member that a lane has passed.
    Passed(PassedMember),
    /// Something for a client that recovers.
    Errand(Errand),
    /// An event of a client that has said who it is.
    Tell(Identified),
    /// A look at who is there.
    Check {
        look: Check,
        /// How often the message has come.
        receives: u32,
    },
}

/// Why a record is not delivered.
enum Undelivered {
    /// It asks for nothing that could be.
    Invalid(String),
    /// What it asks for could not be, as far as it is known.
    Failed(FanOutError, Option<Box<Segment>>),
}

impl Notifier {
    /// Handles an event. A direct invoke gets the report of its notification, or a list of reports; a service gets what it
    /// expects.
    ///
    /// # Errors
    /// When a notification that was invoked directly is not well formed or cannot be delivered, and when the event as a whole
    /// is to come again.
    pub async fn handle(&self, event: &RawValue, request: &Request) -> Result<Box<RawValue>, Error> {
        let fan_out = &self.deps.fan_out;
        let invocation = self.invocation(request);
        let before = fan_out.delivery().registry().consumed();
        let answered = match trigger::read(event, Some(fan_out.queues().notifications.name())) {
            (Input::One(text), _) => {
                answer(&self.direct(parse(text, &invocation.owner, invocation.now)?, &invocation).await?)
            }
            (Input::Many(list), _) => answer(&self.direct_all(&list, &invocation).await?),
            (Input::Opening, _) => answer(&fan_out.close_nobodies().await.map_err(Error::from)?),
            (Input::KeepAlive, _) => answer(&fan_out.keep_alive().await.map_err(Error::from)?),
            (Input::Ends, _) => answer(&fan_out.look_at_ends(&invocation).await.map_err(Error::from)?),
            (Input::Records(batch), unreadable) => answer(&batch::serve(self, batch, unreadable, &invocation).await?),
        };
        let consumed = fan_out.delivery().registry().consumed() - before;
        tracing::debug!(read_units = consumed.read, write_units = consumed.write, "consumed");
        Ok(answered)
    }

    fn invocation(&self, request: &Request) -> Invocation {
        let left = time::left(request.deadline, self.deps.clock);
        let now = self.deps.clock.milliseconds();
        Invocation {
            owner: request.id.clone(),
            now,
            deadline: time::deadline(left),
            lease_until: now + i64::try_from(left.as_millis()).unwrap_or(i64::MAX / 2),
            recorder: self.deps.metrics.recorder(),
        }
    }

    /// Several notifications, none of which is sent before all are well formed.
    async fn direct_all(&self, list: &[&RawValue], invocation: &Invocation) -> Result<Vec<Report>, Error> {
        let texts = list.iter().enumerate();
        let parsed = texts.map(|(index, text)| parse(text, &format!("{}-{index}", invocation.owner), invocation.now));
        let mut reports = Vec::new();
        for notification in parsed.collect::<Result<Vec<_>, _>>()? {
            reports.push(self.direct(notification, invocation).await?);
        }
        Ok(reports)
    }

    async fn direct(&self, notification: Checked, invocation: &Invocation) -> Result<Report, Error> {
        let topic = topic(&notification);
        count(invocation, Trigger::Direct, &notification);
        let report = Box::pin(self.deps.fan_out.direct(notification, invocation)).await?;
        log(&report, topic.as_ref());
        Ok(report)
    }

    /// Delivers all that a record asks for. Of several notifications the first that fails ends it; when the record comes
    /// again, what was delivered is known by its id.
    async fn deliver(&self, record: &Record, answer: Answer, invocation: &Invocation) -> Result<(), Undelivered> {
        let segments = match self.asked_for(record, invocation).await? {
            Asked::Segments(segments) => segments,
            Asked::Passed(member) => {
                let looked = self.deps.fan_out.check_passed(&member).await;
                return looked.map_err(|error| Undelivered::Failed(error, None));
            }
            Asked::Lane { topic, receives } => {
                let woken = Box::pin(self.deps.fan_out.wake(&topic, receives, invocation)).await;
                return woken.map_err(|error| Undelivered::Failed(error, None));
            }
            Asked::Errand(errand) => {
                let run = Box::pin(self.deps.fan_out.run_errand(&errand, invocation)).await;
                return run.map_err(|error| Undelivered::Failed(error, None));
            }
            Asked::Tell(identified) => {
                let told = self.deps.fan_out.tell_identified(&identified).await;
                return told.map_err(|error| Undelivered::Failed(error, None));
            }
            Asked::Check { look, receives } => {
                let looked = Box::pin(self.deps.fan_out.look(&look, receives, invocation)).await;
                return looked.map_err(|error| Undelivered::Failed(error, None));
            }
        };
        for segment in segments {
            match self.push(&segment, record, answer, invocation).await {
                Ok(report) if is_idle(&report, &segment.notification) => tracing::debug!("nobody needs a sign of life"),
                Ok(report) => log(&report, topic(&segment.notification).as_ref()),
                Err(error) => return Err(Undelivered::Failed(error, Some(Box::new(segment)))),
            }
        }
        Ok(())
    }

    async fn asked_for(&self, record: &Record, invocation: &Invocation) -> Result<Asked, Undelivered> {
        if let Some(message) = self.handed_on(record) {
            let read = self.deps.fan_out.read(&message.body).await;
            return match read.map_err(|error| Undelivered::Failed(error, None))? {
                HandedOn::Segment(segment) => Ok(Asked::Segments(vec![*segment])),
                HandedOn::Passed(member) => Ok(Asked::Passed(member)),
                HandedOn::Lane(topic) => Ok(Asked::Lane { topic, receives: message.receives }),
            };
        }
        let ours = record.message.as_ref().filter(|message| self.is_of_notifications(message));
        if let Some(message) = ours
            && let Some(asked) = self.asked_by_ours(message, record, invocation).await?
        {
            return Ok(asked);
        }
        let notifications = self.notifications(record, invocation.now).map_err(Undelivered::Invalid)?;
        let lasting = notifications.into_iter().map(|notification| record.lasting(notification));
        Ok(Asked::Segments(lasting.map(|notification| Segment::whole(notification, &record.scope)).collect()))
    }

    /// What a message of the notification queue asks for that one of our functions sent, and is no notification.
    async fn asked_by_ours(
        &self,
        message: &trigger::Message,
        record: &Record,
        invocation: &Invocation,
    ) -> Result<Option<Asked>, Undelivered> {
        let (fan_out, receives) = (&self.deps.fan_out, message.receives);
        let failed = |error| Undelivered::Failed(error, None);
        if let Some(look) = Check::parse(&message.body) {
            return Ok(Some(Asked::Check { look, receives }));
        }
        if let Some(identified) = Identified::parse(&message.body) {
            return Ok(Some(Asked::Tell(identified)));
        }
        if let Some(moved) = Moved::parse(&message.body) {
            let told = fan_out.moved(&moved, &record.id, invocation).await.map_err(failed)?;
            return Ok(Some(Asked::Segments(vec![told])));
        }
        if let Some(errand) = Errand::parse(&message.body) {
            return Ok(Some(Asked::Errand(errand)));
        }
        if let Some(greeting) = Greeting::parse(&message.body) {
            return Ok(Some(Asked::Segments(fan_out.greeting(greeting).into_iter().collect())));
        }
        let Some(appended) = InLog::parse(&message.body) else { return Ok(None) };
        Ok(Some(match fan_out.appended(&appended).await.map_err(failed)? {
            Some(HandedOn::Lane(topic)) => Asked::Lane { topic, receives },
            Some(HandedOn::Segment(segment)) => Asked::Segments(vec![*segment]),
            Some(HandedOn::Passed(_)) | None => Asked::Segments(Vec::new()),
        }))
    }

    /// The record's message, if another invocation of this function sent it.
    fn handed_on<'a>(&self, record: &'a Record) -> Option<&'a trigger::Message> {
        record.message.as_ref().filter(|message| message.queue == self.deps.fan_out.queues().fan_out.name())
    }

    fn is_of_notifications(&self, message: &trigger::Message) -> bool {
        message.queue == self.deps.fan_out.queues().notifications.name()
    }

    /// The notifications that a record is, or that rules make of it; why it can never succeed, if it cannot.
    fn notifications(&self, record: &Record, now: i64) -> Result<Vec<Checked>, String> {
        let id = NotificationId::parse(&record.id).map_err(|error| error.to_string())?;
        let defaults = Defaults { id, at: credible(record.at, now) };
        // Whoever writes to the notification queue means a notification, well formed or not.
        let is_meant = record.message.as_ref().is_some_and(|message| self.is_of_notifications(message));
        if is_meant || shape::is_notification(&record.data) {
            let notification = Checked::parse(record.data.get(), &defaults);
            return notification.map(|notification| vec![notification]).map_err(|error| error.to_string());
        }
        let shaped = match self.code.iter().find(|rule| rule.fits(record)) {
            Some(rule) => rule.shape(record, &defaults),
            None => self.deps.rules.shape(record, &defaults).map(|notification| vec![notification]),
        };
        shaped.map_err(|error| error.to_string())
    }

    async fn push(
        &self,
        segment: &Segment,
        record: &Record,
        answer: Answer,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let fan_out = &self.deps.fan_out;
        // Boxed, because the futures of a delivery nest deeper than the compiler likes to look.
        let report = match (self.handed_on(record), answer) {
            (Some(_), _) => return Box::pin(fan_out.work(segment, invocation)).await,
            (None, Answer::Whole) => Box::pin(fan_out.take_up_event(segment, record.trigger(), invocation)).await?,
            (None, _) => Box::pin(fan_out.take_up(segment, invocation)).await?,
        };
        // What goes back on the notification queue is counted when it is taken up there.
        if !(answer == Answer::Whole && is_passed_on(&report)) {
            count(invocation, record.trigger(), &segment.notification);
        }
        Ok(report)
    }
}

fn parse(text: &RawValue, id: &str, now: i64) -> Result<Checked, Error> {
    let id = NotificationId::parse(id).map_err(Error::RequestId)?;
    Ok(Checked::parse(text.get(), &Defaults { id, at: now })?)
}

/// The event's own time, unless no queue could have held it for so long: then it is a replay, or an example, and means now.
fn credible(at: Option<i64>, now: i64) -> i64 {
    let oldest = now - i64::from(MAX_TTL_SECONDS) * 1_000;
    at.filter(|at| (oldest..=now).contains(at)).unwrap_or(now)
}

fn is_passed_on(report: &Report) -> bool {
    report.segments > 0 && report.audience == 0
}

/// Counts a notification that the notifier takes up.
fn count(invocation: &Invocation, trigger: Trigger, notification: &Checked) {
    invocation.recorder.add(Metric::notifications(trigger), 1);
    invocation.recorder.since(Metric::PickUpLag, notification.at);
}

/// The first topic that a notification is for.
fn topic(notification: &Checked) -> Option<Topic> {
    notification.to.iter().find_map(|target| match target {
        Target::Topic(topic) => Some(topic.clone()),
        _ => None,
    })
}

/// Whether signs of life were due, and nobody was there for them: each minute of a stack that nobody uses.
fn is_idle(report: &Report, notification: &Checked) -> bool {
    report.audience == 0 && matches!(notification.to[..], [Target::Quiet])
}

/// The one line that the log gets of a delivery.
fn log(report: &Report, topic: Option<&Topic>) {
    tracing::info!(
        notification.id = %report.id,
        topic = topic.map(Topic::as_str),
        audience = report.audience,
        delivered = report.delivered,
        delayed = report.delayed,
        gone = report.gone,
        pending = report.pending,
        slow = report.slow,
        failed = report.failed,
        throttled = report.throttled,
        expired = report.expired,
        segments = report.segments,
        "notified"
    );
}

/// The answer as JSON, its fields in their documented order.
fn answer<T: Serialize>(answer: &T) -> Box<RawValue> {
    // Numbers and strings: there is nothing here that cannot be written.
    serde_json::value::to_raw_value(answer).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
