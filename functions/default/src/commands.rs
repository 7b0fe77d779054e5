//! What each command does.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequestContext;
use tidings::metrics::{Metric, Tally, Trigger};
use tidings::permissions::{Action, Permissions};
use tidings::protocol::{ClientError, Command, ErrorCode, ReplyBody, Whoami};
use tidings::registry::RegistryError;
use tidings::{ConnectionId, Topic, UserId};

use crate::router::{ActionError, Context};
use crate::{Deps, Error, publish};

/// Who sent a frame, and where it is counted.
pub(crate) struct Caller<'a> {
    pub(crate) id: &'a ConnectionId,
    pub(crate) context: &'a ApiGatewayWebsocketProxyRequestContext,
    pub(crate) tally: &'a Tally,
    /// Its user, as the authorizer named it; `None` for who is anonymous.
    pub(crate) user: Option<&'a UserId>,
    pub(crate) permissions: &'a Permissions,
}

impl Caller<'_> {
    /// The refusal of what the caller may not do on all of these topics.
    pub(crate) fn refused(&self, action: Action, topics: &[Topic]) -> Option<ReplyBody> {
        let topic = self.permissions.first_refused(action, topics)?;
        let message = format!("you may not {} to the topic {:?}", action.name(), topic.as_str());
        Some(ReplyBody::Error(ClientError::new(ErrorCode::Forbidden, message)))
    }

    /// What the ids of its notifications are unique in: its user, or the connection where it has none.
    pub(crate) fn scope(&self) -> String {
        let client = match self.user {
            Some(user) => ["user", user.as_str()],
            None => ["connection", self.id.as_str()],
        };
        tidings::notification::scope(Trigger::Client, &client)
    }
}

/// Carries out a command. What the client did wrong is an answer; what we did wrong is an error.
pub(crate) async fn run(deps: &Deps, caller: &Caller<'_>, command: Command) -> Result<ReplyBody, Error> {
    let (registry, id) = (&deps.registry, caller.id);
    let done = match command {
        Command::Ping => return Ok(ReplyBody::Pong),
        Command::Whoami => return whoami(deps, id).await,
        Command::Publish(publish) => return publish::run(deps, caller, publish).await,
        Command::Application { action, body } => {
            let context = Context::new(deps, caller);
            return answer(deps.router.run(&action, context, body).await, action);
        }
        Command::Subscribe(topics) => {
            if let Some(refused) = caller.refused(Action::Subscribe, &topics) {
                return Ok(refused);
            }
            let done = registry.subscribe(id, &topics).await;
            done.map(|()| note(caller, &topics, Metric::Subscriptions, "subscribed"))
        }
        Command::Unsubscribe(topics) => {
            let done = registry.unsubscribe(id, &topics).await;
            done.map(|()| note(caller, &topics, Metric::Unsubscriptions, "unsubscribed"))
        }
    };
    match done {
        Ok(()) => Ok(ReplyBody::Ack),
        Err(error) => refusal(error).map(ReplyBody::Error).map_err(Error::Registry),
    }
}

fn note(caller: &Caller<'_>, topics: &[Topic], metric: Metric, done: &str) {
    caller.tally.add(metric, topics.len() as u64);
    let names: Vec<_> = topics.iter().map(Topic::as_str).collect();
    tracing::info!(connection.id = %caller.id, topic = names.join(" "), "{done}");
}

async fn whoami(deps: &Deps, id: &ConnectionId) -> Result<ReplyBody, Error> {
    match deps.registry.connection(id).await.map_err(Error::Registry)? {
        None => refusal(RegistryError::NotConnected).map(ReplyBody::Error).map_err(Error::Registry),
        Some(connection) => Ok(ReplyBody::Whoami(Whoami {
            connection: connection.id,
            user: connection.user,
            connected_at: connection.connected_at,
            topics: connection.topics,
        })),
    }
}

fn answer(outcome: Result<ReplyBody, ActionError>, action: String) -> Result<ReplyBody, Error> {
    match outcome {
        Ok(body) => Ok(body),
        Err(ActionError::Client(error)) => Ok(ReplyBody::Error(error)),
        Err(ActionError::Internal(source)) => Err(Error::Action { action, source }),
    }
}

/// What a client is told when the registry refuses; anything else is not the client's business.
pub(crate) fn refusal(error: RegistryError) -> Result<ClientError, RegistryError> {
    Ok(match &error {
        RegistryError::NotConnected => ClientError::new(ErrorCode::NotConnected, error.to_string()),
        RegistryError::TooManyTopics { .. } => ClientError::new(ErrorCode::TooManyTopics, error.to_string()),
        RegistryError::TopicsTooLong { .. } => ClientError::new(ErrorCode::TooManyTopics, format!("`topics`: {error}")),
        _ => return Err(error),
    })
}
