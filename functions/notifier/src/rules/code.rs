//! Rules in code: functions of the application.

use std::fmt;

use tidings::NotificationId;
use tidings::delivery::check_size;
use tidings::notification::{Defaults, Notification};

use super::{ShapeError, fits, value};
use crate::event::{self, Event};
use crate::trigger::Record;

type Apply = Box<dyn Fn(&Event) -> Vec<event::Notification> + Send + Sync>;

/// One rule: what becomes of events of the sources that fit.
pub(crate) struct CodeRule {
    source: String,
    apply: Apply,
}

impl CodeRule {
    pub(crate) fn new(source: String, apply: Apply) -> Self {
        assert!(!source.is_empty(), "a rule names a source, such as aws/s3/photos or aws/s3/*");
        Self { source, apply }
    }

    pub(crate) fn fits(&self, record: &Record) -> bool {
        fits(&self.source, &record.source)
    }

    /// What the application makes of the record: all of it is valid, or none of it is delivered.
    pub(crate) fn shape(&self, record: &Record, defaults: &Defaults) -> Result<Vec<Notification>, ShapeError> {
        let event = Event {
            source: record.source.clone(),
            id: defaults.id.to_string(),
            at: defaults.at,
            kind: record.event.clone(),
            data: value(&record.data),
            record: value(&record.raw),
        };
        let notifications = (self.apply)(&event).into_iter().enumerate();
        let checked = notifications.map(|(index, notification)| {
            let number = index + 1;
            check(notification, number, defaults).map_err(|problem| ShapeError::Code {
                pattern: self.source.clone(),
                number,
                problem,
            })
        });
        checked.collect()
    }
}

fn check(notification: event::Notification, number: usize, defaults: &Defaults) -> Result<Notification, String> {
    let mut defaults = defaults.clone();
    if number > 1 {
        let id = format!("{}-{number}", defaults.id);
        defaults.id = NotificationId::parse(id).map_err(|error| error.to_string())?;
    }
    let notification = Notification::parse(&notification.into_json(), &defaults).map_err(|error| error.to_string())?;
    check_size(&notification).map_err(|error| error.to_string())?;
    Ok(notification)
}

impl fmt::Debug for CodeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeRule").field("source", &self.source).finish_non_exhaustive()
    }
}
