//! What is for a client of Web PubSub that recovers goes through its outbox: it is put there first, and whoever holds the
//! outbox's lease posts what stands there, upwards. Nobody else posts anything with a number.
//!
//! What is in the outbox is as good as delivered: if the socket is gone, the next one gets it. Whoever puts something there
//! waits all the same until it is posted, so that it comes again, should the one who posts it die.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::endpoint::{Message, Sockets};
use super::post::{Outcome, post};
use super::{Delivery, POST_DEADLINE};
use crate::clock::Clock;
use crate::ids::{ConnectionId, Socket, UserId};
use crate::notification::{Notification, Target};
use crate::protocol::web_pubsub::{connected, disconnected, keep_alive, numbered};
use crate::registry::{Kept, Outbox, Registry, RegistryError, Taken};

/// A client that has confirmed so few of what is in its outbox does not come after.
const MOST_UNCONFIRMED: u64 = 1_000;
/// After so long without a socket a connection has ended, in milliseconds: its library tries for half of it.
const LONGEST_ABSENCE_MS: i64 = 60_000;
/// How long whoever posts holds the lease without renewing it, in milliseconds.
const LEASE_MS: i64 = 10_000;
/// It renews where less is left, in milliseconds.
const RENEW_MS: i64 = 7_000;
/// No post begins with less, in milliseconds: it ends before somebody else may post, whose clock may be ahead.
const LEAST_MS: i64 = 4_500;
/// How long to wait for somebody else who posts: until the lease of one that died is over.
const LONGEST_WAIT: Duration = Duration::from_secs(12);
/// How long a handshake may take, from when its `$connect` has returned.
const HANDSHAKE: Duration = Duration::from_secs(8);
/// Whoever was asked to go on over a new socket has died, where it has not after so long, in milliseconds.
const LONGEST_RESUMING_MS: i64 = 15_000;
/// Newest entries that are read with the row.
const NEWEST: i32 = 4;
/// Entries that are read at once.
const PAGE: i32 = 50;
/// By how much clocks may differ, in milliseconds.
const SKEW_MS: i64 = 500;
/// Attempts at what fails for a passing reason.
const ATTEMPTS: u32 = 3;

/// Posts what is in outboxes.
#[derive(Debug, Clone)]
pub(super) struct Outboxes {
    sockets: Sockets,
    registry: Registry,
    clock: Clock,
    /// When whoever posts gives back what it holds: an invocation that ended with it would leave a socket behind that may have
    /// got more than is written down.
    deadline: Instant,
}

/// What is to be put into an outbox.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The same where it comes again.
    pub(super) name: String,
    /// When it was sent, in milliseconds since the epoch: it stands behind what was put there before.
    pub(super) at: i64,
    /// Until when it is worth posting, in milliseconds since the epoch.
    pub(super) until: i64,
    /// The text frame, without its number.
    pub(super) frame: String,
}

/// What is in an outbox by now.
enum Stored {
    /// It is, with this number.
    As(u64),
    /// The connection has ended.
    Ended,
}

/// The right to post what is in an outbox.
struct Holder<'a> {
    id: &'a ConnectionId,
    owner: String,
    socket: Socket,
    /// Up to where entries are posted.
    posted: u64,
    /// When the lease is over, in milliseconds since the epoch.
    until: i64,
    /// Whether whoever had it before died, and may have posted more than it has written down.
    is_forsaken: bool,
}

impl Parcel {
    /// What a notification is to those who are reached through `target`; `None` where it is only a sign of life to them, which
    /// nobody misses.
    pub(super) fn of(notification: &Notification, target: &Target, frame: &[u8]) -> Option<Self> {
        let target = match target {
            Target::Topic(topic) => ["topic", topic.as_str()],
            Target::User(user) => ["user", user.as_str()],
            Target::Connection(connection) => ["connection", connection.as_str()],
            Target::Everyone => ["everyone", ""],
            Target::Watchers(_) | Target::Quiet | Target::Newcomer(_) => return None,
        };
        // An id counts only among those of its producer; two of the same moment that say the same are the same.
        let place = match &notification.log {
            Some(place) => format!("{} {}", place.position.epoch, place.position.offset),
            None => notification.at.to_string(),
        };
        let frame = String::from_utf8_lossy(frame).into_owned();
        Some(Self {
            name: crate::hash(&[notification.id.as_str(), target[0], target[1], &place, &frame]),
            at: notification.at,
            until: notification.at.saturating_add(i64::from(notification.ttl).saturating_mul(1_000)),
            frame,
        })
    }
}

