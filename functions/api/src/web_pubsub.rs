//! The REST API of Azure Web PubSub, `/api/hubs/{hub}/…`: for backends that use its libraries.
//!
//! Its callers sign each address with the key of the connection string, which this function looks at itself: no authorizer of
//! API Gateway's stands before its routes. `address` says whether a token is for a request, `operation` what is asked for;
//! both are pure, as are `filter` and `parameters`. A group of a hub is a topic; users and everybody are the whole
//! stack's.

mod address;
mod closing;
mod failure;
mod filter;
mod groups;
mod listing;
mod operation;
mod parameters;
mod permissions;
mod recipients;
mod sending;
mod tokens;

use std::time::Duration;

use tidings::metrics::Recorder;
use tidings::web_pubsub::Hub;
use tidings_authorizer::{WebPubSubKey, WebPubSubTokenProblem};
use tokio::time::Instant;

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;
use address::Address;
use failure::Failure;
use operation::{Asked, Operation};
use parameters::Parameters;

/// The key of its route in API Gateway. Greedy, for a path comes decoded: which of its `/` were part of a name, only the address
/// in the token says.
pub(crate) const ROUTE: &str = "ANY /api/hubs/{proxy+}";
/// The key of the route that says that the stack is there.
pub(crate) const HEALTH: &str = "HEAD /api/health";
/// How long a call may look for connections: API Gateway gives up on it after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is done side by side.
const SIDE_BY_SIDE: usize = 32;

/// A call whose caller is known to have the key.
struct Call<'a> {
    deps: &'a Deps,
    event: &'a Event,
    address: Address,
    hub: Hub,
    /// When to stop looking for connections.
    deadline: Instant,
}

/// Answers one call.
pub(crate) async fn answer(deps: &Deps, event: &Event, recorder: &Recorder) -> Result<Response, Problem> {
    let Some(key) = &deps.web_pubsub_key else { return Err(Problem::NoSuchPath) };
    if event.route_key.as_deref() == Some(HEALTH) {
        return Ok(Response::empty(200));
    }
    let answer = match admitted(key, event, recorder).await {
        Ok(address) => serve(deps, key, event, address, recorder).await,
        Err(failure) => Err(failure),
    };
    Ok(answer.unwrap_or_else(Failure::into_response))
}

/// The address of a request as its token has it.
async fn admitted(key: &WebPubSubKey, event: &Event, recorder: &Recorder) -> Result<Address, Failure> {
    let token = event.header("authorization").and_then(bearer).ok_or(Failure::UNAUTHORIZED)?;
    let claims = key.verify(token, recorder).await.map_err(|problem| match problem {
        WebPubSubTokenProblem::Invalid(reason) => {
            tracing::info!(reason, "a token of Web PubSub is not taken");
            Failure::UNAUTHORIZED
        }
        problem => Failure::internal(&problem),
    })?;
    let path = event.raw_path.as_deref().unwrap_or_default();
    address::of(claims.get("aud"), path, event.raw_query()).ok_or(Failure::UNAUTHORIZED)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn serve(
    deps: &Deps,
    key: &WebPubSubKey,
    event: &Event,
    address: Address,
    recorder: &Recorder,
) -> Result<Response, Failure> {
    let method = event.request_context.http.method.as_deref().unwrap_or_default();
    let Asked { hub, operation } = operation::of(method, &address.segments)?;
    let mut parameters = Parameters::parse(event.raw_query())?;
    parameters.check_version()?;
    let call = Call { deps, event, address, hub, deadline: Instant::now() + PATIENCE };
    match operation {
        Operation::Send(to) => call.send(&to, &mut parameters).await,
        Operation::Exists(whose) => call.exists(&whose).await,
        Operation::Close(whose) => call.close(&whose, &mut parameters).await,
        Operation::Join { group, connection } => call.join(&group, &connection).await,
        Operation::Leave { group, connection } => call.leave(&group, &connection).await,
        Operation::JoinUser { group, user } => call.join_user(&group, &user).await,
        Operation::LeaveUser { group, user } => call.leave_user(group.as_ref(), &user).await,
        Operation::LeaveAll { connection } => call.leave_all(&connection).await,
        Operation::ChangeGroups { change } => call.change_groups(change).await,
        Operation::List { group } => call.list(&group, &mut parameters).await,
        Operation::Permission { act, right, connection } => {
            call.permission(act, right, &connection, &mut parameters).await
        }
        Operation::GenerateToken => call.generate_token(key, &mut parameters, recorder).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_as_one_of_a_bearer() {
        assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer(" bearer  a.b.c "), Some("a.b.c"));
        for other in ["", "a.b.c", "Bearer", "apikey a.b.c"] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }
}
