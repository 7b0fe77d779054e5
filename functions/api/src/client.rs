//! Who a client is that calls a route without an authorizer in front, and what it may read.

use tidings::log::LogName;
use tidings::permissions::Action;
use tidings::{UserId, permissions::Permissions};
use tidings_authorizer::Rejection;

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;

/// A client whose token was good, or who needs none.
#[derive(Debug)]
pub(crate) struct Client {
    user: Option<UserId>,
    permissions: Permissions,
}

impl Client {
    /// Looks at the token in the `Authorization` header or in the query. `named` is the user that the request is about: where
    /// clients name themselves, the client is that user.
    pub(crate) async fn identify(
        deps: &Deps,
        event: &Event,
        token: Option<String>,
        named: Option<&UserId>,
    ) -> Result<Self, Problem> {
        let identity = deps.clients.identify(&event.as_handshake(token, named)?).await.map_err(problem)?;
        Ok(Self { user: identity.user, permissions: identity.permissions.unwrap_or_default() })
    }

    /// Refuses a log of others: a client may read the topics that it may subscribe to, and its own messages.
    pub(crate) fn check(&self, log: &LogName) -> Result<(), Problem> {
        let detail = match log {
            LogName::Topic(topic) if self.permissions.allow(Action::Subscribe, topic) => return Ok(()),
            LogName::User(user) if self.user.as_ref() == Some(user) => return Ok(()),
            LogName::Topic(topic) => format!("`topic`: you may not subscribe to the topic {:?}", topic.as_str()),
            LogName::User(user) => format!("`user`: you are not the user {:?}", user.as_str()),
        };
        Err(Problem::Forbidden { detail })
    }
}

fn problem(rejection: Rejection) -> Problem {
    match rejection {
        Rejection::Unauthorized => Problem::Unauthorized,
        Rejection::Failed(error) => Problem::internal(&error),
        other => Problem::Forbidden { detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use tidings::Topic;

    use super::*;

    #[test]
    fn a_client_reads_what_it_may_subscribe_to_and_its_own_messages() {
        let user = |name: &str| UserId::parse(name).unwrap();
        let topic = |name: &str| LogName::Topic(Topic::parse(name).unwrap());
        let permissions = Permissions::parse("subscribe:a/* publish:b").unwrap();
        let client = Client { user: Some(user("u1")), permissions: permissions.clone() };
        assert_eq!(client.check(&topic("a/1")), Ok(()));
        assert_eq!(client.check(&LogName::User(user("u1"))), Ok(()));
        for (log, start) in [
            (topic("b"), "`topic`: you may not subscribe to the topic \"b\""),
            (LogName::User(user("u2")), "`user`: you are not the user \"u2\""),
        ] {
            assert_eq!(client.check(&log).unwrap_err().detail(), start);
        }
        let nobody = Client { user: None, permissions };
        assert!(nobody.check(&LogName::User(user("u1"))).is_err());
    }
}
