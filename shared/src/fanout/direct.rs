//! Notifications that somebody waits for: a small audience is served at once, and nothing of it is written down.

use std::sync::Arc;

use super::handover::{delay, follow};
use super::logged::Part;
use super::page::FirstPage;
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::{Finish, Report, Rest, check_size};
use crate::metrics::Metric;
use crate::notification::Notification;
use crate::registry::{Interval, Position};

/// What the ids of direct invokes are unique in.
const DIRECT: &str = "direct";

impl FanOut {
    /// Delivers a notification that somebody waits for. A small audience is served at once, without a row; a large one is
    /// handed to the fan-out queue as a whole, and whoever cannot be reached soon goes on through it. Where an audience has
    /// a log, and the id is the producer's own, it is remembered, so that nothing is appended twice.
    ///
    /// # Errors
    /// When it can neither be delivered nor handed on.
    pub async fn direct(&self, notification: Notification, invocation: &Invocation) -> Result<Report, FanOutError> {
        let segment = Segment::whole(notification, DIRECT);
        let notification = &segment.notification;
        if notification.is_expired(invocation.now) {
            self.tell_expired(&self.handover(&segment, invocation), false, invocation).await?;
            return Ok(invocation.counted(Report { expired: 1, ..Report::new(&notification.id) }));
        }
        check_size(notification)?;
        let has_own_id = !notification.id.as_str().starts_with(&invocation.owner);
        let mut report = Report::new(&notification.id);
        for Part { mut segment, log } in self.parts(&segment) {
            report.add(&match &log {
                None => {
                    let first_page = self.first_page(&segment, &Position::default(), None).await?;
                    self.direct_to(&segment, first_page, invocation).await?
                }
                Some(log) if log.retention.ordered && !has_own_id => {
                    let head = self.head_of(log, invocation).await?;
                    self.append(&mut segment, log, head, None, invocation, async |_| Ok(())).await?;
                    self.serve_ordered(&segment, log, None, invocation).await?
                }
                Some(log) if has_own_id => {
                    let pass_on = async |segment: &Segment| self.hand_on_whole(segment, invocation).await;
                    self.up_to_logged(None, segment, log, invocation, &pass_on).await?
                }
                Some(log) => {
                    let head = self.head_of(log, invocation).await?;
                    let read = async |segment: &Segment| self.first_page(segment, &Position::default(), None).await;
                    let first_page = self.append(&mut segment, log, head, None, invocation, read).await?;
                    self.direct_to(&segment, first_page, invocation).await?
                }
            });
        }
        Ok(report)
    }

    /// Delivers to an audience that nobody else has looked at, and of which nothing is written down.
    async fn direct_to(
        &self,
        segment: &Segment,
        first_page: FirstPage,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        if first_page.plan(&segment.interval, self.budget(invocation)).is_some() {
            return self.hand_on_whole(segment, invocation).await;
        }
        let handover = Arc::new(self.handover(segment, invocation));
        let Finish { mut report, rest, reach } =
            self.push(&handover, first_page, Position::default(), None, invocation).await?;
        self.tell_missed(&handover, &reach, false, invocation).await?;
        if let Some(rest) = rest {
            let parts = rest_of(segment, &rest);
            report.segments = parts.len() as u64;
            invocation.recorder.add(Metric::Segments, report.segments);
            handover.send(parts, delay(rest.why, self.delivery.clock().milliseconds())).await?;
        }
        Ok(report)
    }
}

/// What is left of an audience that somebody waited for: whoever was begun by name, and what lies beyond, if anything does.
fn rest_of(segment: &Segment, rest: &Rest) -> Vec<Segment> {
    let segment = follow(segment, rest.why);
    let position = &rest.position;
    let mut parts = Vec::new();
    if !position.stragglers.is_empty() {
        let only = position.stragglers.iter().cloned().collect();
        parts.push(Segment { id: format!("{}.stragglers", segment.id), only, ..segment.clone() });
    }
    if rest.goes_on {
        let interval = Interval { after: position.cursor.clone(), to: segment.interval.to.clone() };
        let counted = position.counted.clone();
        parts.push(Segment { id: format!("{}.rest", segment.id), interval, counted, ..segment });
    }
    parts
}
