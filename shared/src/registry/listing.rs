//! Looking at audiences: who is in one, page by page, and how many.

use std::collections::VecDeque;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, Select};
use futures_util::future::try_join_all;

use super::interval::Interval;
use super::items::{self, Connection};
use super::keys::{connection_of, topic_partition, user_partition};
use super::names::{EXPIRES_AT, LEFT, PK, SK, STATE, USER};
use super::{Registry, RegistryError, members, retry};
use crate::ids::{ConnectionId, Topic, UserId};

/// Most rounds of queries for one page: rows that have expired can fill many, and somebody waits. Partitions without a row
/// take eight at most.
const MAX_ROUNDS: usize = 40;
/// Partitions that are read side by side where the first ones have little.
const MOST_SIDE_BY_SIDE: usize = 16;

/// Which rows of an audience count, as [`items::counts`] has it.
const COUNTS: &str = "#expires_at > :now AND NOT #state = :left";

/// Connections that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience<'a> {
    /// All there are.
    Everyone,
    /// Those of a user.
    User(&'a UserId),
    /// Those that are subscribed to a topic.
    Topic(&'a Topic),
}

impl Audience<'_> {
    /// Its partitions that can hold something of the interval, in the order of their sort keys.
    fn partitions(self, interval: &Interval) -> Vec<String> {
        match self {
            Self::Everyone => interval.everyone_partitions(),
            Self::User(user) => interval.partition(user_partition(user)),
            Self::Topic(topic) => interval.partition(topic_partition(topic)),
        }
    }
}

/// A page of an audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of the audience, without their topics.
    pub connections: Vec<Connection>,
    /// The place where the next page begins, behind this connection; `None` at the end.
    pub next: Option<ConnectionId>,
}

/// What one query gave.
struct Read {
    alive: Vec<Connection>,
    /// The sort key of the last row, expired or not.
    last: Option<String>,
    /// Whether the partition may have more.
    goes_on: bool,
}

impl Registry {
    /// A query of a part of a partition.
    pub(super) fn query(&self, pk: &str, interval: &Interval) -> QueryFluentBuilder {
        let (condition, bounds) = interval.condition();
        let mut query = self.client.query().table_name(&self.table).key_condition_expression(condition);
        query = query.expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()));
        for (name, bound) in bounds {
            query = query.expression_attribute_values(name, AttributeValue::S(bound));
        }
        query.return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Asks consistently.
    pub(super) async fn ask(&self, query: QueryFluentBuilder) -> Result<QueryOutput, RegistryError> {
        let query = query.consistent_read(true);
        let answer = retry::retrying("Query", || async { Ok(query.clone().send().await?) }).await?;
        self.counter.add_read(answer.consumed_capacity.as_ref());
        Ok(answer)
    }

    /// The rows of a partition from one sort key to another, both included, at most so many; the last one first where
    /// `backwards`. Asked for consistently.
    pub(super) async fn between(
        &self,
        pk: String,
        (first, last): (String, String),
        backwards: bool,
        limit: i32,
    ) -> Result<QueryOutput, RegistryError> {
        let query = self.client.query().table_name(&self.table);
        let query = query
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :first AND :last")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":pk", AttributeValue::S(pk))
            .expression_attribute_values(":first", AttributeValue::S(first))
            .expression_attribute_values(":last", AttributeValue::S(last))
            .scan_index_forward(!backwards)
            .limit(limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.ask(query).await
    }

    /// Up to `limit` connections of an audience, from behind `after` on. Rows that have expired at `now` (milliseconds
    /// since the epoch) and those of connections that have left are left out, and a page may be shorter for it, even
    /// empty: only an absent [`Page::next`] is the end. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn page(
        &self,
        audience: Audience<'_>,
        after: Option<&ConnectionId>,
        limit: u16,
        now: i64,
    ) -> Result<Page, RegistryError> {
        let limit = usize::from(limit);
        let mut interval = after.map_or_else(Interval::whole, Interval::beyond);
        let mut partitions = VecDeque::from(audience.partitions(&interval));
        let mut connections = Vec::new();
        let mut side_by_side = 1;
        for _ in 0..MAX_ROUNDS {
            let wanted = i32::try_from(limit - connections.len()).unwrap_or(i32::MAX);
            let some = partitions.iter().take(side_by_side);
            for read in try_join_all(some.map(|pk| self.list(pk, &interval, wanted, now))).await? {
                connections.extend(read.alive);
                interval.after = read.last.or(interval.after);
                if read.goes_on {
                    // What was read beyond is not next.
                    break;
                }
                partitions.pop_front();
            }
            if connections.len() >= limit || partitions.is_empty() {
                break;
            }
            side_by_side = (side_by_side * 2).min(MOST_SIDE_BY_SIDE);
        }
        let goes_on = connections.len() > limit || !partitions.is_empty();
        connections.truncate(limit);
        let last = match connections.last() {
            Some(last) if connections.len() == limit => Some(last.id.clone()),
            _ => interval.after.as_deref().and_then(connection_of),
        };
        Ok(Page { connections, next: last.filter(|_| goes_on) })
    }

    /// Up to `limit` rows of a partition.
    async fn list(&self, pk: &str, interval: &Interval, limit: i32, now: i64) -> Result<Read, RegistryError> {
        let answer = retry::retrying("Query", || async {
            let mut names = members::placeholders();
            names.insert("#user".to_owned(), USER.to_owned());
            let request = self.query(pk, interval).projection_expression(format!("{}, #user", members::PROJECTION));
            let request = request.set_expression_attribute_names(Some(names));
            Ok(request.consistent_read(true).limit(limit).send().await?)
        })
        .await?;
        self.counter.add_read(answer.consumed_capacity.as_ref());
        let alive = answer.items().iter().filter(|item| items::counts(item, now));
        Ok(Read {
            alive: alive.filter_map(items::readable).collect(),
            last: answer.items().last().map(items::sort_key),
            goes_on: answer.last_evaluated_key.is_some(),
        })
    }

    /// How many connections an audience has in an interval. Every row is read, eventually consistently, and none is sent:
    /// half a read unit for 4 KB of them.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn count(&self, audience: Audience<'_>, interval: &Interval, now: i64) -> Result<u64, RegistryError> {
        let partitions = audience.partitions(interval);
        let counts = try_join_all(partitions.iter().map(|pk| self.count_partition(pk, interval.clone(), now))).await?;
        Ok(counts.into_iter().sum())
    }

    async fn count_partition(&self, pk: &str, mut interval: Interval, now: i64) -> Result<u64, RegistryError> {
        let mut count = 0;
        loop {
            let answer = retry::retrying("Query", || async {
                let request = self.query(pk, &interval).select(Select::Count).filter_expression(COUNTS);
                let request = request
                    .expression_attribute_names("#expires_at", EXPIRES_AT)
                    .expression_attribute_names("#state", STATE)
                    .expression_attribute_values(":now", AttributeValue::N((now / 1_000).to_string()))
                    .expression_attribute_values(":left", AttributeValue::S(LEFT.to_owned()));
                Ok(request.send().await?)
            })
            .await?;
            self.counter.add_read(answer.consumed_capacity.as_ref());
            count += u64::try_from(answer.count).unwrap_or_default();
            let last = answer.last_evaluated_key.as_ref().map(items::sort_key);
            match last.and_then(|last| interval.behind(last)) {
                None => return Ok(count),
                Some(rest) => interval = rest,
            }
        }
    }
}
