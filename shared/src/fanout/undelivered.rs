//! Users whom a notification named and did not reach: they are counted, and the application's backend is told.
//!
//! Told are the users of an audience that one run has read from its beginning to its end: then it is known who was there.
//! An audience that is split, or that another run goes on with, is not looked at.

use super::handover::Handover;
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::Reach;
use crate::events::{Event, EventsError, Unreached};
use crate::ids::UserId;
use crate::metrics::Metric;
use crate::notification::{Notification, Target};
use crate::registry::Interval;

/// A user who was not reached, and why.
type Missed<'a> = (&'a UserId, Unreached);

/// Whether a segment is a whole audience that nobody has begun with, as far as its message tells.
pub(super) fn is_whole(segment: &Segment) -> bool {
    segment.is_root() && segment.only.is_empty() && segment.interval == Interval::whole()
}

/// Who of a notification's users was not reached, where each target was reached so far.
///
/// A connection counts under the first target that names it, and belongs to one user. So a user's target says all of
/// that user where only users stand before it; and everybody was missed where nobody was reached at all.
fn missed<'a>(notification: &'a Notification, reach: &[Reach]) -> Vec<Missed<'a>> {
    let was_nobody_reached = reach.iter().all(|reach| reach.seen == reach.lost);
    let users = notification.to.iter().zip(reach);
    let known = users.take_while(|(target, _)| was_nobody_reached || matches!(target, Target::User(_)));
    let lost = known.filter_map(|(target, reach)| match target {
        Target::User(user) if reach.seen == 0 => Some((user, Unreached::Absent)),
        Target::User(user) if reach.seen == reach.lost => Some((user, Unreached::Failed)),
        _ => None,
    });
    lost.collect()
}

/// All users of a notification whose time to live was over before anybody was tried.
fn expired(notification: &Notification) -> Vec<Missed<'_>> {
    let users = notification.to.iter().filter_map(|target| match target {
        Target::User(user) => Some((user, Unreached::Expired)),
        _ => None,
    });
    users.collect()
}

impl FanOut {
    /// Whether somebody is to be told of the users of this notification who are not reached.
    pub(super) fn tells(&self, notification: &Notification) -> bool {
        self.bus.is_some() && notification.to.iter().any(|target| matches!(target, Target::User(_)))
    }

    /// Tells of the users whom a run has not reached. Where that fails, nothing is delivered twice for it: a segment of
    /// which nobody was reached `may_come_again`, and then the error says so; else the notification is kept as a dead
    /// letter, for those users alone.
    pub(super) async fn tell_missed(
        &self,
        handover: &Handover,
        reach: &[Reach],
        may_come_again: bool,
        invocation: &Invocation,
    ) -> Result<(), FanOutError> {
        let missed = missed(&handover.segment.notification, reach);
        let Err(error) = self.tell(&handover.segment, &missed, invocation).await else { return Ok(()) };
        if may_come_again && reach.iter().all(|reach| reach.seen == reach.lost) {
            return Err(error.into());
        }
        self.keep_missed(handover, &missed, &error).await
    }

    /// Tells of all users of a notification that expired before anybody was tried. Where that fails, a segment that
    /// `may_come_again` does, and else the notification is kept as a dead letter.
    pub(super) async fn tell_expired(
        &self,
        handover: &Handover,
        may_come_again: bool,
        invocation: &Invocation,
    ) -> Result<(), FanOutError> {
        let expired = expired(&handover.segment.notification);
        match self.tell(&handover.segment, &expired, invocation).await {
            Ok(()) => Ok(()),
            Err(error) if may_come_again => Err(error.into()),
            Err(error) => self.keep_missed(handover, &expired, &error).await,
        }
    }

    async fn tell(&self, segment: &Segment, missed: &[Missed<'_>], invocation: &Invocation) -> Result<(), EventsError> {
        if let Some(bus) = self.bus.as_ref().filter(|_| !missed.is_empty()) {
            let (notification, scope, at) = (&segment.notification, segment.scope.as_str(), invocation.now);
            let events =
                missed.iter().map(|&(user, reason)| Event::Undelivered { user, reason, notification, scope, at });
            bus.put(&events.collect::<Vec<_>>()).await?;
            tracing::info!(notification.id = %notification.id, users = missed.len(), "told who was not reached");
        }
        invocation.recorder.add(Metric::Undelivered, missed.len() as u64);
        Ok(())
    }

    async fn keep_missed(
        &self,
        handover: &Handover,
        missed: &[Missed<'_>],
        error: &EventsError,
    ) -> Result<(), FanOutError> {
        let to: Vec<_> = missed.iter().map(|(user, _)| Target::User((*user).clone())).collect();
        let reason = format!("{} users were not reached, and nobody is told: {}", to.len(), crate::describe(error));
        handover.keep(to, &reason).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NotificationId;
    use crate::notification::Defaults;

    fn notification(to: &str) -> Notification {
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 0 };
        Notification::parse(&format!(r#"{{"to":{to},"data":1}}"#), &defaults).unwrap()
    }

    #[track_caller]
    fn check(to: &str, reach: &[(u32, u32)], expected: &[(&str, Unreached)]) {
        let reach: Vec<_> = reach.iter().map(|(seen, lost)| Reach { seen: *seen, lost: *lost }).collect();
        let notification = notification(to);
        let missed = missed(&notification, &reach);
        let missed: Vec<_> = missed.iter().map(|(user, reason)| (user.as_str(), *reason)).collect();
        assert_eq!(missed, expected, "{to}");
    }

    #[test]
    fn a_user_is_missed_who_is_absent_or_whose_connections_are_all_lost() {
        check(r#"{"user":"a"}"#, &[(0, 0)], &[("a", Unreached::Absent)]);
        check(r#"{"user":"a"}"#, &[(2, 2)], &[("a", Unreached::Failed)]);
        check(r#"{"user":"a"}"#, &[(2, 1)], &[]);
        check(r#"{"topic":"a"}"#, &[(0, 0)], &[]);
    }

    #[test]
    fn each_user_counts_for_itself() {
        let to = r#"[{"user":"a"},{"user":"b"},{"user":"c"}]"#;
        check(to, &[(0, 0), (1, 0), (1, 1)], &[("a", Unreached::Absent), ("c", Unreached::Failed)]);
    }

    #[test]
    fn a_user_behind_another_kind_of_target_is_missed_only_where_nobody_was_reached() {
        let to = r#"[{"user":"a"},{"topic":"t"},{"user":"b"}]"#;
        check(to, &[(0, 0), (1, 0), (0, 0)], &[("a", Unreached::Absent)]);
        check(to, &[(0, 0), (1, 1), (0, 0)], &[("a", Unreached::Absent), ("b", Unreached::Absent)]);
    }

    #[test]
    fn an_audience_that_was_not_read_to_its_end_says_nothing() {
        check(r#"{"user":"a"}"#, &[], &[]);
    }

    #[test]
    fn all_users_of_a_notification_that_expired_are_missed() {
        let notification = notification(r#"[{"user":"a"},{"topic":"t"},{"user":"b"}]"#);
        let users: Vec<_> = expired(&notification).iter().map(|(user, _)| user.as_str()).collect();
        assert_eq!(users, ["a", "b"]);
    }
}
