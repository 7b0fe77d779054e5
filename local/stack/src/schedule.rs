//! When something fires by itself: `rate(…)` and `cron(…)`, as rules of EventBridge have them, in UTC.

mod cron;

use std::time::Duration;

pub use cron::Cron;

/// A `ScheduleExpression`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// `rate(…)`: how often.
    Rate(Duration),
    /// `cron(…)`: at which minutes.
    Cron(Box<Cron>),
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// With what is wrong, as the end of a sentence that begins with the name of the property.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(fields) = text.strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')')) {
            let cron = Cron::parse(fields);
            return cron.map(|cron| Self::Cron(Box::new(cron))).map_err(|why| format!("is `{text}`: {why}"));
        }
        let rate = parse_rate(text).map(Self::Rate);
        rate.ok_or_else(|| {
            format!("must be as `rate(1 minute)`, `rate(5 hours)` or `cron(0 12 * * ? *)`, not `{text}`")
        })
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rate(rate) => match rate.as_secs() / 60 {
                1 => write!(formatter, "every minute"),
                minutes => write!(formatter, "every {minutes} minutes"),
            },
            Self::Cron(cron) => write!(formatter, "at cron({cron}), UTC"),
        }
    }
}

/// EventBridge wants the singular for one, and the plural for more.
fn parse_rate(text: &str) -> Option<Duration> {
    let (number, unit) = text.strip_prefix("rate(")?.strip_suffix(')')?.trim().split_once(' ')?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let seconds = match (unit.trim(), number) {
        ("minute", 1) | ("minutes", 2..) => 60,
        ("hour", 1) | ("hours", 2..) => 60 * 60,
        ("day", 1) | ("days", 2..) => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_number_and_a_unit_that_fits_it() {
        for (text, seconds) in [
            ("rate(1 minute)", Some(60)),
            ("rate(5 minutes)", Some(300)),
            ("rate(1 day)", Some(86_400)),
            ("rate(2 hour)", None),
            ("rate(0 minutes)", None),
            ("rate(1 week)", None),
            ("5 minutes", None),
        ] {
            assert_eq!(Schedule::parse(text).ok(), seconds.map(Duration::from_secs).map(Schedule::Rate), "{text}");
        }
    }

    #[test]
    fn a_schedule_says_when_it_fires() {
        for (text, said) in [
            ("rate(1 minute)", "every minute"),
            ("rate(2 hours)", "every 120 minutes"),
            ("cron(0 12 * * ? *)", "at cron(0 12 * * ? *), UTC"),
        ] {
            assert_eq!(Schedule::parse(text).unwrap().to_string(), said);
        }
    }
}