impl Delivery {
    /// What posts to those who have an outbox, until then.
    pub(super) fn outboxes(&self, deadline: Instant) -> Outboxes {
        Outboxes { sockets: self.sockets.clone(), registry: self.registry.clone(), clock: self.clock, deadline }
    }

    /// Tells a client that it is connected, with what it recovers the connection by, and posts what is for it by now.
    ///
    /// # Errors
    /// When that is to be tried again.
    pub async fn greet(
        &self,
        (id, socket): (&ConnectionId, &Socket),
        user: Option<&UserId>,
        reconnection_token: &str,
        deadline: Instant,
    ) -> Result<(), RegistryError> {
        self.outboxes(deadline).begin(id, socket, connected(id, user, Some(reconnection_token))).await
    }

    /// Goes on with a connection over a socket that carries it now, where the old one stopped, which is closed.
    ///
    /// # Errors
    /// When that is to be tried again.
    pub async fn resume(
        &self,
        id: &ConnectionId,
        socket: &Socket,
        old: &Socket,
        deadline: Instant,
    ) -> Result<(), RegistryError> {
        if old != socket
            && let Err(error) = self.sockets.delete(old).await
        {
            tracing::info!(connection.id = %id, error = crate::describe(&error), "could not close the old socket");
        }
        self.outboxes(deadline).begin(id, socket, keep_alive()).await
    }

    /// Sends a client away that wants to recover a connection which has ended: it begins anew at once.
    pub async fn send_away(&self, id: &ConnectionId, socket: &Socket, deadline: Instant) {
        let outboxes = self.outboxes(deadline);
        for frame in [disconnected("the connection has ended"), connected(id, None, None)] {
            outboxes.say_first(socket, frame).await;
        }
        if let Err(error) = self.sockets.delete(socket).await {
            tracing::info!(connection.id = %id, error = crate::describe(&error), "could not close a socket");
        }
    }
}

impl Outboxes {
    /// Puts something into an outbox and has it posted, and says where the connection is carried.
    pub(super) async fn deliver(&self, id: &ConnectionId, first: Socket, parcel: Parcel) -> (Outcome, Socket) {
        let socket = match self.registry.outbox(id, NEWEST).await {
            Ok(Some((outbox, newest))) => {
                let socket = outbox.socket.clone();
                return match self.put_and_post(id, (outbox, newest), parcel).await {
                    Ok(outcome) => (outcome, socket),
                    Err(error) => (Outcome::Passing(crate::describe(&error)), socket),
                };
            }
            Ok(None) => return (Outcome::Invalid, first),
            Err(error) => {
                tracing::warn!(connection.id = %id, error = crate::describe(&error), "could not look into an outbox");
                first
            }
        };
        (Outcome::Passing("the outbox could not be read".to_owned()), socket)
    }

    /// Posts a frame that nobody misses.
    pub(super) async fn sign(&self, id: &ConnectionId, first: Socket, message: Message) -> (Outcome, Socket) {
        let outbox = match self.registry.outbox(id, 0).await {
            Ok(Some((outbox, _))) => outbox,
            Ok(None) => return (Outcome::Invalid, first),
            Err(error) => return (Outcome::Passing(crate::describe(&error)), first),
        };
        if outbox.gone_at.is_some() || !outbox.is_live {
            return (Outcome::Delivered, outbox.socket);
        }
        match post(self.sockets.clone(), outbox.socket.clone(), message).await {
            Outcome::Gone | Outcome::Invalid => {
                let noted = self.registry.note_gone(id, &outbox.socket, self.clock.milliseconds()).await;
                (
                    noted.map_or_else(|error| Outcome::Passing(crate::describe(&error)), |_| Outcome::Delivered),
                    outbox.socket,
                )
            }
            outcome => (outcome, outbox.socket),
        }
    }

