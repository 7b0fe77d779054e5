//! Whose connections a call means: read page by page, with what a filter asks for.

use futures_util::{StreamExt, TryStreamExt, stream};
use tidings::ConnectionId;
use tidings::clock::Clock;
use tidings::registry::{Audience, Connection};
use tokio::time::Instant;

use super::failure::Failure;
use super::filter::{Filter, Subject};
use super::operation::Whose;
use super::parameters::Parameters;
use super::{Call, SIDE_BY_SIDE};

/// Connections of a page.
const PAGE: u16 = 500;

/// Those who are meant of an audience.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) filter: Option<Filter>,
    /// Connections that are not.
    pub(super) excluded: Vec<ConnectionId>,
}

impl Choice {
    /// What `filter` and `excluded` say.
    pub(super) fn take(parameters: &mut Parameters) -> Result<Self, Failure> {
        let filter = parameters.take("filter")?;
        Ok(Self { filter: filter_of(filter.as_deref())?, ..Self::without(parameters) })
    }

    /// What `excluded` says. A text that is the id of no connection leaves none out.
    pub(super) fn without(parameters: &mut Parameters) -> Self {
        let named = parameters.take_all("excluded").into_iter();
        Self { filter: None, excluded: named.filter_map(|id| ConnectionId::parse(id).ok()).collect() }
    }
}

/// A filter; an empty one is none.
pub(super) fn filter_of(text: Option<&str>) -> Result<Option<Filter>, Failure> {
    let filter = text.filter(|text| !text.is_empty()).map(Filter::parse);
    filter.transpose().map_err(|error| Failure::bad_filter(&error))
}

impl Call<'_> {
    /// Where those are found that are meant; `None` where it is nobody, or one connection that need not be looked for.
    pub(super) fn audience<'a>(&'a self, whose: &'a Whose) -> Option<Audience<'a>> {
        match whose {
            Whose::Everybody => Some(Audience::Topic(self.hub.topic())),
            Whose::Group(topic) => Some(Audience::Topic(topic)),
            Whose::User(user) => user.as_ref().map(Audience::User),
            Whose::Connection(_) => None,
        }
    }

    /// Does something with each page of those who are meant of an audience.
    pub(super) async fn each_page(
        &self,
        audience: Audience<'_>,
        choice: &Choice,
        mut act: impl AsyncFnMut(Vec<Connection>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after = None;
        loop {
            if Instant::now() >= self.deadline {
                return Err(Failure::TOO_MANY_CONNECTIONS);
            }
            let page = self.deps.registry.page(audience, after.as_ref(), PAGE, now()).await?;
            act(self.chosen(page.connections, choice).await?).await?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Does something to each of those who are meant of an audience, many side by side.
    pub(super) async fn each(
        &self,
        audience: Audience<'_>,
        choice: &Choice,
        act: impl AsyncFn(ConnectionId) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let act = &act;
        let page = async |connections: Vec<Connection>| {
            let acts = connections.into_iter().map(|connection| act(connection.id));
            stream::iter(acts).buffer_unordered(SIDE_BY_SIDE).try_collect().await
        };
        self.each_page(audience, choice, page).await
    }

    async fn chosen(&self, mut page: Vec<Connection>, choice: &Choice) -> Result<Vec<Connection>, Failure> {
        page.retain(|connection| !choice.excluded.contains(&connection.id));
        let Some(filter) = &choice.filter else { return Ok(page) };
        if filter.reads_groups() {
            // Members of an audience are read without their topics.
            let ids: Vec<_> = page.into_iter().map(|connection| connection.id).collect();
            page = self.deps.registry.connections(&ids).await?;
        }
        page.retain(|connection| self.is_admitted(connection, filter));
        Ok(page)
    }

    fn is_admitted(&self, connection: &Connection, filter: &Filter) -> bool {
        let groups: Vec<_> = connection.topics.iter().filter_map(|topic| self.hub.group_of(topic)).collect();
        filter.admits(&Subject {
            connection: connection.id.as_str(),
            user: connection.user.as_ref().map(tidings::UserId::as_str),
            protocol: connection.protocol.name(),
            groups: &groups,
        })
    }
}

/// Milliseconds since the epoch.
pub(super) fn now() -> i64 {
    Clock::System.milliseconds()
}
