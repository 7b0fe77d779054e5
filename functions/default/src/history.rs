//! `history`: what was said before.

use tidings::log::LogName;
use tidings::permissions::Action;
use tidings::protocol::{ClientError, History, ReplyBody};
use tidings::recovery::{Asked, Reading};

use crate::frame::Frame;
use crate::outcome::MOST_BYTES;
use crate::services::{Error, Services};
use crate::subscribe::{anonymous, not_read};

/// What the client is told that asks for what there is no log of.
pub(crate) fn nothing_kept() -> ClientError {
    ClientError::bad_request("nothing is kept of it; the stack's parameter `History` says what is")
}

pub(crate) async fn run(services: &Services, frame: &Frame, asked: History) -> Result<ReplyBody, Error> {
    let caller = &frame.caller;
    let (log, retention) = match (&asked.topic, &caller.user) {
        (Some(topic), _) => {
            if let Some(refused) = frame.refused(Action::Subscribe, std::slice::from_ref(topic)) {
                return Ok(ReplyBody::Error(refused));
            }
            (LogName::Topic(topic.clone()), services.history.of_topic(topic))
        }
        (None, Some(user)) => (LogName::User(user.clone()), services.history.of_user(user)),
        (None, None) => return Ok(ReplyBody::Error(anonymous())),
    };
    let Some(retention) = retention else { return Ok(ReplyBody::Error(nothing_kept())) };
    let reading = Reading { log: &log, retention, connection: Some(&caller.connection), now: frame.at };
    let wanted = Asked { since: asked.since.as_ref(), limit: asked.limit, reverse: asked.reverse };
    let mut room = MOST_BYTES;
    match services.registry.history(&reading, wanted, &mut room).await {
        Ok(told) => Ok(ReplyBody::History { topic: asked.topic, told }),
        Err(error) => not_read(error),
    }
}