    /// Before a socket of ours is closed by us: its client is to come back, and has not ended its connection.
    pub(super) async fn expect_back(&self, id: &ConnectionId, socket: &Socket) {
        if let Err(error) = self.registry.note_gone(id, socket, self.clock.milliseconds()).await {
            tracing::warn!(connection.id = %id, error = crate::describe(&error), "its client cannot come back");
        }
    }

    async fn put_and_post(
        &self,
        id: &ConnectionId,
        seen: (Outbox, Vec<Kept>),
        parcel: Parcel,
    ) -> Result<Outcome, RegistryError> {
        let posted = seen.0.posted;
        match self.put(id, seen, parcel).await? {
            Stored::Ended => Ok(Outcome::Invalid),
            Stored::As(number) if number <= posted => Ok(Outcome::Delivered),
            Stored::As(number) => self.post_up_to(id, number).await,
        }
    }

    /// Puts something behind the last entry, unless it stands there already.
    async fn put(
        &self,
        id: &ConnectionId,
        (outbox, newest): (Outbox, Vec<Kept>),
        parcel: Parcel,
    ) -> Result<Stored, RegistryError> {
        let now = self.clock.milliseconds();
        let last = newest.first().map_or(0, |kept| kept.number).max(outbox.posted);
        if let Some(own) = self.find(id, newest, &parcel).await? {
            return Ok(Stored::As(own));
        }
        let is_away_for_good = outbox.gone_at.is_some_and(|gone_at| now - gone_at > LONGEST_ABSENCE_MS);
        if is_away_for_good || last.saturating_sub(outbox.confirmed) >= MOST_UNCONFIRMED {
            self.end(id, &outbox.socket, is_away_for_good).await?;
            return Ok(Stored::Ended);
        }
        let Parcel { name, until, frame, at: _ } = parcel;
        let mut kept = Kept { number: last + 1, name, at: now, until, frame };
        loop {
            match self.registry.keep(id, &kept, outbox.expires_at).await? {
                Ok(()) => return Ok(Stored::As(kept.number)),
                Err(other) if other == kept.name => return Ok(Stored::As(kept.number)),
                Err(_) => kept.number += 1,
            }
        }
    }

    /// The number of what stands there already: not among what was put there before it was sent.
    async fn find(
        &self,
        id: &ConnectionId,
        mut page: Vec<Kept>,
        parcel: &Parcel,
    ) -> Result<Option<u64>, RegistryError> {
        loop {
            if let Some(own) = page.iter().find(|kept| kept.name == parcel.name) {
                return Ok(Some(own.number));
            }
            match page.last() {
                Some(oldest) if oldest.at + SKEW_MS >= parcel.at && oldest.number > 1 => {
                    page = self.registry.kept_below(id, oldest.number, PAGE).await?;
                }
                _ => return Ok(None),
            }
        }
    }

    /// Ends a connection whose client does not come back, or does not come after.
    async fn end(&self, id: &ConnectionId, socket: &Socket, is_away: bool) -> Result<(), RegistryError> {
        tracing::info!(connection.id = %id, is_away, "ends a connection that has too much in its outbox, or no socket");
        if !is_away {
            let farewell = Message::new(disconnected("too much is not confirmed").into());
            post(self.sockets.clone(), socket.clone(), farewell).await;
            if let Err(error) = self.sockets.delete(socket).await {
                tracing::info!(connection.id = %id, error = crate::describe(&error), "could not close a socket");
            }
        }
        self.registry.disconnect(id, socket).await.map(drop)
    }

