//! Reading who is there.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Select};

use super::super::interval::Interval;
use super::super::items::{self, Item};
use super::super::keys::{Key, here_of, here_partition, user_partition};
use super::super::names::{CHANGE, EXPIRES_AT, INFO, SINCE};
use super::super::{Registry, RegistryError};
use crate::ids::{ConnectionId, Topic};
use crate::presence::{Client, Here, Subject};

/// Pages of a topic that are read for one answer: beyond some 10,000 connections the rest is not counted.
const MOST_PAGES: usize = 10;

impl Registry {
    /// Who is in a topic at `now` (milliseconds since the epoch), at most `most` of them by name. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or a row is malformed.
    pub async fn here(&self, topic: &Topic, most: usize, now: i64) -> Result<Here, RegistryError> {
        // Before the others: what is told later may be newer than what is read now.
        let told = self.get(Key::telling(topic).attributes()).await?;
        let change = told.map_or(Ok(0), |told| items::number(&told, CHANGE))?;
        let mut here = Here { change, ..Here::default() };
        let (mut last, mut from) = (None, None);
        for page in 0.. {
            let (rows, rest) = self.here_page(topic, from.take()).await?;
            for row in rows.iter().filter(|row| !items::is_expired(row, now)) {
                if let Some((user, _)) = here_of(&items::sort_key(row)) {
                    here.add(user, items::number(row, SINCE)?, &mut last, most);
                }
            }
            let Some(rest) = rest else { break };
            if page + 1 == MOST_PAGES {
                here.more = true;
                break;
            }
            from = Some(rest);
        }
        Ok(here)
    }

    /// The connections that are in a topic at `now` (milliseconds since the epoch), at most `most`. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn clients_here(&self, topic: &Topic, most: usize, now: i64) -> Result<Vec<Client>, RegistryError> {
        let (mut clients, mut from) = (Vec::new(), None);
        loop {
            let (rows, rest) = self.here_page(topic, from.take()).await?;
            for row in rows.iter().filter(|row| !items::is_expired(row, now)) {
                if let Some((user, connection)) = here_of(&items::sort_key(row))
                    && let Ok(connection) = ConnectionId::parse(connection)
                {
                    clients.push(Client { connection, user, info: items::text(row, INFO).cloned() });
                }
            }
            match rest {
                Some(rest) if clients.len() < most => from = Some(rest),
                _ => break,
            }
        }
        clients.truncate(most);
        Ok(clients)
    }

    async fn here_page(
        &self,
        topic: &Topic,
        from: Option<HashMap<String, AttributeValue>>,
    ) -> Result<(Vec<Item>, Option<Item>), RegistryError> {
        let query = self.query(&here_partition(topic), &Interval::whole()).limit(self.page_rows);
        let answer = self.ask(query.set_exclusive_start_key(from)).await?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    /// Whether more than `most` connections are in a topic at `now` (milliseconds since the epoch).
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn is_here_above(&self, topic: &Topic, most: usize, now: i64) -> Result<bool, RegistryError> {
        let (mut count, mut from) = (0, None);
        loop {
            let query = self.query(&here_partition(topic), &Interval::whole()).limit(self.page_rows);
            let query = alive(query.select(Select::Count), now).set_exclusive_start_key(from.take());
            let answer = self.ask(query).await?;
            count += usize::try_from(answer.count).unwrap_or_default();
            match answer.last_evaluated_key {
                _ if count > most => return Ok(true),
                None => return Ok(false),
                rest => from = rest,
            }
        }
    }

    /// Whether somebody is there at `now` (milliseconds since the epoch), in a topic or anywhere. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn is_there(&self, subject: &Subject, now: i64) -> Result<bool, RegistryError> {
        let Subject { topic, user } = subject;
        let mut from = None;
        loop {
            let query = match topic {
                None => self.query(&user_partition(user), &Interval::whole()),
                Some(topic) => {
                    let start = AttributeValue::S(format!("{user}#"));
                    let query = self.query(&here_partition(topic), &Interval::whole());
                    let query = query.key_condition_expression("pk = :pk AND begins_with(sk, :start)");
                    query.expression_attribute_values(":start", start)
                }
            };
            let answer = self.ask(alive(query, now).set_exclusive_start_key(from.take())).await?;
            // Another user's name may begin with this one and a `#`.
            let is_of_user = |row: &Item| {
                topic.is_none() || here_of(&items::sort_key(row)).is_some_and(|(found, _)| found.as_ref() == Some(user))
            };
            if answer.items().iter().any(is_of_user) {
                return Ok(true);
            }
            match answer.last_evaluated_key {
                None => return Ok(false),
                rest => from = rest,
            }
        }
    }
}

/// Those alone whose time is not over at `now` (milliseconds since the epoch).
fn alive(query: QueryFluentBuilder, now: i64) -> QueryFluentBuilder {
    let query = query.filter_expression("#expires_at > :now").expression_attribute_names("#expires_at", EXPIRES_AT);
    query.expression_attribute_values(":now", super::number(now / 1_000))
}
