//! The REST API of a [Tidings](https://docs.rs/tidings) stack: producers notify, and operators look at connections, over
//! plain HTTPS.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     tidings_api::Function::new().run()
//! }
//! ```
//!
//! An API Gateway HTTP API stands in front, with one route for each operation, so that it checks who may call what. What
//! comes over its `$default` route is no operation, and is only told what is wrong.

mod connections;
mod event;
mod function;
mod notifications;
mod operation;
mod problem;
mod query;
mod response;
mod topics;

use std::convert::Infallible;

use tidings::delivery::Management;
use tidings::metrics::{Metric, Metrics};
use tidings::queue::Queue;
use tidings::registry::Registry;

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
    /// To look at sockets and close them.
    pub sockets: Management,
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
        Ok(Wanted::Methods(methods)) => Ok(Response::empty(204).with_header("allow", methods)),
        Ok(Wanted::Operation(operation)) => run(deps, *operation, &event).await,
        Err(problem) => Err(problem.clone()),
    };
    let response = answer.unwrap_or_else(|problem| problem.into_response());
    match response.status() {
        400..500 => recorder.add(Metric::RestRefused, 1),
        500.. => recorder.add(Metric::RestErrors, 1),
        _ => {}
    }
    let operation = match wanted {
        Ok(Wanted::Operation(operation)) => operation.route_key(),
        _ => "$default".to_owned(),
    };
    tracing::info!(operation, status = response.status(), request.id = event.request_id(), "answered");
    Ok(response)
}

async fn run(deps: &Deps, operation: Operation, event: &Event) -> Result<Response, Problem> {
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
        Operation::Describe => {
            event.query()?.finish()?;
            Ok(Response::text("application/json", OPENAPI))
        }
    }
}
