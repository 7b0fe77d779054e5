//! DynamoDB: the engine that `cargo dev` embeds, called in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use dynoxide::{Database, Item};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tidings::registry::{Connection, Registry};
use tidings::{ConnectionId, Topic, UserId};
use tokio::time::sleep;

use super::time::{Time, between};
use super::wire::{self, Service};

const TABLE: &str = "connections";
/// The partition of the row that posts are given away in.
const RATE_ROW: &str = "rate";
/// Half a call, which takes 4 to 8 ms.
const HALF: (f64, f64) = (0.002, 0.004);

/// The table. Clones share it.
#[derive(Clone)]
pub struct Rows {
    database: Database,
    time: Time,
    /// Writes of the row of the rate limit, refused ones too, by the second in which they were made.
    rate_writes: Arc<Mutex<BTreeMap<u64, u64>>>,
}

/// How the engine is to answer.
#[derive(Debug, Clone)]
struct Answering {
    rows: Rows,
    takes_time: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl Rows {
    /// The empty table.
    #[must_use]
    pub fn new(time: Time) -> Self {
        let rows = Self { database: Database::memory().unwrap(), time, rate_writes: Arc::default() };
        let mut description: Value = serde_json::from_str(include_str!("../../../infra/table.json")).unwrap();
        description["TableName"] = TABLE.into();
        rows.run("CreateTable", &description.to_string()).unwrap();
        rows
    }

    /// The registry as the notifier has it.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry::new(self.client(true), TABLE)
    }

    /// Most writes of the row of the rate limit in a second.
    #[must_use]
    pub fn most_rate_writes(&self) -> u64 {
        let writes = self.rate_writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.values().copied().max().unwrap_or(0)
    }

    fn client(&self, takes_time: bool) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url("http://dynamodb.test")
            .retry_config(RetryConfig::standard().with_max_attempts(5))
            // It measures in the system's time.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(wire::client(Answering { rows: self.clone(), takes_time }));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Connects so many clients, an hour ago, to a topic of their own. Their sockets are named after it.
    ///
    /// The first is connected by the registry; the others get what it wrote for the topic, with keys of their own.
    ///
    /// # Panics
    /// When the registry fails.
    pub async fn gather(&self, topic: &str, members: usize) {
        let topics = vec![Topic::parse(topic).unwrap()];
        let first = self.connect(socket(topic, 0), None, topics).await;
        let pattern = self.only_row(&format!("topic#{topic}"));
        assert_eq!(pattern["sk"]["S"], sort_key(first.as_str()), "prefixes are made in another way by now");
        let members = (1..members).map(|number| {
            let mut row = pattern.clone();
            row["sk"]["S"] = sort_key(&socket(topic, number)).into();
            serde_json::from_value::<Item>(row).unwrap()
        });
        self.database.import_items(TABLE, members.collect(), dynoxide::ImportOptions::default()).unwrap();
    }

    /// Connects one client of a user, an hour ago.
    ///
    /// # Panics
    /// When the registry fails.
    pub async fn enter(&self, user: &str) {
        self.connect(socket(user, 0), Some(UserId::parse(user).unwrap()), Vec::new()).await;
    }

    async fn connect(&self, id: String, user: Option<UserId>, topics: Vec<Topic>) -> ConnectionId {
        let mut connection = Connection::new(ConnectionId::parse(id).unwrap());
        connection.connected_at = self.time.epoch_ms() - 3_600_000;
        (connection.user, connection.topics) = (user, topics);
        Registry::new(self.client(false), TABLE).connect(&connection).await.unwrap();
        connection.id
    }

    /// Moves the rate row ahead, as a wrong clock would.
    ///
    /// # Panics
    /// When there is no such row, or it does not say until when posts are given away.
    pub fn move_ahead(&self, seconds: i64) {
        let mut row = self.only_row(RATE_ROW);
        let until = row.as_object_mut().unwrap().iter_mut().find(|(name, _)| name.contains("until")).unwrap().1;
        let micros: i64 = until["N"].as_str().unwrap().parse().unwrap();
        assert!(micros / 1_000 >= self.time.epoch_ms() / 2, "it is not in microseconds by now");
        until["N"] = (micros + seconds * 1_000_000).to_string().into();
        self.run("PutItem", &json!({"TableName": TABLE, "Item": row}).to_string()).unwrap();
    }

    /// The one row of a partition.
    fn only_row(&self, partition: &str) -> Value {
        let (condition, values) = ("pk = :pk", json!({":pk": {"S": partition}}));
        let query =
            json!({"TableName": TABLE, "KeyConditionExpression": condition, "ExpressionAttributeValues": values});
        let mut answer: Value = serde_json::from_str(&self.run("Query", &query.to_string()).unwrap()).unwrap();
        assert_eq!(answer["Count"], 1, "{partition} has one row");
        answer["Items"][0].take()
    }

    /// One call of the engine, which has no entry for requests that come in another way than over TCP.
    fn run(&self, operation: &str, body: &str) -> dynoxide::Result<String> {
        macro_rules! call {
            ($($name:literal => $method:ident,)+) => {
                match operation {
                    $($name => {
                        let request = serde_json::from_str(body).unwrap();
                        Ok(serde_json::to_string(&self.database.$method(request)?).unwrap())
                    })+
                    other => unreachable!("the notifier does not call {other}"),
                }
            };
        }
        call! {
            "CreateTable" => create_table,
            "Query" => query,
            "GetItem" => get_item,
            "PutItem" => put_item,
            "UpdateItem" => update_item,
            "DeleteItem" => delete_item,
            "BatchGetItem" => batch_get_item,
            "BatchWriteItem" => batch_write_item,
            "TransactWriteItems" => transact_write_items,
        }
    }

    fn count(&self, operation: &str, body: &str) {
        if operation == "UpdateItem" && body.contains(&format!(r#""pk":{{"S":"{RATE_ROW}"}}"#)) {
            let mut writes = self.rate_writes.lock().unwrap_or_else(PoisonError::into_inner);
            *writes.entry(self.time.seconds() as u64).or_default() += 1;
        }
    }

    fn answer(&self, operation: &str, body: &str) -> (u16, String) {
        match self.run(operation, body) {
            Ok(answer) => (200, answer),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }
}

impl Service for Answering {
    async fn answer(self, operation: String, body: String) -> (u16, String) {
        if !self.takes_time {
            return self.rows.answer(&operation, &body);
        }
        sleep(between(HALF.0, HALF.1)).await;
        self.rows.count(&operation, &body);
        let answer = self.rows.answer(&operation, &body);
        sleep(between(HALF.0, HALF.1)).await;
        answer
    }
}

/// The socket of a member of an audience.
#[must_use]
pub fn socket(audience: &str, number: usize) -> String {
    format!("{audience}-{number}=")
}

/// The sort key of a connection, as the registry makes it.
#[must_use]
pub fn sort_key(connection: &str) -> String {
    format!("{:02x}#{connection}", digest(&SHA256, connection.as_bytes()).as_ref()[0])
}
