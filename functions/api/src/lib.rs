//! The REST API of a [Tidings](https://docs.rs/tidings) stack: producers notify, operators look at connections, and clients
//! without a socket read what was said, over plain HTTPS.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     tidings_api::Function::new().run()
//! }
//! ```
//!
//! An API Gateway HTTP API stands in front, with one route for each operation, so that it checks who may call what. What
//! comes over its `$default` route is no operation, and is only told what is wrong. The routes for clients are open: this
//! function looks at their tokens itself, with the authorizer's own code. So are those of Centrifugo's server API, whose callers
//! show a key, and of Azure Web PubSub's, whose callers sign with one.

mod asked;
mod centrifugo;
mod client;
mod connections;
mod cors;
mod event;
mod function;
mod inbox;
mod long_poll;
mod messages;
mod notifications;
mod operation;
mod presence;
mod problem;
mod query;
mod response;
mod topics;
mod user;
mod web_pubsub;

use std::convert::Infallible;

use tidings::delivery::Management;
use tidings::history::History;
use tidings::metrics::{Metric, Metrics, Recorder};
use tidings::queue::Queue;
use tidings::registry::Registry;
use tidings_authorizer::{Authorizer, ServerKey, WebPubSubKey};

pub use event::Event;
pub use function::Function;
pub use operation::Operation;
pub use response::Response;

use operation::Wanted;
use problem::Problem;

/// The document that describes this API, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// Where connections are registered.
    pub registry: Registry,
    /// Where notifications go.
    pub notifications: Queue,
    /// To look at sockets, close them, and tell clients what is unread.
    pub sockets: Management,
    /// Which audiences have a log.
    pub history: History,
    /// Says who clients are, on the routes that are for them.
    pub clients: Authorizer,
    /// How many requests may wait for a message at once, in the whole stack; 0 for none.
    pub long_polls: u32,
    /// What callers of Centrifugo's server API show, where the stack has that.
    pub server_key: Option<ServerKey>,
    /// What callers of Web PubSub's API sign with, where the stack has that.
    pub web_pubsub_key: Option<WebPubSubKey>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Answers one request. Our own failures are answered too, with status 500, and logged with their cause.
///
/// # Errors
/// Never.
pub async fn handle(deps: &Deps, event: Event) -> Result<Response, Infallible> {
    let recorder = deps.metrics.recorder();
    recorder.add(Metric::RestRequests, 1);
    let wanted = Wanted::of(&event);
    let answer = match &wanted {
        Ok(Wanted::Methods { allow, .. }) => Ok(Response::empty(204).with_header("allow", allow)),
        Ok(Wanted::Operation(operation)) => run(deps, *operation, &event, &recorder).await,
        Ok(Wanted::Server) => centrifugo::answer(deps, &event, &recorder).await,
        Ok(Wanted::WebPubSub(_)) => web_pubsub::answer(deps, &event, &recorder).await,
        Err(problem) => Err(problem.clone()),
    };
    let response = answer.unwrap_or_else(|problem| problem.into_response());
    let response = match &wanted {
        Ok(wanted) if wanted.is_for_clients() => cors::allow(response, deps.clients.origins(), event.header("origin")),
        _ => response,
    };
    match response.status() {
        400..500 => recorder.add(Metric::RestRefused, 1),
        500.. => recorder.add(Metric::RestErrors, 1),
        _ => {}
    }
    let operation = match wanted {
        Ok(Wanted::Operation(operation)) => operation.route_key(),
        Ok(Wanted::Server) => centrifugo::ROUTE.to_owned(),
        Ok(Wanted::WebPubSub(route)) => route.to_owned(),
        _ => "$default".to_owned(),
    };
    tracing::info!(operation, status = response.status(), request.id = event.request_id(), "answered");
    Ok(response)
}

async fn run(deps: &Deps, operation: Operation, event: &Event, recorder: &Recorder) -> Result<Response, Problem> {
    event.check_accept()?;
    match operation {
        Operation::Notify => notifications::notify(deps, event).await,
        Operation::ListConnections => connections::list(deps, event).await,
        Operation::CountConnections => connections::count(deps, event).await,
        Operation::ShowConnection => connections::show(deps, event).await,
        Operation::CloseConnection => connections::close(deps, event).await,
        Operation::ListTopics => topics::list(deps, event).await,
        Operation::AddTopic => topics::add(deps, event).await,
        Operation::RemoveTopic => topics::remove(deps, event).await,
        Operation::ShowPresence => presence::show(deps, event).await,
        Operation::ReadMessages => messages::read(deps, event, recorder).await,
        Operation::CountUnread => inbox::unread(deps, event).await,
        Operation::MarkRead => inbox::mark_read(deps, event).await,
        Operation::Describe => {
            event.query()?.finish()?;
            Ok(Response::text("application/json", OPENAPI))
        }
    }
}
