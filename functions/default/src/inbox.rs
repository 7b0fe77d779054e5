//! `unread` and `read`: how far the connection's user has read its messages.

use tidings::fanout::tell_unread;
use tidings::inbox::{Inbox, InboxError};
use tidings::protocol::{ClientError, Read, ReplyBody};

use crate::frame::Frame;
use crate::history::nothing_kept;
use crate::outcome::refused;
use crate::services::{Error, Services};
use crate::subscribe::anonymous;

pub(crate) async fn unread(services: &Services, frame: &Frame) -> Result<ReplyBody, Error> {
    let inbox = match inbox(services, frame) {
        Ok(inbox) => inbox,
        Err(error) => return Ok(ReplyBody::Error(error)),
    };
    services.registry.unread(&inbox).await.map_or_else(refused, |unread| Ok(ReplyBody::Unread(unread)))
}

/// Sets the mark, and tells the user's other connections of it.
pub(crate) async fn read(services: &Services, frame: &Frame, asked: Read) -> Result<ReplyBody, Error> {
    let inbox = match inbox(services, frame) {
        Ok(inbox) => inbox,
        Err(error) => return Ok(ReplyBody::Error(error)),
    };
    match services.registry.mark_read(&inbox, asked.offset, asked.epoch.as_ref()).await {
        Ok(marked) => {
            if marked.has_risen {
                let with = (&services.registry, &services.sockets);
                tell_unread(with, inbox.user, Some(&frame.caller.connection), &marked.unread, frame.at).await;
            }
            Ok(ReplyBody::Ack)
        }
        Err(InboxError::Registry(error)) => refused(error),
        Err(ahead) => Ok(ReplyBody::Error(ClientError::bad_request(format!("`offset`: {ahead}")))),
    }
}

/// The inbox of the connection's user; what the client is told that has none.
fn inbox<'a>(services: &Services, frame: &'a Frame) -> Result<Inbox<'a>, ClientError> {
    let user = frame.caller.user.as_ref().ok_or_else(anonymous)?;
    let retention = services.history.of_user(user).ok_or_else(nothing_kept)?;
    Ok(Inbox { user, retention, now: frame.at })
}
