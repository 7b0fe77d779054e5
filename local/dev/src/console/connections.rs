//! The open connections: as the gateway knows them, with what the registry says where the table is ours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tidings::log::LogName;
use tidings::registry::{Connection, EXPIRES_AT, PK, Registry, RegistryError, SK};
use tidings::{ConnectionId, Topic, describe};

use super::Console;
use tidings_local_gateway::OpenConnection;
use tidings_local_stack::{Stack, Table};

/// Topics of connections that are looked at, and heads of logs that one request reads.
const MOST_TOPICS: usize = 1_000;
const MOST_HEADS: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    connections: Vec<Row>,
    /// Whether users, protocols and topics can be known.
    registry: bool,
    /// Why they are not known although they could be.
    problem: Option<String>,
    /// Where the logs of their topics end.
    offsets: BTreeMap<Topic, u64>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    open: OpenConnection,
    user: Option<String>,
    protocol: Option<String>,
    topics: Vec<String>,
}

/// The name of the table that a registry of ours is in, if the stack has one: told by its keys and its TTL attribute.
pub(super) fn registry_table(stack: &Stack) -> Option<&str> {
    let is_ours = |table: &&Table| {
        let keys = table.create["KeySchema"].as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<_> = keys.iter().filter_map(|key| key["AttributeName"].as_str()).collect();
        names == [PK, SK] && table.ttl_attribute.as_deref() == Some(EXPIRES_AT)
    };
    stack.tables.values().find(is_ours).map(|table| table.name.as_str())
}

pub(super) async fn list(State(console): State<Arc<Console>>) -> Response {
    let open = console.gateway.connections();
    let (mut known, problem) = match &console.registry {
        Some(registry) => registered(registry, &open).await,
        None => (HashMap::new(), None),
    };
    let offsets = match &console.registry {
        // A topic whose log cannot be read is shown without it.
        Some(registry) => offsets(registry, known.values()).await.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let rows = open.into_iter().map(|open| {
        let known = known.remove(&open.id);
        let (user, protocol) = known.as_ref().map_or((None, None), |known| {
            (known.user.as_ref().map(ToString::to_string), Some(known.protocol.name().to_owned()))
        });
        Row {
            // The registry's word counts, also where it knows no user.
            user: if known.is_some() { user } else { open.principal.clone() },
            protocol: protocol.or_else(|| open.subprotocol.clone()),
            topics: known.map(|known| known.topics.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            open,
        }
    });
    Json(List { connections: rows.collect(), registry: console.registry.is_some(), problem, offsets }).into_response()
}

/// Where the logs of these connections' topics end, as their heads say: of as many topics as one request reads.
async fn offsets(
    registry: &Registry,
    connections: impl Iterator<Item = &Connection>,
) -> Result<BTreeMap<Topic, u64>, RegistryError> {
    let topics: BTreeSet<_> = connections.flat_map(|connection| &connection.topics).take(MOST_TOPICS).collect();
    let logs: Vec<_> = topics.into_iter().cloned().map(LogName::Topic).take(MOST_HEADS).collect();
    let heads = registry.heads(&logs).await?;
    Ok(heads.into_iter().filter_map(|(log, head)| Some((log.topic()?.clone(), head.offset))).collect())
}

async fn registered(registry: &Registry, open: &[OpenConnection]) -> (HashMap<String, Connection>, Option<String>) {
    let ids: Vec<_> = open.iter().filter_map(|open| ConnectionId::parse(open.id.as_str()).ok()).collect();
    match registry.connections(&ids).await {
        Ok(found) => (found.into_iter().map(|one| (one.id.to_string(), one)).collect(), None),
        Err(error) => (HashMap::new(), Some(describe(&error))),
    }
}

pub(super) async fn close(State(console): State<Arc<Console>>, Path(id): Path<String>) -> Response {
    if console.gateway.disconnect(&id) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        (StatusCode::NOT_FOUND, Json(json!({"message": "this connection is closed already"}))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[&str], ttl: Option<&str>) -> Stack {
        let keys: Vec<_> = keys.iter().map(|name| json!({"AttributeName": name})).collect();
        let create = json!({ "KeySchema": keys });
        let table = Table { name: "t".to_owned(), create, ttl_attribute: ttl.map(str::to_owned) };
        Stack { tables: [("T".to_owned(), table)].into_iter().collect(), ..Stack::default() }
    }

    #[test]
    fn our_table_is_told_from_others() {
        assert_eq!(registry_table(&table(&["pk", "sk"], Some("expires_at"))), Some("t"));
        assert_eq!(registry_table(&table(&["pk", "sk"], None)), None);
        assert_eq!(registry_table(&table(&["connectionId"], Some("expires_at"))), None);
        assert_eq!(registry_table(&Stack::default()), None);
    }
}