    /// Posts what is in an outbox up to a number, or waits until somebody else has.
    async fn post_up_to(&self, id: &ConnectionId, number: u64) -> Result<Outcome, RegistryError> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(25);
        loop {
            let outbox = match self.take(id).await? {
                Ok(holder) => return self.post_all(holder).await,
                Err(None) => return Ok(Outcome::Invalid),
                Err(Some(outbox)) => outbox,
            };
            let mut outbox = outbox;
            if self.is_forsaken(&outbox) {
                self.begin(id, &outbox.socket, keep_alive()).await?;
                return Ok(Outcome::Delivered);
            }
            // Reading costs a part of what trying to take it does.
            while outbox.lease >= self.clock.milliseconds() {
                if is_settled(&outbox, number) {
                    return Ok(Outcome::Delivered);
                }
                if begin.elapsed() > LONGEST_WAIT || self.is_time_up() {
                    return Ok(Outcome::Deferred);
                }
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(400));
                match self.registry.outbox(id, 0).await? {
                    Some((now, _)) => outbox = now,
                    None => return Ok(Outcome::Invalid),
                }
            }
            if is_settled(&outbox, number) {
                return Ok(Outcome::Delivered);
            }
        }
    }

    fn is_time_up(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether a socket has come, and nobody goes on over it.
    fn is_forsaken(&self, outbox: &Outbox) -> bool {
        let waits = !outbox.is_live && outbox.gone_at.is_none();
        waits && outbox.moved_at.is_some_and(|at| self.clock.milliseconds() - at > LONGEST_RESUMING_MS)
    }

    async fn take<'a>(&self, id: &'a ConnectionId) -> Result<Result<Holder<'a>, Option<Outbox>>, RegistryError> {
        let owner = format!("{:032x}", fastrand::u128(..));
        let now = self.clock.milliseconds();
        let until = now + LEASE_MS;
        Ok(match self.registry.take_outbox(id, &owner, (now, until)).await? {
            Taken::Taken(Outbox { socket, posted, is_forsaken, .. }) => {
                Ok(Holder { id, owner, socket, posted, until, is_forsaken })
            }
            Taken::Refused(outbox) => Err(outbox),
        })
    }

    /// Posts all that is in an outbox, and gives it back. What comes while it does so is posted too, for whoever puts it there
    /// finds it held.
    async fn post_all(&self, mut holder: Holder<'_>) -> Result<Outcome, RegistryError> {
        let id = holder.id;
        if holder.is_forsaken && self.registry.kept_above(id, holder.posted, 2).await?.len() > 1 {
            return self.have_it_come_back(&holder).await;
        }
        loop {
            let outcome = self.post_entries(&mut holder).await?;
            let gone_at = matches!(outcome, Outcome::Gone | Outcome::Invalid).then(|| self.clock.milliseconds());
            // Where that fails it was written, or another socket carries the connection.
            self.registry.release_outbox(id, &holder.owner, holder.posted, gone_at).await?;
            match outcome {
                // The next socket gets the rest.
                Outcome::Gone | Outcome::Invalid => return Ok(Outcome::Delivered),
                Outcome::Delivered => {}
                outcome => return Ok(outcome),
            }
            if self.registry.kept_above(id, holder.posted, 1).await?.is_empty() {
                return Ok(Outcome::Delivered);
            }
            match self.take(id).await? {
                Ok(again) => holder = again,
                Err(_) => return Ok(Outcome::Delivered),
            }
        }
    }

    /// Closes a socket that may have got more than is written down: posted again, numbers would fall on it. Its client comes back,
    /// and the next socket gets what it has not confirmed.
    async fn have_it_come_back(&self, holder: &Holder<'_>) -> Result<Outcome, RegistryError> {
        tracing::info!(connection.id = %holder.id, "closes a socket: whoever posted to it has died");
        let now = self.clock.milliseconds();
        if self.registry.release_outbox(holder.id, &holder.owner, holder.posted, Some(now)).await?
            && let Err(error) = self.sockets.delete(&holder.socket).await
        {
            tracing::info!(connection.id = %holder.id, error = crate::describe(&error), "could not close a socket");
        }
        Ok(Outcome::Delivered)
    }

    /// Posts entries in their order until there is none, one is not taken, or the time is up.
    async fn post_entries(&self, holder: &mut Holder<'_>) -> Result<Outcome, RegistryError> {
        loop {
            let page = self.registry.kept_above(holder.id, holder.posted, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for kept in page {
                if self.is_time_up() {
                    return Ok(Outcome::Deferred);
                }
                // What is not worth anything any more is a gap, which no library minds.
                if kept.until > self.clock.milliseconds() {
                    match self.post_entry(holder, &kept).await? {
                        Outcome::Delivered => {}
                        // It would be the same each time, and hold up all that is behind it.
                        Outcome::Refused(reason) => {
                            tracing::error!(connection.id = %holder.id, reason, number = kept.number, "left an entry out");
                        }
                        outcome => return Ok(outcome),
                    }
                }
                holder.posted = kept.number;
            }
            if is_last {
                return Ok(Outcome::Delivered);
            }
        }
    }

    async fn post_entry(&self, holder: &mut Holder<'_>, kept: &Kept) -> Result<Outcome, RegistryError> {
        let message = Message::new(numbered(&kept.frame, kept.number).into());
        for attempt in 1.. {
            if !self.may_post(holder).await? {
                return Ok(Outcome::Passing("the outbox is another's by now".to_owned()));
            }
            let outcome = post(self.sockets.clone(), holder.socket.clone(), message.clone()).await;
            let passes = matches!(outcome, Outcome::Passing(_) | Outcome::Throttled);
            if !passes || attempt >= ATTEMPTS {
                return Ok(outcome);
            }
            sleep(Duration::from_millis(50) * 2_u32.pow(attempt)).await;
        }
        Ok(Outcome::Delivered)
    }

    /// Whether a post is over before the lease is.
    async fn may_post(&self, holder: &mut Holder<'_>) -> Result<bool, RegistryError> {
        let now = self.clock.milliseconds();
        if holder.until - now < RENEW_MS {
            let until = now + LEASE_MS;
            if self.registry.renew_outbox(holder.id, &holder.owner, holder.posted, until).await? {
                holder.until = until;
            }
        }
        Ok(holder.until - self.clock.milliseconds() >= LEAST_MS)
    }

    /// Posts the first frame of a socket, and what is in the outbox behind it.
    async fn begin(&self, id: &ConnectionId, socket: &Socket, first: String) -> Result<(), RegistryError> {
        match self.say_first(socket, first).await {
            Outcome::Delivered => {}
            Outcome::Gone | Outcome::Invalid => {
                self.registry.note_gone(id, socket, self.clock.milliseconds()).await?;
                return Ok(());
            }
            outcome => return Err(RegistryError::Queue(format!("the first frame was not taken: {outcome:?}").into())),
        }
        if self.registry.enliven(id, socket).await?
            && let Ok(holder) = self.take(id).await?
        {
            match self.post_all(holder).await? {
                Outcome::Delivered => {}
                Outcome::Deferred => {
                    return Err(RegistryError::Queue("the outbox holds more than there was time for".into()));
                }
                outcome => {
                    tracing::warn!(connection.id = %id, ?outcome, "what is in an outbox waits for what comes next")
                }
            }
        }
        Ok(())
    }

    /// Posts to a socket that may still be in its handshake.
    async fn say_first(&self, socket: &Socket, frame: String) -> Outcome {
        let begin = Instant::now();
        let message = Message::new(frame.into());
        loop {
            match post(self.sockets.clone(), socket.clone(), message.clone()).await {
                Outcome::Gone | Outcome::Throttled | Outcome::Passing(_)
                    if begin.elapsed() < HANDSHAKE && !self.is_time_up() =>
                {
                    sleep(Duration::from_millis(150)).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Whether nothing more is to be done for an entry: it is posted, or it waits for a socket.
fn is_settled(outbox: &Outbox, number: u64) -> bool {
    outbox.posted >= number || !outbox.is_live || outbox.gone_at.is_some()
}

// A post takes no longer than its deadline, and a renewal a moment.
const _: () = assert!(LEAST_MS as u128 > POST_DEADLINE.as_millis() && RENEW_MS > LEAST_MS);
