//! A stand-in for DynamoDB that holds an audience of any size without holding it: the rows that the registry would have
//! written are made when they are read. It takes every write at once, and keeps only the connection that was written last.

mod rate;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::Result;
use crate::server::{Reply, Request, Server};
use rate::RateRow;

/// The topic that everybody is subscribed to.
pub(crate) const TOPIC: &str = "crowd";
/// What its members speak, unless somebody says otherwise.
pub(crate) const PROTOCOL: &str = "tidings.v1.json";
/// A row of a membership has about so many bytes; DynamoDB counts names and values.
const ROW_BYTES: u64 = 105;
/// Rows on a page where the reader sets no limit: 1 MB of them.
const DEFAULT_PAGE: u64 = 9_000;

/// The stand-in.
#[derive(Debug)]
pub(crate) struct Audience {
    server: Server,
    scheme: &'static str,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    size: AtomicU64,
    /// What the members speak.
    protocol: Mutex<&'static str>,
    /// Half read units that queries have cost.
    half_units: AtomicU64,
    rate: RateRow,
    connected_at: u128,
    /// The last connection that was written.
    written: Mutex<Value>,
}

/// What of a request matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Read {
    key: BTreeMap<String, Text>,
    expression_attribute_values: BTreeMap<String, Text>,
    exclusive_start_key: BTreeMap<String, Text>,
    limit: Option<u64>,
    consistent_read: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Text {
    #[serde(rename = "S", default)]
    text: String,
    #[serde(rename = "N", default)]
    number: String,
}

impl Audience {
    /// Starts it with an audience of `size`.
    pub(crate) async fn start(size: u64, tls: Option<TlsAcceptor>) -> Result<Self> {
        Self::far_away(size, tls, Duration::ZERO).await
    }

    /// Starts it so far away that each answer takes a round trip.
    pub(crate) async fn far_away(size: u64, tls: Option<TlsAcceptor>, round_trip: Duration) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            size: AtomicU64::new(size),
            protocol: Mutex::new(PROTOCOL),
            half_units: AtomicU64::new(0),
            rate: RateRow::default(),
            connected_at: now - 3_600_000,
            written: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let server = Server::start(tls, round_trip, move |request| std::future::ready(shared.answer(&request))).await?;
        Ok(Self { server, scheme, state })
    }

    /// From now on it has so many members.
    pub(crate) fn resize(&self, size: u64) {
        self.state.size.store(size, Ordering::Relaxed);
    }

    /// From now on its members speak this, as the registry writes it.
    pub(crate) fn speak(&self, protocol: &'static str) {
        *self.state.protocol.lock().unwrap_or_else(PoisonError::into_inner) = protocol;
    }

    /// Nobody has reserved any posts.
    pub(crate) fn rest(&self) {
        self.state.rate.rest();
    }

    /// Read units since the last call.
    pub(crate) fn take_units(&self) -> f64 {
        self.state.half_units.swap(0, Ordering::Relaxed) as f64 / 2.0
    }

    /// Writes of the rate limit's row since the last call.
    pub(crate) fn take_rate_writes(&self) -> u64 {
        self.state.rate.take_writes()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.server.port)
    }
}

impl State {
    fn answer(&self, request: &Request) -> Reply {
        let target = request.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let read = || serde_json::from_slice(&request.body).unwrap_or_default();
        match target.rsplit('.').next().unwrap_or_default() {
            "BatchWriteItem" => self.write(&serde_json::from_slice(&request.body).unwrap_or_default()),
            "Query" => Reply::json(self.query(&read())),
            "Scan" => Reply::json(self.scan(&read())),
            "UpdateItem" => self.update(&read()),
            "GetItem" => Reply::json(match read().key.get("pk") {
                Some(key) if is_head(&key.text) => json!({"Item": head(&key.text)}).to_string(),
                _ => "{}".to_owned(),
            }),
            "BatchGetItem" => Reply::json(self.rows(&serde_json::from_slice(&request.body).unwrap_or_default())),
            _ => Reply::json("{}"),
        }
    }

