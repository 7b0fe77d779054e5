//! The beginning of an audience, which tells how large it is.

use super::segment::{divide, plan};
use super::{FanOut, FanOutError, Segment};
use crate::notification::Target;
use crate::registry::{Interval, Member, Members, Position};

/// What there is of an audience at its beginning.
pub(super) struct FirstPage {
    pub(super) members: Members,
    pub(super) first: Vec<Member>,
}

impl FirstPage {
    /// Whether the audience is above `most`.
    pub(super) fn is_above(&self, most: usize) -> bool {
        self.first.len() > most || !self.members.is_at_end()
    }

    /// The parts to split the audience into, where it is too large for one invocation.
    pub(super) fn plan(&self, interval: &Interval, budget: usize) -> Option<Vec<Interval>> {
        let (read, last) = (self.first.len(), self.first.last()?);
        match self.members.is_at_end() {
            true => divide(interval, read, budget),
            false => plan(interval, read, &last.sort_key, budget),
        }
    }
}

impl FanOut {
    /// Reads the first page, which tells the size; or no more than is needed to tell that it is above `most`.
    pub(super) async fn first_page(
        &self,
        segment: &Segment,
        position: &Position,
        most: Option<usize>,
    ) -> Result<FirstPage, FanOutError> {
        let interval = match position.cursor {
            None => segment.interval.clone(),
            Some(_) => position.rest_of(&segment.interval),
        };
        self.first_page_in(&segment.notification.to, &interval, most).await
    }

    /// The same of an audience that others have begun with, as far as `position`.
    pub(super) async fn first_page_of(
        &self,
        to: &[Target],
        interval: &Interval,
        position: &Position,
    ) -> Result<FirstPage, FanOutError> {
        let rest = position.cursor.is_some().then(|| position.rest_of(interval));
        self.first_page_in(to, rest.as_ref().unwrap_or(interval), None).await
    }

    async fn first_page_in(
        &self,
        to: &[Target],
        interval: &Interval,
        most: Option<usize>,
    ) -> Result<FirstPage, FanOutError> {
        let rows = most.and_then(|most| i32::try_from(most + 1).ok());
        let registry = self.delivery.registry().clone();
        let registry = rows.map_or(registry.clone(), |rows| registry.with_page_rows(rows));
        let now = self.delivery.clock().milliseconds();
        let mut members = registry.members(to, interval, now);
        let mut first = members.next().await?;
        while let Some(most) = most
            && first.len() <= most
            && !members.is_at_end()
        {
            let more = members.next().await?;
            if more.is_empty() {
                break;
            }
            first.extend(more);
        }
        Ok(FirstPage { members, first })
    }
}
