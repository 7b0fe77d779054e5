//! A crowd on a topic: many members in the table, sockets at the stand-in, and the notifier's own binaries between them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt};
use tidings::registry::Connection;
use tidings::{ConnectionId, Topic};

use crate::engine::{self, Row};
use crate::stack::{Stack, root};
use crate::standin::{Behaviour, Standin};

/// The topic that everybody in the crowd is subscribed to.
pub const TOPIC: &str = "crowd";

/// Share of sockets, in thousandths, that misbehave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// 410 for ever.
    pub gone: u64,
    /// 429 once.
    pub throttled: u64,
    /// 500 once.
    pub failing: u64,
    /// No answer once, and no delivery.
    pub hanging: u64,
}

/// What became of a notification to the crowd.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Members whose socket is there.
    pub live: usize,
    /// Of these, how many got the message.
    pub reached: usize,
    /// Messages beyond the first of each.
    pub duplicates: usize,
    /// From sending the notification until the last member had it.
    pub took: Duration,
}

/// The crowd.
#[derive(Debug)]
pub struct Crowd {
    /// Where it listens.
    pub stack: Stack,
    /// Its sockets.
    pub standin: Standin,
    members: usize,
}

impl Crowd {
    /// Gathers `members` connections that are an hour old.
    ///
    /// # Panics
    /// When the stack does not start.
    pub async fn gather(members: usize, faults: Faults, parameters: &[(&str, &str)]) -> Self {
        Self::gather_with(members, faults, parameters, &[]).await
    }

    /// The same with flags for the stack.
    ///
    /// # Panics
    /// When the stack does not start.
    pub async fn gather_with(members: usize, faults: Faults, parameters: &[(&str, &str)], flags: &[&str]) -> Self {
        let standin = Standin::start().await;
        let mut all = vec![("Connections", standin.endpoint())];
        all.extend(parameters);
        let stack = Stack::start_at(&root().join("tests/fanout/template.yaml"), &all, flags).await;
        let crowd = Self { stack, standin, members };
        crowd.fill(faults).await;
        crowd
    }

    async fn fill(&self, faults: Faults) {
        let pattern = self.pattern().await;
        let client = engine::client(self.stack.dynamodb(), engine::http());
        for number in 0..self.members {
            self.standin.add(&member(number), behaviour(number as u64, faults));
        }
        let puts = (0..self.members).map(|number| put(row(&pattern, number)));
        let puts: Vec<_> = puts.collect();
        let batches = stream::iter(puts.chunks(25).map(|batch| {
            let request = client.batch_write_item().request_items(self.stack.table(), batch.to_vec());
            async move { request.send().await.unwrap() }
        }));
        batches.buffer_unordered(4).for_each(|_| std::future::ready(())).await;
    }

    /// What the registry itself writes for a member.
    async fn pattern(&self) -> Row {
        let pattern = ConnectionId::parse("pattern").unwrap();
        let mut connection = Connection::new(pattern);
        connection.connected_at = crate::now() - 3_600_000;
        connection.topics = vec![Topic::parse(TOPIC).unwrap()];
        let registry = self.stack.registry();
        registry.connect(&connection).await.unwrap();
        let rows = self.stack.rows().await;
        let row = rows.into_iter().find(|row| row["pk"].as_s().is_ok_and(|pk| pk.starts_with("topic#"))).unwrap();
        registry.disconnect(&connection.id, &connection.socket).await.unwrap();
        row
    }

    /// Waits until everybody whose socket is there has the message, and everything is settled.
    ///
    /// # Panics
    /// When that takes longer than `patience`.
    pub async fn settle(&self, since: Instant, patience: Duration) -> Outcome {
        let mut last = self.outcome(since);
        while last.reached < last.live {
            assert!(since.elapsed() < patience, "not everybody was reached in {patience:?}: {last:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = self.outcome(since);
        }
        let took = since.elapsed();
        crate::eventually("an end of the fan-out", patience, async || self.is_idle().await.then_some(())).await;
        Outcome { took, ..self.outcome(since) }
    }

    /// Who has the message now.
    #[must_use]
    pub fn outcome(&self, since: Instant) -> Outcome {
        let counts = self.standin.live_counts();
        Outcome {
            live: counts.len(),
            reached: counts.iter().filter(|count| **count > 0).count(),
            duplicates: counts.iter().map(|count| count.saturating_sub(1)).sum(),
            took: since.elapsed(),
        }
    }

    /// Whether every segment that was begun is done, and nothing waits in the queues.
    async fn is_idle(&self) -> bool {
        let segments = self.segments().await;
        let done = segments.values().all(|row| row.contains_key("done"));
        done && self.stack.waiting("FanOutQueue").await == 0 && self.stack.waiting("NotificationQueue").await == 0
    }

    /// The offsets that each member got, in the order in which they came.
    ///
    /// # Panics
    /// When a message has none.
    #[must_use]
    pub fn offsets(&self) -> Vec<Vec<u64>> {
        (0..self.members).map(|number| self.offsets_of(number)).collect()
    }

    /// The offsets that one member got, in the order in which they came.
    ///
    /// # Panics
    /// When a message has none.
    #[must_use]
    pub fn offsets_of(&self, number: usize) -> Vec<u64> {
        let messages = self.standin.used(&member(number)).messages;
        let offset = |bytes: &bytes::Bytes| {
            serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["offset"].as_u64().expect("an offset")
        };
        messages.iter().map(offset).collect()
    }

    /// How many invocations ended by their timeout so far.
    #[must_use]
    pub fn timeouts(&self) -> usize {
        self.stack.log().matches("Task timed out").count()
    }

    /// The rows of segments, by segment.
    pub async fn segments(&self) -> HashMap<String, Row> {
        let rows = self.stack.rows().await.into_iter();
        let is_segment = |row: &Row| {
            row["pk"].as_s().is_ok_and(|pk| pk.starts_with("work#")) && row["sk"].as_s().is_ok_and(|sk| sk != "payload")
        };
        let segments = rows.filter(is_segment);
        segments.map(|row| (row["sk"].as_s().unwrap().clone(), row)).collect()
    }
}

/// The socket of a member.
#[must_use]
pub fn member(number: usize) -> String {
    // The id that hashes to this prefix is not known; the table takes any, and readers go by the sort key.
    format!("member{number:09}=")
}

fn row(pattern: &Row, number: usize) -> Row {
    let mut row = pattern.clone();
    // Prefixes as a hash would give them: evenly, in no order.
    let prefix = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    row.insert("sk".to_owned(), AttributeValue::S(format!("{prefix:02x}#{}", member(number))));
    row
}

fn put(row: Row) -> WriteRequest {
    WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(row)).build().unwrap()).build()
}

fn behaviour(number: u64, faults: Faults) -> Behaviour {
    let dice = number.wrapping_mul(0xD134_2543_DE82_EF95).rotate_left(17) % 1_000;
    let (gone, throttled) = (faults.gone, faults.gone + faults.throttled);
    let failing = throttled + faults.failing;
    match dice {
        dice if dice < gone => Behaviour::Gone,
        dice if dice < throttled => Behaviour::Answers(429, 1),
        dice if dice < failing => Behaviour::Answers(500, 1),
        dice if dice < failing + faults.hanging => Behaviour::HangsOnce,
        _ => Behaviour::Takes,
    }
}
