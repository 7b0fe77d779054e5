//! The page at `/`: who is connected, what happens, and a way to try it.
//!
//! The page is a few static files in the program. What it asks for is below `/_tidings/`, where no API answers,
//! and which only this page and programs may use (`guard`).

mod connections;
mod events;
mod logs;
mod notify;
mod trigger;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use indexmap::IndexMap;
use serde_json::{Value, json};
use tidings::registry::Registry;
use tower_service::Service as _;

use super::{Addresses, guard};
use logs::Logs;
use tidings_local_gateway::Gateway;
use tidings_local_lambda::{Invoker, Names, Services};
use tidings_local_observe::{KEPT, Observer};
use tidings_local_services::events::Events;
use tidings_local_services::sns::Sns;
use tidings_local_stack::{Destination, Rule, Stack, Subscriber};

/// The page, with one mark where the state goes.
const PAGE: &str = include_str!("console/console.html");
const MARK: &str = "\"__STATE__\"";

/// What the page consists of beside itself.
const FILES: [(&str, &str, &str); 9] = [
    ("/_tidings/console.css", "text/css; charset=utf-8", include_str!("console/console.css")),
    ("/_tidings/console.js", "text/javascript; charset=utf-8", include_str!("console/console.js")),
    ("/_tidings/client.js", "text/javascript; charset=utf-8", include_str!("console/client.js")),
    ("/_tidings/connections.js", "text/javascript; charset=utf-8", include_str!("console/connections.js")),
    ("/_tidings/dom.js", "text/javascript; charset=utf-8", include_str!("console/dom.js")),
    ("/_tidings/events.js", "text/javascript; charset=utf-8", include_str!("console/events.js")),
    ("/_tidings/logs.js", "text/javascript; charset=utf-8", include_str!("console/logs.js")),
    ("/_tidings/notify.js", "text/javascript; charset=utf-8", include_str!("console/notify.js")),
    ("/_tidings/timeline.js", "text/javascript; charset=utf-8", include_str!("console/timeline.js")),
];

/// What the console works with.
pub(super) struct Parts<'a> {
    pub(super) stack: &'a Stack,
    pub(super) addresses: &'a Addresses,
    pub(super) services: &'a Services,
    pub(super) gateway: &'a Gateway,
    pub(super) invoker: &'a Invoker,
    pub(super) observer: &'a Observer,
    pub(super) events: &'a Events,
    pub(super) sns: &'a Sns,
    /// The function that notifications are sent to, by any of its names.
    pub(super) notifier: &'a str,
    /// The name or address in `--host`.
    pub(super) host: &'a str,
    /// Whether the DynamoDB is this program's own.
    pub(super) has_own_dynamodb: bool,
}

#[derive(Debug)]
struct Console {
    gateway: Gateway,
    invoker: Invoker,
    /// Its logical id.
    notifier: Option<String>,
    registry: Option<Registry>,
    /// Where logs can be shown.
    logs: Option<Logs>,
    events: Events,
    sns: Sns,
    /// The ARNs of the template's topics, by logical id.
    topics: IndexMap<String, String>,
    names: Names,
    /// What all functions are called.
    functions: Vec<String>,
    /// The function that gets events by hand.
    default_function: String,
    region: String,
}

pub(super) fn router(parts: &Parts<'_>) -> Router {
    let logs = logs(parts);
    let page: Arc<str> = page(parts.stack, parts.addresses, parts.notifier, logs.is_some()).into();
    let names = Names::new(parts.stack);
    let topics = parts.stack.topics.iter().map(|(id, topic)| (id.clone(), topic.arn.clone()));
    let console = Arc::new(Console {
        gateway: parts.gateway.clone(),
        invoker: parts.invoker.clone(),
        notifier: names.resolve(parts.notifier).map(str::to_owned),
        registry: registry(parts),
        logs,
        events: parts.events.clone(),
        sns: parts.sns.clone(),
        topics: topics.collect(),
        functions: parts.stack.functions.keys().map(|id| names.label(id).to_owned()).collect(),
        names,
        default_function: parts.notifier.to_owned(),
        region: parts.services.region.clone(),
    });
    let api = Router::new()
        .route("/_tidings/connections", get(connections::list))
        .route("/_tidings/connections/{id}", delete(connections::close))
        .route("/_tidings/logs", get(logs::list))
        .route("/_tidings/logs/{kind}/{name}", get(logs::messages))
        .route("/_tidings/notify", post(notify::notify))
        .route("/_tidings/trigger", post(trigger::trigger))
        .with_state(console);
    let events = Router::new().route("/_tidings/events", get(events::stream)).with_state(parts.observer.clone());
    let mut router = Router::new().route("/", get(move |headers| show(page, headers))).merge(api).merge(events);
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    router
        .layer(middleware::from_fn_with_state(Arc::from(parts.host), guard::console))
        .layer(middleware::from_fn_with_state(parts.gateway.router(), handshakes))
}

/// A handshake is API Gateway's matter, also at the address of the page, where no stage is.
async fn handshakes(State(mut gateway): State<Router>, request: Request, next: Next) -> Response {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        // A router never fails.
        return gateway.call(request).await.unwrap_or_else(|never| match never {});
    }
    next.run(request).await
}

