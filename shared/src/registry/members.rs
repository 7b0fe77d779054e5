//! Reading audiences: page by page, several merged like sorted lists, never a whole one in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::interval::Interval;
use super::items::{self, Item};
use super::keys::{Key, sort_key, topic_partition, user_partition};
use super::names::{CONNECTED_AT, EPOCH, EXPIRES_AT, LIVE_FROM, PK, PLACE, PROTOCOL, SINCE, SK, SOCKET, STATE};
use super::strict::Strict;
use super::{Registry, RegistryError, retry};
use crate::ids::{ConnectionId, Socket};
use crate::notification::Target;
use crate::protocol::Protocol;

/// Partitions whose first pages are read side by side: everyone is 64 of them, and most hold one page or less.
const READ_AHEAD: usize = 16;

/// A connection that a notification reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its place in every audience; an [`Interval`] that starts after it goes on behind it.
    pub sort_key: String,
    /// Who it is.
    pub connection: ConnectionId,
    /// Where to push.
    pub socket: Socket,
    /// How to write what is pushed.
    pub protocol: Protocol,
    /// When it connected, in milliseconds since the epoch.
    pub connected_at: i64,
    /// Index of the first target that names it.
    pub target: usize,
    /// How far it is, where its client must get nothing twice and nothing out of order.
    pub strict: Option<Strict>,
    /// Partition of the membership that led to it.
    pub(super) membership: Arc<str>,
}

/// The members of one or several audiences, in the order of their sort keys, each once.
#[derive(Debug)]
pub struct Members {
    registry: Registry,
    now: i64,
    readers: Vec<Reader>,
}

/// One audience, sorted.
#[derive(Debug)]
struct Reader {
    /// Not read yet.
    ranges: VecDeque<Range>,
    /// Read, in order. The first one that is empty and has more goes on where it ended.
    pages: VecDeque<Page>,
}

#[derive(Debug, Clone)]
enum Range {
    /// An interval of a partition.
    Rows { pk: Arc<str>, target: usize, interval: Interval, wanted: Wanted },
    /// Connections that were named one by one, at most 100, with their targets.
    Named(Vec<(ConnectionId, usize)>),
}

/// Which rows of a partition are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// Those of connections that are to hear something now and then.
    Quiet,
}

impl Wanted {
    fn has(self, member: &Member) -> bool {
        self == Self::All || member.protocol.keep_alive().is_some()
    }
}

#[derive(Debug)]
struct Page {
    members: VecDeque<Member>,
    rest: Option<Range>,
}

impl Registry {
    /// The members of the audiences that `targets` name, as far as their sort keys lie in `interval`. Rows that have
    /// expired at `now` (milliseconds since the epoch) and those of connections that have left are left out.
    ///
    /// Read consistently, so that nobody is missed whose subscription was acknowledged.
    #[must_use]
    pub fn members(&self, targets: &[Target], interval: &Interval, now: i64) -> Members {
        let mut readers = Vec::new();
        let mut named = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            let partitions = match target {
                Target::Connection(connection) | Target::Newcomer(connection) => {
                    named.push((connection.clone(), index));
                    continue;
                }
                Target::User(user) => interval.partition(user_partition(user)),
                Target::Topic(topic) => interval.partition(topic_partition(topic)),
                Target::Watchers(topic) => interval.partition(topic_partition(&topic.watching())),
                Target::Everyone | Target::Quiet => interval.everyone_partitions(),
            };
            let wanted = if *target == Target::Quiet { Wanted::Quiet } else { Wanted::All };
            let rows = |pk: String| Range::Rows { pk: pk.into(), target: index, interval: interval.clone(), wanted };
            readers.push(Reader { ranges: partitions.into_iter().map(rows).collect(), pages: VecDeque::new() });
        }
        named.retain(|(connection, _)| interval.contains(&sort_key(connection)));
        if !named.is_empty() {
            readers.push(Reader { ranges: VecDeque::from([Range::Named(named)]), pages: VecDeque::new() });
        }
        Members { registry: self.clone(), now, readers }
    }

    async fn read_range(&self, range: Range, now: i64) -> Result<Page, RegistryError> {
        match range {
            Range::Rows { pk, target, interval, wanted } => self.rows((pk, target, wanted), interval, now).await,
            Range::Named(named) => self.named(&named, now).await,
        }
    }

    async fn rows(
        &self,
        (pk, target, wanted): (Arc<str>, usize, Wanted),
        interval: Interval,
        now: i64,
    ) -> Result<Page, RegistryError> {
        let answer = retry::retrying("Query", || async {
            let request = self.query(&pk, &interval).projection_expression(PROJECTION);
            let request = request.set_expression_attribute_names(Some(placeholders()));
            Ok(request.consistent_read(true).limit(self.page_rows).send().await?)
        })
        .await?;
        self.counter.add_read(answer.consumed_capacity.as_ref());
        let last = answer.last_evaluated_key.as_ref().map(items::sort_key);
        let members = answer.items().iter().filter_map(|item| member(item, target, &pk, now));
        let members = members.filter(|member| wanted.has(member)).collect();
        let rest = last.and_then(|last| interval.behind(last));
        Ok(Page { members, rest: rest.map(|interval| Range::Rows { pk, target, interval, wanted }) })
    }

    async fn named(&self, named: &[(ConnectionId, usize)], now: i64) -> Result<Page, RegistryError> {
        let keys = named.iter().map(|(connection, _)| Key::everyone(connection).attributes()).collect();
        let items = self.read_batch(keys).await?;
        let targets: HashMap<&ConnectionId, usize> =
            named.iter().map(|(connection, target)| (connection, *target)).collect();
        let mut members: Vec<_> = items.iter().filter_map(|item| named_member(item, &targets, now)).collect();
        members.sort_unstable_by(|one, other| one.sort_key.cmp(&other.sort_key));
        Ok(Page { members: members.into(), rest: None })
    }
}

