//! Where everything is.

use std::net::SocketAddr;

use indexmap::IndexMap;
use serde::Serialize;
use tokio::net::TcpListener;

use tidings_local_services::net::reachable;
use tidings_local_stack::Stack;

/// Where `tidings dev` has the WebSocket API of this project's template, unless told otherwise.
pub const LISTEN_URL: &str = "ws://127.0.0.1:3030/dev";

/// Where `tidings dev` has the Lambda Invoke API, unless told otherwise.
pub const NOTIFY_ENDPOINT: &str = "http://127.0.0.1:3030";

/// Where everything is, as the `ready` line says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The first stage of the first WebSocket API, for clients.
    pub websocket: String,
    /// All stages of all WebSocket APIs by logical id and name (`Chat/dev`), where there are several.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub websockets: IndexMap<String, String>,
    /// The same, for the `@connections` API.
    pub management: String,
    /// The Lambda Invoke API.
    pub lambda: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// SQS.
    pub sqs: String,
    /// SNS.
    pub sns: String,
    /// EventBridge.
    pub eventbridge: String,
    /// The first HTTP API, where the template has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// All HTTP APIs by logical id, and their further stages (`Rest/beta`), where there are several.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub apis: IndexMap<String, String>,
    /// The page for people.
    pub console: String,
}

/// What the addresses of everything on the main port begin with.
pub(crate) fn root(listener: &TcpListener) -> String {
    // A bound listener has an address; the fallback only keeps a failing system call from ending the program.
    let address = listener.local_addr().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), reachable);
    format!("http://{address}")
}

pub(crate) fn addresses(stack: &Stack, root: String, dynamodb: String, http_listeners: &[TcpListener]) -> Addresses {
    let apis = stack.http_apis.iter().zip(http_listeners).flat_map(|((id, api), listener)| {
        let first = api.stages.iter().find(|stage| stage.name == "$default").or(api.stages.first());
        let first = first.map_or("$default", |stage| stage.name.as_str());
        let others = api.stages.iter().map(|stage| stage.name.as_str()).filter(move |name| *name != first);
        let root = self::root(listener);
        let address = move |name: &str| if name == "$default" { root.clone() } else { format!("{root}/{name}") };
        let others: Vec<_> = others.map(|name| (format!("{id}/{name}"), address(name))).collect();
        [(id.clone(), address(first))].into_iter().chain(others)
    });
    let apis: IndexMap<_, _> = apis.collect();
    let stage = stack.apis.values().find_map(|api| api.stages.first()).map_or("", |stage| stage.name.as_str());
    let websockets = stage_addresses(stack, &root);
    Addresses {
        websocket: format!("{}/{stage}", root.replacen("http", "ws", 1)),
        websockets: if websockets.len() > 1 { websockets } else { IndexMap::new() },
        management: format!("{root}/{stage}"),
        lambda: root.clone(),
        dynamodb,
        console: format!("{root}/"),
        sns: root.clone(),
        eventbridge: root.clone(),
        sqs: root,
        api: apis.values().next().cloned(),
        apis: if apis.len() > 1 { apis } else { IndexMap::new() },
    }
}

/// Where each stage of each WebSocket API is: the first of a name has the short address, as the gateway serves it.
fn stage_addresses(stack: &Stack, root: &str) -> IndexMap<String, String> {
    let root = root.replacen("http", "ws", 1);
    let mut taken: Vec<&str> = Vec::new();
    let mut addresses = IndexMap::new();
    for (id, api) in &stack.apis {
        for stage in &api.stages {
            let is_first = !taken.contains(&stage.name.as_str());
            taken.push(&stage.name);
            let path = if is_first { stage.name.clone() } else { format!("{}/{}", api.api_id, stage.name) };
            addresses.insert(format!("{id}/{}", stage.name), format!("{root}/{path}"));
        }
    }
    addresses
}
