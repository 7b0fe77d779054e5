//! Connections whose time is over: who ends without a word is looked at then.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::super::interval::Interval;
use super::super::items::{self, Item};
use super::super::keys::{Key, ends_partition};
use super::super::names::{ENDS_AT, SPAN, TOPIC, USER};
use super::super::{Registry, RegistryError, batch, retry};
use super::SPAN_SECONDS;
use crate::ids::{Topic, UserId};
use crate::presence::Subject;

/// Parts of five minutes, one for each hex digit.
const DIGITS: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];
/// Spans that are looked at where nobody looked for long: what is older has expired.
const MOST_SPANS: i64 = 24 * 3_600 / SPAN_SECONDS;

/// Where connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    span: i64,
    digit: &'static str,
}

impl Registry {
    /// Where connections have ended by `now` (milliseconds since the epoch) that nobody has looked at yet.
    ///
    /// # Errors
    /// When DynamoDB fails or a row is malformed.
    pub(crate) async fn ends(&self, now: i64) -> Result<Vec<End>, RegistryError> {
        let present = span(now);
        let row = self.get(Key::ends().attributes()).await?;
        // Where nobody has ever looked, nobody was told of anybody long ago.
        let from = row.map_or(Ok(present - 1), |row| items::number(&row, SPAN))?.max(present - MOST_SPANS);
        let spans = from..=present;
        Ok(spans.flat_map(|span| DIGITS.map(|digit| End { span, digit })).collect())
    }

    /// Asks somebody to look at those who have ended there, and forgets that they were to be looked at. How many they were.
    ///
    /// # Errors
    /// When SQS or DynamoDB fails.
    pub(crate) async fn look_at_ended(&self, end: End, now: i64) -> Result<usize, RegistryError> {
        let Some(lookout) = &self.lookout else { return Ok(0) };
        let (mut count, mut from) = (0, None);
        loop {
            let query = self.query(&ends_partition(end.span, end.digit), &Interval::whole()).limit(self.page_rows);
            let query = query.filter_expression("#ends_at <= :now").expression_attribute_names("#ends_at", ENDS_AT);
            let query = query.expression_attribute_values(":now", super::number(now / 1_000));
            let answer = self.ask(query.set_exclusive_start_key(from.take())).await?;
            lookout.came(&subjects(answer.items())).await.map_err(RegistryError::Unlooked)?;
            let keys = answer.items().iter().filter_map(Key::of);
            self.write_all(keys.map(batch::delete).collect()).await?;
            count += answer.items().len();
            match answer.last_evaluated_key {
                None => return Ok(count),
                rest => from = rest,
            }
        }
    }

    /// Writes that all who had ended before the five minutes of `now` (milliseconds since the epoch) are looked at.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn pass_ends(&self, now: i64) -> Result<(), RegistryError> {
        let mut item = Key::ends().attributes();
        item.insert(SPAN.to_owned(), AttributeValue::N(span(now).to_string()));
        let answer = retry::retrying("PutItem", || async {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
            Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
        })
        .await?;
        self.counter.add_write(answer.consumed_capacity.as_ref());
        Ok(())
    }
}

fn span(now: i64) -> i64 {
    (now / 1_000).div_euclid(SPAN_SECONDS)
}

/// Each once; one that cannot be read is left out and logged.
fn subjects(rows: &[Item]) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for row in rows {
        let user = items::text(row, USER).and_then(|user| UserId::parse(user).ok());
        let topic = items::text(row, TOPIC).map(|topic| Topic::parse(topic).ok());
        match (user, topic) {
            (Some(user), None) => subjects.push(Subject { topic: None, user }),
            (Some(user), Some(Some(topic))) => subjects.push(Subject { topic: Some(topic), user }),
            _ => tracing::error!("skipped an end that cannot be read"),
        }
    }
    subjects.dedup();
    subjects
}