pub(super) const PROJECTION: &str =
    "#sk, #protocol, #connected_at, #socket, #expires_at, #state, #place, #since, #live_from, #epoch";

pub(super) fn placeholders() -> HashMap<String, String> {
    [
        ("#sk", SK),
        ("#protocol", PROTOCOL),
        ("#connected_at", CONNECTED_AT),
        ("#socket", SOCKET),
        ("#expires_at", EXPIRES_AT),
        ("#state", STATE),
        ("#place", PLACE),
        ("#since", SINCE),
        ("#live_from", LIVE_FROM),
        ("#epoch", EPOCH),
    ]
    .map(|(placeholder, name)| (placeholder.to_owned(), name.to_owned()))
    .into()
}

/// What a row says of its connection. A row that cannot be read must not keep the others from being served.
pub(super) fn member(item: &Item, target: usize, membership: &Arc<str>, now: i64) -> Option<Member> {
    if !items::counts(item, now) {
        return None;
    }
    match items::read(item) {
        Ok(connection) => Some(Member {
            sort_key: items::sort_key(item),
            connection: connection.id,
            socket: connection.socket,
            protocol: connection.protocol,
            connected_at: connection.connected_at,
            target,
            strict: Strict::read(item),
            membership: Arc::clone(membership),
        }),
        Err(error) => {
            tracing::error!(%error, %membership, "skipped a row that cannot be read");
            None
        }
    }
}

fn named_member(item: &Item, targets: &HashMap<&ConnectionId, usize>, now: i64) -> Option<Member> {
    let membership = items::text(item, PK)?.as_str().into();
    let member = member(item, 0, &membership, now)?;
    Some(Member { target: targets.get(&member.connection).copied().unwrap_or_default(), ..member })
}

impl Reader {
    fn first(&self) -> Option<&Member> {
        self.pages.front()?.members.front()
    }

    /// Drops pages that are served, as far as the next one is there.
    fn advance(&mut self) {
        while self.pages.len() > 1
            && self.pages.front().is_some_and(|page| page.members.is_empty() && page.rest.is_none())
        {
            self.pages.pop_front();
        }
    }

    /// Drops what is served; says what must be read before the reader can go on.
    fn wanted(&mut self) -> Vec<Range> {
        while let Some(page) = self.pages.front_mut() {
            if !page.members.is_empty() {
                return Vec::new();
            }
            let rest = page.rest.take();
            self.pages.pop_front();
            if let Some(rest) = rest {
                return vec![rest];
            }
        }
        let count = self.ranges.len().min(READ_AHEAD);
        self.ranges.drain(..count).collect()
    }

    async fn fill(&mut self, registry: &Registry, now: i64) -> Result<(), RegistryError> {
        loop {
            let wanted = self.wanted();
            if wanted.is_empty() {
                return Ok(());
            }
            let goes_on = !self.pages.is_empty();
            let read = try_join_all(wanted.into_iter().map(|range| registry.read_range(range, now))).await?;
            // A page that goes on comes before those that were read ahead.
            for page in read {
                match goes_on {
                    true => self.pages.push_front(page),
                    false => self.pages.push_back(page),
                }
            }
        }
    }
}

impl Members {
    /// The next members, as many as can be told without reading on; empty at the end.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn next(&mut self) -> Result<Vec<Member>, RegistryError> {
        let (registry, now) = (&self.registry, self.now);
        try_join_all(self.readers.iter_mut().map(|reader| reader.fill(registry, now))).await?;
        self.readers.retain(|reader| reader.first().is_some());
        let mut members = Vec::new();
        while let Some(member) = self.pop() {
            members.push(member);
            if self.readers.iter().any(|reader| reader.first().is_none()) {
                break;
            }
        }
        Ok(members)
    }

    /// Whether nothing is left to read or to tell.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.readers.iter().all(|reader| {
            reader.ranges.is_empty() && reader.pages.iter().all(|page| page.members.is_empty() && page.rest.is_none())
        })
    }

    /// Takes the smallest member off every audience that it leads; the first target that names it wins.
    fn pop(&mut self) -> Option<Member> {
        let smallest =
            self.readers.iter().filter_map(Reader::first).min_by(|one, other| {
                (one.sort_key.as_str(), one.target).cmp(&(other.sort_key.as_str(), other.target))
            })?;
        let sort_key = smallest.sort_key.clone();
        let target = smallest.target;
        let mut chosen = None;
        for reader in &mut self.readers {
            if let Some(page) = reader.pages.front_mut()
                && page.members.front().is_some_and(|member| member.sort_key == sort_key)
            {
                let member = page.members.pop_front();
                reader.advance();
                if member.as_ref().is_some_and(|member| member.target == target) {
                    chosen = member;
                }
            }
        }
        chosen
    }
}
