//! `presence`: who is in a topic.

use tidings::Topic;
use tidings::permissions::Action;
use tidings::presence::MOST_TOLD_OF;
use tidings::protocol::{ClientError, ErrorCode, ReplyBody};

use crate::frame::Frame;
use crate::outcome::{MOST_BYTES, refused};
use crate::services::{Error, Services};

pub(crate) async fn run(services: &Services, frame: &Frame, topic: Topic) -> Result<ReplyBody, Error> {
    if let Err(error) = check(services, frame, std::slice::from_ref(&topic)) {
        return Ok(ReplyBody::Error(error));
    }
    match services.registry.here(&topic, MOST_TOLD_OF, frame.at).await {
        Ok(here) => Ok(ReplyBody::Presence { topic, here: here.within(MOST_BYTES) }),
        Err(error) => refused(error),
    }
}

/// Refuses topics of which the client may not know who is there, or of which nobody knows.
pub(crate) fn check(services: &Services, frame: &Frame, topics: &[Topic]) -> Result<(), ClientError> {
    if let Some(topic) = frame.caller.permissions.first_refused(Action::Presence, topics) {
        let message = format!("you may not know who is in the topic {:?}", topic.as_str());
        return Err(ClientError::new(ErrorCode::Forbidden, message));
    }
    match topics.iter().find(|topic| !services.registry.keeps_presence(topic)) {
        None => Ok(()),
        Some(topic) => Err(ClientError::bad_request(format!(
            "`topic`: it is not kept who is in {:?}; the stack's parameter `Presence` says of which topics it is",
            topic.as_str()
        ))),
    }
}