/// Everything comes from this address, and nothing may frame the page, whose forms go nowhere.
async fn show(page: Arc<str>, headers: HeaderMap) -> Response {
    // Checked by the guard. Not every browser counts a WebSocket to the same address as `'self'`.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://{host} wss://{host}; img-src \
         data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    let mut response = Html(page.to_string()).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn client(parts: &Parts<'_>) -> Client {
    let Services { region, keys, .. } = parts.services;
    tidings_local_services::dynamodb::client(&parts.addresses.dynamodb, region, keys)
}

fn registry(parts: &Parts<'_>) -> Option<Registry> {
    Some(Registry::new(client(parts), connections::registry_table(parts.stack)?))
}

/// In a DynamoDB elsewhere it would take a scan of whatever is there, which may have a price.
fn logs(parts: &Parts<'_>) -> Option<Logs> {
    let registry = registry(parts).filter(|_| parts.has_own_dynamodb)?;
    let table = connections::registry_table(parts.stack)?.to_owned();
    Some(Logs { client: client(parts), table, registry, history: logs::history(parts.stack) })
}

fn page(stack: &Stack, addresses: &Addresses, notifier: &str, has_logs: bool) -> String {
    let names = Names::new(stack);
    let functions = stack.functions.iter().map(|(id, function)| {
        json!({"id": id, "name": names.label(id), "timeout": function.timeout_seconds, "memory": function.memory_mb})
    });
    let apis = stack.apis.iter().map(|(id, api)| {
        let stages: Vec<_> = api.stages.iter().map(|stage| &stage.name).collect();
        let routes: Vec<_> = api.routes.keys().collect();
        json!({"id": id, "apiId": api.api_id, "stages": stages, "routes": routes})
    });
    let tables: Vec<_> = stack.tables.values().map(|table| &table.name).collect();
    let schedules = stack.rules.values().filter_map(|rule| schedule(rule, &names));
    let state = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "addresses": addresses,
        "functions": functions.collect::<Vec<Value>>(),
        "apis": apis.collect::<Vec<Value>>(),
        "tables": tables,
        "schedules": schedules.collect::<Vec<Value>>(),
        "topics": topics(stack, &names),
        "notifier": names.resolve(notifier),
        "registry": connections::registry_table(stack).is_some(),
        "logs": has_logs,
        "kept": KEPT,
    });
    // Inside a script element only `<` could end what the text is.
    PAGE.replace(MARK, &state.to_string().replace('<', "\\u003c"))
}

/// A rule that fires by itself, and where it goes.
fn schedule(rule: &Rule, names: &Names) -> Option<Value> {
    let targets = rule.targets.iter().map(|target| match &target.destination {
        Destination::Function { id } => names.label(id),
        Destination::Queue { name, .. } | Destination::Topic { name, .. } => name,
    });
    let targets: Vec<_> = targets.collect();
    Some(json!({"id": rule.id, "when": rule.schedule.as_ref()?.to_string(), "targets": targets}))
}

/// The topics with their subscribers.
fn topics(stack: &Stack, names: &Names) -> Vec<Value> {
    let row = |(id, topic): (&String, &tidings_local_stack::Topic)| {
        let own = stack.subscriptions.values().filter(|subscription| subscription.topic == topic.arn);
        let subscribers = own.map(|subscription| match &subscription.subscriber {
            Subscriber::Function { id } => names.label(id),
            Subscriber::Queue { name, .. } => name,
        });
        json!({"id": id, "name": topic.name, "subscribers": subscribers.collect::<Vec<_>>()})
    };
    stack.topics.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use tidings_local_stack::Function;

    #[test]
    fn the_state_is_in_the_page_and_cannot_end_its_script() {
        let mut stack = Stack::default();
        stack.functions.insert("F".into(), Function::new("</script>", Some("/app/</script>".into())));
        let addresses = Addresses {
            websocket: "ws://127.0.0.1:1/dev".into(),
            management: "http://127.0.0.1:1/dev".into(),
            lambda: "http://127.0.0.1:1".into(),
            dynamodb: "http://127.0.0.1:2".into(),
            sqs: "http://127.0.0.1:1".into(),
            sns: "http://127.0.0.1:1".into(),
            eventbridge: "http://127.0.0.1:1".into(),
            console: "http://127.0.0.1:1/".into(),
            api: None,
            apis: IndexMap::new(),
            websockets: IndexMap::new(),
        };
        let page = page(&stack, &addresses, "notifier", true);
        assert!(page.contains(r#""websocket":"ws://127.0.0.1:1/dev""#));
        assert!(!page.contains(MARK));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own_and_every_file_that_it_names() {
        assert!(!PAGE.contains("<style") && !PAGE.contains(" style=") && !PAGE.contains(" onclick"));
        let imports =
            FILES.iter().flat_map(|(_, _, text)| text.lines()).filter_map(|line| line.split(" from \"./").nth(1));
        let imports = imports.filter_map(|rest| rest.split('"').next()).map(|name| format!("/_tidings/{name}"));
        let named = PAGE.split('"').filter(|text| text.starts_with("/_tidings/")).map(str::to_owned);
        for file in imports.chain(named) {
            assert!(FILES.iter().any(|(path, ..)| *path == file), "{file}");
        }
    }
}
