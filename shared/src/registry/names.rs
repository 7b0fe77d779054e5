//! The names of the table's attributes, and what those say that have few values.

/// Partition key.
pub const PK: &str = "pk";
/// Sort key.
pub const SK: &str = "sk";
/// When the row stops to count, in seconds since the epoch; the table's TTL attribute.
pub const EXPIRES_AT: &str = "expires_at";
/// When the connection was made, in milliseconds since the epoch.
pub const CONNECTED_AT: &str = "connected_at";
/// The name of the connection's protocol.
pub const PROTOCOL: &str = "protocol";
/// The socket that carries the connection; absent while it is the first one.
pub const SOCKET: &str = "socket";
/// The topics that a connection or all connections of a user are subscribed to, a string set; absent when there are none.
pub const TOPICS: &str = "topics";
/// What an application keeps with the connection, as JSON; absent when it is nothing.
pub(super) const ATTRIBUTES: &str = "attributes";
/// What a client's own frame said of it, as JSON; absent where the authorizer said all.
pub(super) const SESSION: &str = "session";
/// Who a client of Web PubSub is, as JSON; absent for all others.
pub(super) const WEB_PUBSUB: &str = "web_pubsub";
/// What servers have granted and denied it, as JSON; absent when it is nothing.
pub(super) const GRANTS: &str = "grants";
/// Numbers of the commands of its that were done last, a list; absent when there are none.
pub(super) const ACKED: &str = "acked";
/// How many bytes the names of these topics have together.
pub(super) const TOPIC_BYTES: &str = "topic_bytes";
/// The connection's user; absent when it is anonymous.
pub const USER: &str = "user";
/// The place of the command that wrote a membership; absent where no command has. See [`super::Place`].
pub(super) const PLACE: &str = "place";
/// How often a server has written a membership since that command; absent where none has.
pub(super) const RAISED: &str = "raised";
/// [`LEFT`] where a membership is none any more. [`PENDING`] or [`LIVE`] where it is one of a client that must get nothing
/// twice and nothing out of order; absent for all others.
pub(super) const STATE: &str = "state";
/// What [`STATE`] is of a membership whose subscribe is at work.
pub(super) const PENDING: &str = "pending";
/// What [`STATE`] is of one that is told.
pub(super) const LIVE: &str = "live";
/// What [`STATE`] is of a connection that has left.
pub(super) const LEFT: &str = "left";
/// Topics that a connection has left lately, a string set: their memberships have a row still.
pub(super) const LEFT_TOPICS: &str = "left_topics";

/// When the right to work on a segment ends, in milliseconds since the epoch.
pub(super) const LEASE: &str = "lease";
/// Whose right it is.
pub(super) const OWNER: &str = "owner";
/// The last sort key that a segment's worker has passed.
pub(super) const CURSOR: &str = "cursor";
/// Sort keys up to the cursor that are still to be served, a string set.
pub(super) const STRAGGLERS: &str = "stragglers";
/// The parts that a segment was split into: a list of pairs of bounds.
pub(super) const PLAN: &str = "plan";
/// Whether a segment is done.
pub(super) const DONE: &str = "done";
/// What an audience was counted up to, a sort key.
pub(super) const COUNTED: &str = "counted";
/// The hash of a notification's content: an id that comes again with another one is a mistake.
pub(super) const HASH: &str = "hash";
/// A notification, as JSON.
pub(super) const NOTIFICATION: &str = "notification";
/// Up to when posts are reserved, in microseconds since the epoch.
pub(super) const RESERVED_UNTIL: &str = "reserved_until";
/// Counts what was learnt of the quota; which life of a log it is.
pub(super) const EPOCH: &str = "epoch";
/// Posts a second just after the last change of the rate.
pub(super) const BASE_RATE: &str = "base_rate";
/// Posts a second before the overload.
pub(super) const GOOD_RATE: &str = "good_rate";
/// When the rate changed last, in microseconds since the epoch.
pub(super) const CHANGED_AT: &str = "changed_at";
/// Since when nothing goes through, in microseconds since the epoch; absent where something does.
pub(super) const BLOCKED_SINCE: &str = "blocked_since";
/// When somebody may try again whether anything goes through, in microseconds since the epoch.
pub(super) const PROBE_AT: &str = "probe_at";
/// When a post was last taken, in microseconds since the epoch.
pub(super) const OK_AT: &str = "ok_at";

