//! The durable topics of a user.

use serde_json::json;
use tidings::{Topic, UserId};

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;
use crate::user::named_user;

/// A user's durable topics.
pub(crate) async fn list(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let mut query = event.query()?;
    let user = named_user(event, &mut query)?;
    query.finish()?;
    let topics = deps.registry.durable_topics(&user).await?;
    Ok(Response::json(200, &json!({ "topics": topics })))
}

/// Subscribes a user to a topic, on its connections now and those to come.
pub(crate) async fn add(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let (user, topic) = user_and_topic(event)?;
    let connections = deps.registry.add_durable_topic(&user, &topic).await?;
    tracing::info!(topic = topic.as_str(), connections, "added a durable topic");
    Ok(Response::json(200, &json!({ "connections": connections })))
}

/// Takes a topic from a user, on its connections now and those to come.
pub(crate) async fn remove(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let (user, topic) = user_and_topic(event)?;
    let connections = deps.registry.remove_durable_topic(&user, &topic).await?;
    tracing::info!(topic = topic.as_str(), connections, "removed a durable topic");
    Ok(Response::json(200, &json!({ "connections": connections })))
}

fn user_and_topic(event: &Event) -> Result<(UserId, Topic), Problem> {
    let mut query = event.query()?;
    let user = named_user(event, &mut query)?;
    let topic = query.take_id("topic", Topic::parse)?;
    query.finish()?;
    Ok((user, topic.ok_or_else(|| Problem::invalid("topic", "it is missing; give ?topic="))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user: &str, query: &str) -> Result<(String, String), String> {
        let event = json!({"pathParameters": {"user": user}, "rawQueryString": query});
        let event: Event = serde_json::from_value(event).unwrap();
        let (user, topic) = user_and_topic(&event).map_err(|problem| problem.detail())?;
        Ok((user.to_string(), topic.to_string()))
    }

    #[test]
    fn a_user_is_in_the_path_or_behind_a_hyphen_in_the_query() {
        let pair = |user: &str| Ok((user.to_owned(), "a/b".to_owned()));
        assert_eq!(read("alice", "topic=a%2Fb"), pair("alice"));
        assert_eq!(read("50%", "topic=a/b"), pair("50%"));
        assert_eq!(read("-", "user=org%2Falice%3F&topic=a%2Fb"), pair("org/alice?"));
        assert_eq!(read("-", "user=-&topic=a%2Fb"), pair("-"));
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        for (user, query, start) in [
            ("-", "topic=t", "`user`: it is missing"),
            ("alice", "user=bob&topic=t", "`user`: the path names a user too"),
            ("alice", "", "`topic`: it is missing; give ?topic="),
            ("alice", "topic=", "`topic`: a topic is empty"),
            ("alice", "topic=t&x=1", "`x`: it is not a parameter of this operation; use user, topic"),
        ] {
            let detail = read(user, query).unwrap_err();
            assert!(detail.starts_with(start), "{detail}");
        }
    }
}
