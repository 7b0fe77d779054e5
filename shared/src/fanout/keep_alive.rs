//! Signs of life for connections that hear nothing for long otherwise.
//!
//! API Gateway closes a connection on which nothing was said for ten minutes (API Gateway quotas, "Idle Connection Timeout"),
//! and the libraries of some protocols say nothing by themselves. So each minute an eighth of the connections gets a frame,
//! and each connection one in eight minutes.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{FanOut, FanOutError, Segment};
use crate::ids::NotificationId;
use crate::notification::{Notification, Payload, Target};
use crate::registry::Interval;

/// A connection's turn comes once in so many minutes.
const MINUTES: i64 = 8;
const MINUTE_MS: i64 = 60_000;
/// Prefixes of the hash that spreads connections, of which a minute has an equal part.
const PREFIXES: i64 = 256;
/// A sign of life that is older says nothing any more, in seconds.
const TTL_SECONDS: u32 = 60;
const SCOPE: &str = "keep-alive";

impl FanOut {
    /// Has a sign of life sent to those connections whose minute has come since it was last done. What is done twice does no
    /// harm, and a minute that was left out is made up for.
    ///
    /// # Errors
    /// When it is to be done again.
    pub async fn keep_alive(&self) -> Result<(), FanOutError> {
        let registry = self.delivery.registry();
        let now = self.delivery.clock().milliseconds();
        let minute = now / MINUTE_MS;
        // Where it was never done, everybody is due: who came before has heard nothing yet.
        let last = registry.kept_alive_until().await?.unwrap_or_default().max(minute - MINUTES);
        let due = (last + 1)..=minute;
        let letters: Vec<_> = due.clone().filter_map(|minute| part(minute, now)).collect();
        tracing::debug!(parts = letters.len(), "sends signs of life");
        if !letters.is_empty() {
            self.queues.fan_out.send(letters, SCOPE, Duration::ZERO).await?;
            registry.note_kept_alive(minute).await?;
        }
        Ok(())
    }
}

/// The message of the fan-out queue for those whose turn comes in this minute since the epoch.
fn part(minute: i64, now: i64) -> Option<String> {
    // Neither can fail: the name is short, and null is JSON.
    let id = NotificationId::parse(format!("{SCOPE}-{now}-{minute}")).ok()?;
    let data = RawValue::from_string("null".to_owned()).ok()?;
    let notification = Notification {
        id,
        to: vec![Target::Quiet],
        except: Vec::new(),
        topic: None,
        event: None,
        payload: Payload::Json(data),
        at: now,
        ttl: TTL_SECONDS,
        log: None,
        from: None,
    };
    let segment = Segment { interval: interval(minute), ..Segment::whole(notification, SCOPE) };
    segment.to_letter().ok()
}

fn interval(minute: i64) -> Interval {
    let part = PREFIXES / MINUTES;
    let first = minute.rem_euclid(MINUTES) * part;
    let bound = |prefix: i64| (0 < prefix && prefix < PREFIXES).then(|| format!("{prefix:02x}"));
    Interval { after: bound(first), to: bound(first + part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_eight_minutes_each_connection_has_its_turn_once() {
        for prefix in 0..PREFIXES {
            for id in ["A", "~"] {
                let sort_key = format!("{prefix:02x}#{id}");
                let turns = (1_000..1_000 + MINUTES).filter(|minute| interval(*minute).contains(&sort_key));
                assert_eq!(turns.count(), 1, "{sort_key}");
            }
        }
    }

    #[test]
    fn the_message_can_be_read_as_what_it_was() {
        let letter = part(1_001, 1_795_000_000_000).unwrap();
        let message = super::super::segment::Message::parse(&letter).unwrap();
        let segment = message.into_segment(None).unwrap();
        assert_eq!(segment.notification.to, [Target::Quiet]);
        assert_eq!(segment.interval, Interval { after: Some("20".to_owned()), to: Some("40".to_owned()) });
    }
}
