//! Who is in a topic.

use tidings::Topic;
use tidings::clock::Clock;
use tidings::presence::MOST_TOLD_OF;

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;

/// Stands in the path for a topic that is named by `?topic=`: API Gateway decodes a path before it looks at it, so a name
/// with a `/` or a `?` cannot be in one.
const IN_QUERY: &str = "-";

pub(crate) async fn show(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let topic = named_topic(event)?;
    if !deps.registry.keeps_presence(&topic) {
        let problem = "it is not kept who is in it; the stack's parameter `Presence` says of which topics it is";
        return Err(Problem::invalid("topic", problem));
    }
    let here = deps.registry.here(&topic, MOST_TOLD_OF, Clock::System.milliseconds()).await?;
    Ok(Response::json(200, &here))
}

/// The topic from the path, or from the query where the path has a hyphen.
fn named_topic(event: &Event) -> Result<Topic, Problem> {
    let mut query = event.query()?;
    let named = query.take_id("topic", Topic::parse)?;
    let topic = event.path_parameter("topic", Topic::parse)?;
    query.finish()?;
    match named {
        None if topic.as_str() == IN_QUERY => {
            Err(Problem::invalid("topic", "it is missing; give ?topic= where the path has a hyphen"))
        }
        None => Ok(topic),
        Some(named) if topic.as_str() == IN_QUERY => Ok(named),
        Some(_) => Err(Problem::invalid("topic", "the path names a topic too; put a hyphen in its place")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_topic_is_in_the_path_or_behind_a_hyphen_in_the_query() {
        let read = |topic: &str, query: &str| {
            let event = json!({"pathParameters": {"topic": topic}, "rawQueryString": query});
            let event: Event = serde_json::from_value(event).unwrap();
            named_topic(&event).map(String::from).map_err(|problem| problem.detail())
        };
        assert_eq!(read("lobby", ""), Ok("lobby".to_owned()));
        assert_eq!(read("-", "topic=room%2F1"), Ok("room/1".to_owned()));
        for (topic, query, start) in [
            ("-", "", "`topic`: it is missing"),
            ("lobby", "topic=a", "`topic`: the path names a topic too"),
            ("lobby", "limit=1", "`limit`: it is not a parameter of this operation"),
        ] {
            let detail = read(topic, query).unwrap_err();
            assert!(detail.starts_with(start), "{detail}");
        }
    }
}
