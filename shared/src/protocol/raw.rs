//! `raw`: bare data, for clients that exist already.

use bytes::Bytes;

use crate::notification::{Notification, Payload};

/// The data as it is: JSON letter by letter, text as text, binary in base64 (API Gateway sends text frames only).
pub(super) fn encode_message(notification: &Notification) -> Bytes {
    match &notification.payload {
        Payload::Json(data) => Bytes::copy_from_slice(data.get().as_bytes()),
        Payload::Text(text) | Payload::Binary(text) => Bytes::copy_from_slice(text.as_bytes()),
    }
}