/// Up to which number the entries of an outbox were posted.
pub(super) const POSTED: &str = "posted";
/// Up to which number a client has said that it has them.
pub(super) const CONFIRMED: &str = "confirmed";
/// When the lease of an outbox was over that was not given back before the present one, in milliseconds since the epoch; 0 where
/// it was.
pub(super) const FORSAKEN: &str = "forsaken";
/// Since when the socket of an outbox is gone, in milliseconds since the epoch.
pub(super) const GONE_AT: &str = "gone_at";
/// When the socket came that carries a connection, in milliseconds since the epoch; absent while it is the first one.
pub(super) const MOVED_AT: &str = "moved_at";
/// A text frame.
pub(super) const FRAME: &str = "frame";
/// When an entry of an outbox was put there, in milliseconds since the epoch.
pub(super) const STORED_AT: &str = "stored_at";
/// Until when it is worth posting, in milliseconds since the epoch.
pub(super) const UNTIL: &str = "until";

/// Where a log ends, as far as its head knows.
pub(super) const OFFSET: &str = "offset";
/// Up to which offset a log's entries are out of reach.
pub(super) const FLOOR: &str = "floor";
/// Up to which offset a lane has pushed everything.
pub(super) const NEXT: &str = "next";
/// Up to which offset a lane is pushing messages now.
pub(super) const BATCH_END: &str = "batch_end";
/// How far strict members are that a lane has begun with: offsets by sort key, 0 where nobody knows.
pub(super) const BEGUN: &str = "begun";
/// Whether a lane's last holder gave it back without knowing who has what.
pub(super) const UNSURE: &str = "unsure";
/// What made a lane's holder work, where that comes again, should it die; empty where it does not.
pub(super) const CAUSE: &str = "cause";
/// When a lane was held for the first time, in seconds.
pub(super) const BEGAN: &str = "began";
/// Until when a message is on its way that looks whether a lane goes on, in milliseconds since the epoch.
pub(super) const WAKES_AT: &str = "wakes_at";
/// Since when a membership is pending, or a connection is in a topic, in milliseconds since the epoch.
pub(super) const SINCE: &str = "since";
/// What others are shown of a connection, as JSON.
pub(super) const INFO: &str = "info";
/// Up to which offset its client has everything.
pub(super) const LIVE_FROM: &str = "live_from";
/// Up to which offset a lane has passed it while it was pending.
pub(super) const PASSED: &str = "passed";
/// What names an entry of a log.
pub(super) const ID: &str = "id";
/// Where a log ended when a notification for it was first taken up: offset and epoch.
pub(super) const FROM: &str = "from";
pub(super) const FROM_EPOCH: &str = "from_epoch";

/// Who looked last at a user.
pub(super) const VERSION: &str = "version";
/// Whether the last change was that the user came.
pub(super) const TOLD: &str = "told";
/// When that was, in milliseconds since the epoch; no two changes of a user, or lists of a topic, have the same.
pub(super) const CHANGE: &str = "change";
/// Whether that was sent.
pub(super) const SENT: &str = "sent";
/// From when on the next list may be told of a topic, in milliseconds since the epoch.
pub(super) const FROM_THEN: &str = "from_then";
/// The topic that a row is about, where its key does not say it.
pub(super) const TOPIC: &str = "topic";
/// When a connection's time is over, in seconds since the epoch.
pub(super) const ENDS_AT: &str = "ends_at";
/// The first five minutes whose ends are not all looked at, or the last minute in which quiet connections were kept alive.
pub(super) const SPAN: &str = "span";