    /// A page of the memberships of the topic, or of a user, who has one: the member of the same number.
    fn query(&self, read: &Read) -> String {
        let bound = |name: &str| read.expression_attribute_values.get(name).map(|bound| bound.text.trim_end());
        let pk = bound(":pk").unwrap_or_default();
        let size = self.size.load(Ordering::Relaxed);
        let user = pk.strip_prefix("user#").and_then(|user| user.parse::<u64>().ok());
        let (first, last) = user.map_or((0, size), |number| (number, number + 1));
        let first = bound(":after").map_or(first, |after| behind(after, size));
        let last = bound(":to").map_or(last, |to| behind(to, size));
        let end = last.min(first + read.limit.unwrap_or(DEFAULT_PAGE));
        let protocol = *self.protocol.lock().unwrap_or_else(PoisonError::into_inner);
        let mut items = String::new();
        for number in first..end {
            let comma = if number > first { "," } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(
                items,
                r#"{comma}{{"sk":{{"S":"{}"}},"protocol":{{"S":"{protocol}"}},"connected_at":{{"N":"{}"}},"expires_at":{{"N":"{}"}}}}"#,
                sort_key(number, size),
                self.connected_at,
                self.connected_at / 1_000 + 8_100
            );
        }
        let rest = (end < last).then(|| {
            let key = json!({"pk": {"S": pk}, "sk": {"S": sort_key(end - 1, size)}});
            format!(r#","LastEvaluatedKey":{key}"#)
        });
        // A unit reads 4 KB, or twice as much eventually.
        let half_units = ((end - first) * ROW_BYTES).div_ceil(4_096) * if read.consistent_read { 2 } else { 1 };
        self.half_units.fetch_add(half_units, Ordering::Relaxed);
        let units = half_units as f64 / 2.0;
        format!(
            r#"{{"Count":{},"Items":[{items}],"ConsumedCapacity":{{"TableName":"t","CapacityUnits":{units}}}{}}}"#,
            end - first,
            rest.unwrap_or_default()
        )
    }

    /// The row of the rate limit has conditions; any other change is taken.
    fn update(&self, read: &Read) -> Reply {
        if RateRow::is_meant(read) { self.rate.update(read) } else { Reply::json(r#"{"Attributes":{}}"#) }
    }

    /// Keeps the connection that is written: whoever connects looks at its own row again.
    fn write(&self, request: &Value) -> Reply {
        let tables = request["RequestItems"].as_object().into_iter().flatten();
        let items = tables.flat_map(|(_, writes)| writes.as_array().into_iter().flatten());
        let items = items.map(|write| &write["PutRequest"]["Item"]);
        if let Some(item) = items.into_iter().find(|item| is_connection(item)) {
            *self.written.lock().unwrap_or_else(PoisonError::into_inner) = item.clone();
        }
        Reply::json(r#"{"UnprocessedItems":{}}"#)
    }

    /// The rows of connections and the heads of logs among those that are asked for.
    fn rows(&self, request: &Value) -> String {
        let tables = request["RequestItems"].as_object().into_iter().flatten();
        let found = tables.map(|(table, wanted)| {
            let keys = wanted["Keys"].as_array().into_iter().flatten();
            let rows = keys.filter_map(|key| match key["pk"]["S"].as_str()? {
                pk if is_head(pk) => Some(head(pk)),
                _ => is_connection(key).then(|| self.connection_row(&key["sk"])),
            });
            (table.clone(), rows.collect())
        });
        json!({"Responses": found.collect::<serde_json::Map<_, Value>>(), "UnprocessedKeys": {}}).to_string()
    }

    fn connection_row(&self, sort_key: &Value) -> Value {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written["sk"] == *sort_key {
            return written.clone();
        }
        json!({
            "sk": sort_key, "protocol": {"S": PROTOCOL}, "connected_at": {"N": self.connected_at.to_string()},
            "expires_at": {"N": (self.connected_at / 1_000 + 8_100).to_string()},
        })
    }

    /// A page of a table that holds connection ids and nothing else, as in AWS's sample.
    fn scan(&self, read: &Read) -> String {
        let size = self.size.load(Ordering::Relaxed);
        let start = read.exclusive_start_key.get("connectionId");
        let first = start.and_then(|key| number_of(&key.text)).map_or(0, |number| number + 1);
        let end = size.min(first + read.limit.unwrap_or(DEFAULT_PAGE));
        let items: Vec<_> = (first..end).map(|number| json!({"connectionId": {"S": connection(number)}})).collect();
        let mut answer = json!({"Count": items.len(), "Items": items});
        if end < size {
            answer["LastEvaluatedKey"] = json!({"connectionId": {"S": connection(end - 1)}});
        }
        answer.to_string()
    }
}

/// The head of a user's log, who was told something before.
fn head(pk: &str) -> Value {
    json!({
        "pk": {"S": pk}, "offset": {"N": "1"}, "epoch": {"S": "bench001"}, "floor": {"N": "0"},
        "expires_at": {"N": "4102444800"},
    })
}

/// The connection id of a member.
fn connection(number: u64) -> String {
    format!("member{number:09}=")
}

/// Sort keys in the order of their numbers, spread evenly over the hash prefixes.
fn sort_key(number: u64, size: u64) -> String {
    format!("{:02x}#{}", number * 256 / size.max(1), connection(number))
}

fn number_of(connection: &str) -> Option<u64> {
    connection.strip_prefix("member")?.strip_suffix('=')?.parse().ok()
}

/// The number of the first member behind a bound.
fn behind(bound: &str, size: u64) -> u64 {
    match bound.split_once('#') {
        Some((_, connection)) => number_of(connection).map_or(size, |number| number + 1),
        // A prefix without a connection: the first member of it is behind the bound.
        None => u64::from_str_radix(bound, 16).map_or(size, |prefix| (prefix * size).div_ceil(256)),
    }
}

fn is_head(pk: &str) -> bool {
    pk.starts_with("head#")
}

fn is_connection(keys: &Value) -> bool {
    keys["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("subs#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(size: u64) -> State {
        State {
            size: AtomicU64::new(size),
            protocol: Mutex::new(PROTOCOL),
            half_units: AtomicU64::new(0),
            rate: RateRow::default(),
            connected_at: 1_000_000,
            written: Mutex::default(),
        }
    }

    #[test]
    fn pages_follow_each_other_and_name_everybody_once() {
        let state = state(1_000);
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut read = Read { limit: Some(300), ..Read::default() };
            if let Some(after) = &after {
                read.expression_attribute_values
                    .insert(":after".to_owned(), Text { text: after.clone(), ..Text::default() });
            }
            let page: Value = serde_json::from_str(&state.query(&read)).unwrap();
            for item in page["Items"].as_array().unwrap() {
                found.push(item["sk"]["S"].as_str().unwrap().to_owned());
            }
            match page["LastEvaluatedKey"]["sk"]["S"].as_str() {
                Some(last) => after = Some(last.to_owned()),
                None => break,
            }
        }
        assert_eq!(found.len(), 1_000);
        assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_user_has_one_connection_that_nobody_else_has() {
        let state = state(1_000);
        let connections = [0, 7, 999].map(|user| {
            let pk = Text { text: format!("user#{user}"), ..Text::default() };
            let read = Read {
                expression_attribute_values: BTreeMap::from([(":pk".to_owned(), pk)]),
                limit: Some(201),
                ..Read::default()
            };
            let page: serde_json::Value = serde_json::from_str(&state.query(&read)).unwrap();
            assert_eq!((&page["Count"], page["LastEvaluatedKey"].is_null()), (&1.into(), true));
            page["Items"][0]["sk"]["S"].as_str().unwrap().to_owned()
        });
        assert_eq!(connections, ["00#member000000000=", "01#member000000007=", "ff#member000000999="]);
    }

    #[test]
    fn a_scan_ends_after_its_last_page() {
        let state = state(DEFAULT_PAGE + 1);
        let page: Value = serde_json::from_str(&state.scan(&Read::default())).unwrap();
        let last = page["LastEvaluatedKey"]["connectionId"]["S"].as_str().unwrap().to_owned();
        let key = BTreeMap::from([("connectionId".to_owned(), Text { text: last, ..Text::default() })]);
        let rest: Value =
            serde_json::from_str(&state.scan(&Read { exclusive_start_key: key, ..Read::default() })).unwrap();
        assert_eq!(rest["Items"].as_array().unwrap().len(), 1);
        assert!(rest["LastEvaluatedKey"].is_null());
    }
}
