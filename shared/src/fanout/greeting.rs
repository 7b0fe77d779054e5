//! Telling new clients that they are connected, where their protocol has a frame for that.

use serde_json::value::RawValue;

use super::{FanOut, Segment};
use crate::ids::NotificationId;
use crate::notification::{Notification, Origin, Payload, Target};
use crate::web_pubsub::Greeting;

/// Nobody waits for it any longer, in seconds.
const TTL_SECONDS: u32 = 60;
const SCOPE: &str = "greeting";

impl FanOut {
    /// What a new client is told; nothing for a connection that cannot be named.
    #[must_use]
    pub fn greeting(&self, greeting: Greeting) -> Option<Segment> {
        let (connection, user, at) = greeting.into_parts();
        let notification = Notification {
            id: NotificationId::parse(format!("{SCOPE}-{connection}")).ok()?,
            to: vec![Target::Newcomer(connection)],
            except: Vec::new(),
            topic: None,
            event: None,
            payload: Payload::Json(RawValue::NULL.to_owned()),
            at,
            ttl: TTL_SECONDS,
            log: None,
            from: Some(Origin { user }),
        };
        Some(Segment::whole(notification, SCOPE))
    }
}
