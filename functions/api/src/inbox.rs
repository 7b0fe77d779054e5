//! How far a user has read its messages.

use serde_json::{Map, Value};
use tidings::UserId;
use tidings::clock::Clock;
use tidings::fanout::tell_unread;
use tidings::inbox::{Inbox, InboxError};
use tidings::log::{Epoch, LogName, MOST_OFFSET};

use crate::Deps;
use crate::client::Client;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;
use crate::user::named_user;

/// Longest body, in bytes, as of notifications: what is shorter is told what is wrong with it.
const MAX_BODY: usize = 256 * 1_024;
/// What a body looks like.
const EXAMPLE: &str = "give {\"offset\":46}, perhaps with the `epoch`, as it came with the last message that was read";

/// How many messages the user has not read.
pub(crate) async fn unread(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let user = own_user(deps, event).await?;
    let unread = deps.registry.unread(&inbox(deps, &user)?).await?;
    Ok(Response::json(200, &unread))
}

/// Raises the user's mark, tells its connections, and answers with what is left.
pub(crate) async fn mark_read(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let user = own_user(deps, event).await?;
    let (offset, epoch) = mark(&event.json_body(MAX_BODY, EXAMPLE)?)?;
    let inbox = inbox(deps, &user)?;
    let marked = deps.registry.mark_read(&inbox, offset, epoch.as_ref()).await.map_err(problem)?;
    if marked.has_risen {
        tell_unread((&deps.registry, &deps.sockets), &user, None, &marked.unread, inbox.now).await;
    }
    Ok(Response::json(200, &marked.unread))
}

/// The user that the path names, if the client is that user.
async fn own_user(deps: &Deps, event: &Event) -> Result<UserId, Problem> {
    let mut query = event.query()?;
    let user = named_user(event, &mut query)?;
    let token = query.take("access_token");
    query.finish()?;
    let client = Client::identify(deps, event, token, Some(&user)).await?;
    client.check(&LogName::User(user.clone()))?;
    Ok(user)
}

fn inbox<'a>(deps: &Deps, user: &'a UserId) -> Result<Inbox<'a>, Problem> {
    let retention = deps.history.of_user(user).ok_or(Problem::NoLog)?;
    Ok(Inbox { user, retention, now: Clock::System.milliseconds() })
}

fn mark(body: &str) -> Result<(u64, Option<Epoch>), Problem> {
    let mut fields: Map<String, Value> = serde_json::from_str(body)
        .map_err(|error| Problem::invalid("body", format!("it is not a JSON object ({error}); {EXAMPLE}")))?;
    let offset = fields.remove("offset").and_then(|offset| offset.as_u64()).filter(|offset| *offset <= MOST_OFFSET);
    let offset = offset.ok_or_else(|| {
        Problem::invalid("offset", format!("it is not there or not a whole number from 0 on; {EXAMPLE}"))
    })?;
    let epoch = fields.remove("epoch").map(|epoch| epoch.as_str().and_then(|epoch| Epoch::parse(epoch).ok()));
    let epoch =
        epoch.map(|epoch| epoch.ok_or_else(|| Problem::invalid("epoch", format!("it is not an epoch; {EXAMPLE}"))));
    match fields.keys().next() {
        Some(unknown) => Err(Problem::invalid(unknown, format!("it is not known here; {EXAMPLE}"))),
        None => Ok((offset, epoch.transpose()?)),
    }
}

fn problem(error: InboxError) -> Problem {
    match error {
        InboxError::Registry(error) => error.into(),
        ahead @ InboxError::Ahead { .. } => Problem::invalid("offset", ahead),
        other => Problem::internal(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_an_offset_and_perhaps_an_epoch() {
        let epoch = Epoch::parse("k3f9").unwrap();
        assert_eq!(mark(r#"{"offset":46}"#), Ok((46, None)));
        assert_eq!(mark(r#"{"offset":46,"epoch":"k3f9"}"#), Ok((46, Some(epoch))));
        for (body, start) in [
            ("46", "`body`: it is not a JSON object"),
            ("{}", "`offset`: it is not there or not a whole number from 0 on; give {\"offset\":46}"),
            (r#"{"offset":-1}"#, "`offset`: it is not there or not a whole number"),
            (r#"{"offset":1,"epoch":7}"#, "`epoch`: it is not an epoch; give"),
            (r#"{"offset":1,"read":7}"#, "`read`: it is not known here; give"),
        ] {
            let told = mark(body).unwrap_err().detail();
            assert!(told.starts_with(start), "{body}: {told}");
        }
    }
}
