//! The logs of topics and users, as the table has them.
//!
//! A function names a partition with each read. Here the whole table is looked at, as far as it is small: it is in this process,
//! and nobody pays for it. Of a table elsewhere no logs are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tidings::history::{DEFAULT, History, Retention};
use tidings::log::{LogName, MOST_OFFSET};
use tidings::registry::{Head, PK, Registry, entries_of_head, log_of_head};
use tidings::{Topic, UserId, describe};
use tidings_local_observe::mask;
use tidings_local_stack::Stack;

use super::Console;

/// Pages of the table that are looked at, each of at most 1 MB.
const MOST_PAGES: usize = 50;
/// Logs that are listed, and heads of them that are read at once.
const MOST_LOGS: usize = 500;
const HEADS_AT_ONCE: usize = 100;
/// Newest messages of a log that are shown.
const MOST_MESSAGES: usize = 50;

/// A table whose logs can be shown.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) client: Client,
    pub(super) table: String,
    pub(super) registry: Registry,
    pub(super) history: History,
}

#[derive(Serialize)]
struct Row {
    /// `topic` or `user`.
    kind: &'static str,
    name: String,
    offset: u64,
    epoch: String,
    /// Rows in the table, also those that have expired and are not deleted yet.
    entries: u64,
    /// `None` where no rule keeps anything any more.
    retention: Option<Kept>,
}

#[derive(Serialize)]
struct Kept {
    seconds: u32,
    messages: Option<u32>,
    ordered: bool,
}

impl From<Retention> for Kept {
    fn from(Retention { seconds, messages, ordered }: Retention) -> Self {
        Self { seconds, messages, ordered }
    }
}

/// What keys of logs a table has.
#[derive(Default)]
struct Found {
    heads: BTreeSet<String>,
    /// How many rows each partition of entries has.
    entries: BTreeMap<String, u64>,
    is_all: bool,
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The rules by which the stack's functions keep logs.
pub(super) fn history(stack: &Stack) -> History {
    let rules = stack.functions.values().find_map(|function| function.environment.get("HISTORY"));
    // A function that cannot use its rules says so, and keeps nothing.
    History::parse(rules.map_or(DEFAULT, String::as_str)).unwrap_or_default()
}

pub(super) async fn list(State(console): State<Arc<Console>>) -> Response {
    let Some(logs) = &console.logs else {
        return Json(json!({"logs": [], "complete": true, "problem": null})).into_response();
    };
    match logs.list().await {
        Ok((rows, is_all)) => Json(json!({"logs": rows, "complete": is_all, "problem": null})).into_response(),
        Err(error) => Json(json!({"logs": [], "complete": false, "problem": describe(error.as_ref())})).into_response(),
    }
}

pub(super) async fn messages(
    State(console): State<Arc<Console>>,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let refuse = |status, message: String| (status, Json(json!({ "message": message }))).into_response();
    let (Some(logs), Some(log)) = (&console.logs, log(&kind, name)) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such log".to_owned());
    };
    match logs.messages(&log).await {
        Ok(Some(messages)) => Json(messages).into_response(),
        Ok(None) => refuse(StatusCode::NOT_FOUND, "nothing was ever said there".to_owned()),
        Err(error) => refuse(StatusCode::BAD_GATEWAY, describe(error.as_ref())),
    }
}

fn log(kind: &str, name: String) -> Option<LogName> {
    match kind {
        "topic" => Topic::parse(name).ok().map(LogName::Topic),
        "user" => UserId::parse(name).ok().map(LogName::User),
        _ => None,
    }
}

impl Logs {
    async fn list(&self) -> Result<(Vec<Row>, bool), Failed> {
        let found = self.find().await?;
        let mut names = Vec::new();
        for head in found.heads.iter().take(MOST_LOGS) {
            match log_of_head(head) {
                Some(log) => names.push((head.as_str(), log)),
                None => names.extend(self.hashed(head, &found).await?.map(|log| (head.as_str(), log))),
            }
        }
        let mut rows = Vec::new();
        for some in names.chunks(HEADS_AT_ONCE) {
            let logs: Vec<_> = some.iter().map(|(_, log)| log.clone()).collect();
            let heads = self.registry.heads(&logs).await?;
            rows.extend(some.iter().filter_map(|(key, log)| Some(self.row(key, log, heads.get(log)?, &found))));
        }
        Ok((rows, found.is_all && found.heads.len() <= MOST_LOGS))
    }

    fn row(&self, key: &str, log: &LogName, head: &Head, found: &Found) -> Row {
        let entries = entries_of_head(key, head.epoch.as_str()).and_then(|key| found.entries.get(&key).copied());
        let (kind, name, retention) = match log {
            LogName::Topic(topic) => ("topic", topic.to_string(), self.history.of_topic(topic)),
            LogName::User(user) => ("user", user.to_string(), self.history.of_user(user)),
        };
        let (offset, epoch) = (head.offset, head.epoch.to_string());
        Row { kind, name, offset, epoch, entries: entries.unwrap_or_default(), retention: retention.map(Kept::from) }
    }

    /// Looks at all keys.
    async fn find(&self) -> Result<Found, Failed> {
        let (mut found, mut from) = (Found::default(), None);
        for _ in 0..MOST_PAGES {
            let request = self.client.scan().table_name(&self.table).projection_expression("#pk");
            let request = request.expression_attribute_names("#pk", PK).set_exclusive_start_key(from);
            let page = request.send().await?;
            for key in page.items().iter().filter_map(|row| row.get(PK)?.as_s().ok()) {
                if key.starts_with("head#") {
                    found.heads.insert(key.clone());
                } else if key.starts_with("log#") {
                    *found.entries.entry(key.clone()).or_default() += 1;
                }
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                found.is_all = true;
                break;
            }
        }
        Ok(found)
    }

    /// The log of a topic whose name is only a hash in its keys: its messages say it. `None` where there are none.
    async fn hashed(&self, head: &str, found: &Found) -> Result<Option<LogName>, Failed> {
        let Some(prefix) = entries_of_head(head, "") else { return Ok(None) };
        let Some(key) = found.entries.keys().find(|key| key.starts_with(&prefix)) else { return Ok(None) };
        let request = self.client.query().table_name(&self.table).key_condition_expression("#pk = :pk").limit(1);
        let request = request.expression_attribute_names("#pk", PK);
        let answer = request.expression_attribute_values(":pk", AttributeValue::S(key.clone())).send().await?;
        let text = answer.items().first().and_then(|row| row.get("notification")?.as_s().ok());
        let said: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Ok(said["to"]["topic"].as_str().and_then(|name| log("topic", name.to_owned())))
    }

    /// The newest messages of a log, the newest first; `None` where there is no log.
    async fn messages(&self, log: &LogName) -> Result<Option<Value>, Failed> {
        let Some(head) = self.registry.head(log).await? else { return Ok(None) };
        let read = self.registry.entries(log, &head.epoch, (0, MOST_OFFSET), true, MOST_MESSAGES).await?;
        let messages = read.entries.iter().map(|entry| {
            json!({
                "offset": entry.offset,
                "expiresAt": entry.expires_at * 1_000,
                "notification": mask::text(&entry.notification),
            })
        });
        let messages: Vec<_> = messages.collect();
        Ok(Some(json!({"epoch": head.epoch.as_str(), "messages": messages, "more": read.goes_on})))
    }
}
