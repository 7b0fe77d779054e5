//! The kinds of events, with the schema of their `detail`.

use serde::Serialize;

use crate::ids::{ConnectionId, UserId};
use crate::notification::Notification;

/// Something that the application's backend is told. Times are in milliseconds since the epoch.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event<'a> {
    /// `Connected`: a connection was registered.
    Connected {
        /// Which.
        connection: &'a ConnectionId,
        /// Its user, unless it is anonymous.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a UserId>,
        /// The name of the protocol that it speaks.
        protocol: &'static str,
        /// When the client asked to connect.
        at: i64,
    },
    /// `Disconnected`: API Gateway said that a connection has ended.
    Disconnected {
        /// Which.
        connection: &'a ConnectionId,
        /// Its user, unless it was anonymous.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a UserId>,
        /// The status of the close frame, such as 1000, where there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The text beside it.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        /// How long it lasted, in milliseconds, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<i64>,
        /// When it ended.
        at: i64,
    },
    /// `User Online`: a user has a connection, and had none.
    UserOnline {
        /// Who.
        user: &'a UserId,
        /// Since when.
        at: i64,
    },
    /// `User Offline`: a user has no connection any more.
    UserOffline {
        /// Who.
        user: &'a UserId,
        /// Since when.
        at: i64,
    },
    /// `Undelivered`: a notification to a user who was not reached.
    Undelivered {
        /// Who.
        user: &'a UserId,
        /// Why not.
        reason: Unreached,
        /// All of the notification, as a producer could send it.
        notification: &'a Notification,
        /// What the notification's id is unique in: a [`scope`](crate::notification::scope).
        #[serde(skip)]
        scope: &'a str,
        /// When that was found out.
        at: i64,
    },
}

/// Why a notification did not reach a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Unreached {
    /// The user had no connection.
    Absent,
    /// The user had connections, and none took the message: they were gone, or failed.
    Failed,
    /// The notification's time to live was over before it was tried.
    Expired,
}

#[derive(Debug, Serialize)]
struct Detail<'a> {
    id: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Event<'_> {
    /// What EventBridge calls the detail type.
    #[must_use]
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "Connected",
            Self::Disconnected { .. } => "Disconnected",
            Self::UserOnline { .. } => "User Online",
            Self::UserOffline { .. } => "User Offline",
            Self::Undelivered { .. } => "Undelivered",
        }
    }

    /// By what consumers tell doubles: the same for the same thing, however often it is told.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Connected { connection, .. } => format!("connected-{connection}"),
            Self::Disconnected { connection, .. } => format!("disconnected-{connection}"),
            Self::UserOnline { user, at } => format!("user-online-{user}-{at}"),
            Self::UserOffline { user, at } => format!("user-offline-{user}-{at}"),
            Self::Undelivered { user, notification, scope, .. } => {
                format!("undelivered-{}", crate::hash(&[scope, notification.id.as_str(), user.as_str()]))
            }
        }
    }

    /// The `detail`, as JSON.
    #[must_use]
    pub fn detail(&self) -> String {
        // Strings, numbers and a notification that was parsed: there is nothing that cannot be written.
        serde_json::to_string(&Detail { id: self.id(), event: self }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::NotificationId;
    use crate::notification::Defaults;

    fn user() -> UserId {
        UserId::parse("ada").unwrap()
    }

    fn connection() -> ConnectionId {
        ConnectionId::parse("c=").unwrap()
    }

    #[track_caller]
    fn check(event: &Event<'_>, kind: &str, detail: Value) {
        assert_eq!(event.detail_type(), kind);
        assert_eq!(serde_json::from_str::<Value>(&event.detail()).unwrap(), detail);
    }

    #[test]
    fn connections_are_told_with_what_is_known_of_them() {
        let (connection, user) = (&connection(), &user());
        check(
            &Event::Connected { connection, user: Some(user), protocol: "tidings.v1.json", at: 7 },
            "Connected",
            json!({"id": "connected-c=", "connection": "c=", "user": "ada", "protocol": "tidings.v1.json", "at": 7}),
        );
        let (status, reason) = (Some(1001), Some("going away"));
        check(
            &Event::Disconnected { connection, user: Some(user), status, reason, duration: Some(2), at: 9 },
            "Disconnected",
            json!({"id": "disconnected-c=", "connection": "c=", "user": "ada", "status": 1001, "reason": "going away",
                "duration": 2, "at": 9}),
        );
        check(
            &Event::Disconnected { connection, user: None, status: None, reason: None, duration: None, at: 9 },
            "Disconnected",
            json!({"id": "disconnected-c=", "connection": "c=", "at": 9}),
        );
    }

    #[test]
    fn users_come_and_go() {
        let user = &user();
        let online = json!({"id": "user-online-ada-7", "user": "ada", "at": 7});
        check(&Event::UserOnline { user, at: 7 }, "User Online", online);
        let offline = json!({"id": "user-offline-ada-8", "user": "ada", "at": 8});
        check(&Event::UserOffline { user, at: 8 }, "User Offline", offline);
    }

    #[test]
    fn an_undelivered_notification_is_whole_and_has_an_id_for_each_user() {
        let text = r#"{"id":"n","to":[{"user":"ada"},{"user":"bob"}],"type":"hi","data":{"n":1.50},"at":1795520783000,"ttl":60}"#;
        let defaults = Defaults { id: NotificationId::parse("d").unwrap(), at: 0 };
        let notification = &Notification::parse(text, &defaults).unwrap();
        let event = |user, scope, at| Event::Undelivered { user, reason: Unreached::Absent, notification, scope, at };
        let (ada, bob) = (&user(), &UserId::parse("bob").unwrap());
        let first = event(ada, "direct", 9);
        assert!(first.detail().contains(r#""n":1.50"#), "letter by letter: {}", first.detail());
        let detail: Value = serde_json::from_str(&first.detail()).unwrap();
        assert_eq!((&detail["user"], &detail["reason"], &detail["at"]), (&json!("ada"), &json!("absent"), &json!(9)));
        assert_eq!(
            detail["notification"],
            serde_json::from_str::<Value>(&serde_json::to_string(notification).unwrap()).unwrap()
        );
        assert_eq!(detail["scope"], Value::Null);
        assert_eq!(first.id(), event(ada, "direct", 10).id(), "told again");
        assert_ne!(first.id(), event(bob, "direct", 9).id());
        assert_ne!(first.id(), event(ada, "sqs-1", 9).id());
    }
}
