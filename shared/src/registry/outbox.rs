//! The outbox of a client of Web PubSub that recovers: what is for it, numbered, until it has it.
//!
//! Entries stand side by side with one row that says how far they are. They have no holes, as those of a log have none:
//! each is put behind the last one, on condition that nothing stands there. Who posts holds the row's lease.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::items::{self, Connection, Item};
use super::keys::{self, Key};
use super::names::{
    CONFIRMED, CONNECTED_AT, EXPIRES_AT, FORSAKEN, FRAME, GONE_AT, ID, LEASE, LIVE, MOVED_AT, OWNER, POSTED, SK,
    SOCKET, STATE, STORED_AT, UNTIL, WEB_PUBSUB,
};
use super::{Registry, RegistryError, batch, retry};
use crate::ids::{ConnectionId, Socket};

/// What the row of an outbox says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// What carries the connection now.
    pub socket: Socket,
    /// Whether that is through its handshake, so that entries can be posted.
    pub is_live: bool,
    /// Up to which number entries were posted to this socket.
    pub posted: u64,
    /// Up to which number the client has said that it has them.
    pub confirmed: u64,
    /// Until when somebody posts, in milliseconds since the epoch; 0 where nobody does.
    pub lease: i64,
    /// Whether whoever had the lease before who has it now did not give it back: what was posted is not known then.
    pub is_forsaken: bool,
    /// Since when the socket is known to be gone, in milliseconds since the epoch.
    pub gone_at: Option<i64>,
    /// When this socket came; `None` for the first one. In milliseconds since the epoch.
    pub moved_at: Option<i64>,
    /// When the connection ends at the latest, in seconds since the epoch.
    pub expires_at: i64,
}

/// An entry of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place: what the client knows it by.
    pub number: u64,
    /// What it is: the same where it comes again.
    pub name: String,
    /// When it was put there, in milliseconds since the epoch.
    pub at: i64,
    /// Until when it is worth posting, in milliseconds since the epoch.
    pub until: i64,
    /// The text frame, without its number.
    pub frame: String,
}

/// Whether somebody may post.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It holds the lease; what the row says.
    Taken(Outbox),
    /// Somebody else does, or there is nobody to post to; what the row says, if there is one.
    Refused(Option<Outbox>),
}

impl Outbox {
    fn read(item: &Item) -> Result<Self, RegistryError> {
        let malformed = |attribute| RegistryError::Malformed { attribute, problem: "is not what it should be" };
        let count = |name| match item.contains_key(name) {
            true => u64::try_from(items::number(item, name)?).map_err(|_| malformed(name)),
            false => Ok(0),
        };
        let time = |name| item.contains_key(name).then(|| items::number(item, name)).transpose();
        let socket = items::text(item, SOCKET).ok_or_else(|| malformed(SOCKET))?;
        Ok(Self {
            socket: Socket::parse(socket).map_err(|_| malformed(SOCKET))?,
            is_live: items::text(item, STATE).is_some_and(|state| state == LIVE),
            posted: count(POSTED)?,
            confirmed: count(CONFIRMED)?,
            lease: time(LEASE)?.unwrap_or_default(),
            is_forsaken: time(FORSAKEN)?.is_some_and(|until| until > 0),
            gone_at: time(GONE_AT)?,
            moved_at: time(MOVED_AT)?,
            expires_at: items::number(item, EXPIRES_AT)?,
        })
    }
}

impl Kept {
    fn read(item: &Item) -> Result<Self, RegistryError> {
        let malformed = |attribute| RegistryError::Malformed { attribute, problem: "is missing" };
        let text = |name| items::text(item, name).cloned().ok_or_else(|| malformed(name));
        Ok(Self {
            number: items::sort_key(item).parse().map_err(|_| malformed(SK))?,
            name: text(ID)?,
            at: items::number(item, STORED_AT)?,
            until: items::number(item, UNTIL)?,
            frame: text(FRAME)?,
        })
    }

    fn item(&self, id: &ConnectionId, expires_at: i64) -> Item {
        let mut item = Key::kept(id, self.number).attributes();
        for (name, value) in [(STORED_AT, self.at), (UNTIL, self.until), (EXPIRES_AT, expires_at)] {
            item.insert(name.to_owned(), number(value));
        }
        for (name, value) in [(ID, &self.name), (FRAME, &self.frame)] {
            item.insert(name.to_owned(), AttributeValue::S(value.clone()));
        }
        item
    }
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

impl Registry {
    /// Makes the outbox of a connection that is about to be registered: whoever reaches it finds one.
    pub(super) async fn open_outbox(&self, connection: &Connection) -> Result<(), RegistryError> {
        let mut item = Key::outbox(&connection.id).attributes();
        item.insert(SOCKET.to_owned(), AttributeValue::S(connection.socket.to_string()));
        item.insert(EXPIRES_AT.to_owned(), number(connection.expires_at()));
        self.write_all(vec![batch::put(item)]).await
    }

    /// The outbox of a connection, and its newest entries, the last one first, at most so many; `None` where the connection
    /// has ended. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or a row is malformed.
    pub async fn outbox(&self, id: &ConnectionId, newest: i32) -> Result<Option<(Outbox, Vec<Kept>)>, RegistryError> {
        // The row's sort key is above all numbers.
        let rows = self.kept_rows(id, (0, None), true, newest.saturating_add(1)).await?;
        let Some((first, rest)) = rows.split_first() else { return Ok(None) };
        if *first.get(SK).unwrap_or(&AttributeValue::Null(true)) != AttributeValue::S(keys::OUTBOX_ROW.to_owned()) {
            return Ok(None);
        }
        Ok(Some((Outbox::read(first)?, rest.iter().map(Kept::read).collect::<Result<_, _>>()?)))
    }

    /// Entries of an outbox above `after`, at most so many.
    ///
    /// # Errors
    /// As [`outbox`](Self::outbox).
    pub async fn kept_above(&self, id: &ConnectionId, after: u64, limit: i32) -> Result<Vec<Kept>, RegistryError> {
        let rows = self.kept_rows(id, (after.saturating_add(1), Some(u64::MAX)), false, limit).await?;
        rows.iter().map(Kept::read).collect()
    }

    /// Entries of an outbox below `before`, the last one first, at most so many.
    ///
    /// # Errors
    /// As [`outbox`](Self::outbox).
    pub async fn kept_below(&self, id: &ConnectionId, before: u64, limit: i32) -> Result<Vec<Kept>, RegistryError> {
        let rows = self.kept_rows(id, (0, Some(before.saturating_sub(1))), true, limit).await?;
        rows.iter().map(Kept::read).collect()
    }

    async fn kept_rows(
        &self,
        id: &ConnectionId,
        (first, last): (u64, Option<u64>),
        backwards: bool,
        limit: i32,
    ) -> Result<Vec<Item>, RegistryError> {
        let last = last.map_or_else(|| keys::OUTBOX_ROW.to_owned(), keys::entry);
        let answer = self.between(Key::outbox(id).pk, (keys::entry(first), last), backwards, limit).await?;
        Ok(answer.items.unwrap_or_default())
    }

    /// Puts an entry where none stands. `Err` with the name of the one that does, if one does.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn keep(
        &self,
        id: &ConnectionId,
        kept: &Kept,
        expires_at: i64,
    ) -> Result<Result<(), String>, RegistryError> {
        let put = self.put_new(kept.item(id, expires_at)).await?;
        Ok(put.map_err(|other| items::text(&other, ID).cloned().unwrap_or_default()))
    }

    /// Takes the lease of an outbox until then, where nobody has it at `now`, and its socket is there. Times are in
    /// milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn take_outbox(
        &self,
        id: &ConnectionId,
        owner: &str,
        (now, until): (i64, i64),
    ) -> Result<Taken, RegistryError> {
        let request = self
            .outbox_row(id)
            .update_expression("SET #forsaken = if_not_exists(#lease, :none), #lease = :until, #owner = :owner")
            .condition_expression(
                "#state = :live AND attribute_not_exists(#gone_at) AND (attribute_not_exists(#lease) OR #lease < :now)",
            )
            .expression_attribute_names("#state", STATE)
            .expression_attribute_names("#gone_at", GONE_AT)
            .expression_attribute_names("#lease", LEASE)
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_names("#forsaken", FORSAKEN)
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":live", AttributeValue::S(LIVE.to_owned()))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()));
        match self.change_outbox(request).await? {
            Ok(row) => Outbox::read(&row).map(Taken::Taken),
            // The answer to an earlier attempt was lost.
            Err(Some(row)) if items::text(&row, OWNER).is_some_and(|holder| holder == owner) => {
                Outbox::read(&row).map(Taken::Taken)
            }
            Err(row) => row.as_ref().map(Outbox::read).transpose().map(Taken::Refused),
        }
    }

    /// Writes down up to where entries are posted, and holds the lease until then. `false` where it is another's by now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn renew_outbox(
        &self,
        id: &ConnectionId,
        owner: &str,
        posted: u64,
        until: i64,
    ) -> Result<bool, RegistryError> {
        let request = self.own_outbox(id, owner, posted).update_expression("SET #posted = :posted, #lease = :until");
        let request = request.expression_attribute_names("#lease", LEASE);
        let request = request.expression_attribute_values(":until", number(until));
        Ok(self.change_outbox(request).await?.is_ok())
    }

    /// Writes down up to where entries are posted, and gives the lease back; that the socket is gone too, where that was found
    /// out at `gone_at`. `false` where the lease is another's by now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn release_outbox(
        &self,
        id: &ConnectionId,
        owner: &str,
        posted: u64,
        gone_at: Option<i64>,
    ) -> Result<bool, RegistryError> {
        let gone = if gone_at.is_some() { ", #gone_at = :gone_at" } else { "" };
        let mut request = self
            .own_outbox(id, owner, posted)
            .update_expression(format!("SET #posted = :posted{gone} REMOVE #lease, #owner"))
            .expression_attribute_names("#lease", LEASE);
        if let Some(gone_at) = gone_at {
            request = request.expression_attribute_names("#gone_at", GONE_AT);
            request = request.expression_attribute_values(":gone_at", number(gone_at));
        }
        Ok(self.change_outbox(request).await?.is_ok())
    }

    fn own_outbox(&self, id: &ConnectionId, owner: &str, posted: u64) -> UpdateItemFluentBuilder {
        self.outbox_row(id)
            .condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_names("#posted", POSTED)
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":posted", number(posted))
    }

    /// A client has everything up to a number. One that was not posted, or is below another that came, changes nothing.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn confirm(&self, id: &ConnectionId, confirmed: u64) -> Result<(), RegistryError> {
        let request = self
            .outbox_row(id)
            .update_expression("SET #confirmed = :confirmed")
            .condition_expression(
                "#posted >= :confirmed AND (attribute_not_exists(#confirmed) OR #confirmed < :confirmed)",
            )
            .expression_attribute_names("#posted", POSTED)
            .expression_attribute_names("#confirmed", CONFIRMED)
            .expression_attribute_values(":confirmed", number(confirmed));
        self.change_outbox(request).await.map(drop)
    }

    /// The socket of a connection is through its handshake and has got its first frame. `false` where another carries it by
    /// now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn enliven(&self, id: &ConnectionId, socket: &Socket) -> Result<bool, RegistryError> {
        let request = self.of_socket(id, socket).update_expression("SET #state = :live");
        let request = request.expression_attribute_names("#state", STATE);
        let request = request.expression_attribute_values(":live", AttributeValue::S(LIVE.to_owned()));
        Ok(self.change_outbox(request).await?.is_ok())
    }

    /// The socket of a connection is gone, which is told once. `false` where it was known, or another carries it by now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn note_gone(&self, id: &ConnectionId, socket: &Socket, now: i64) -> Result<bool, RegistryError> {
        let request = self.of_socket(id, socket).update_expression("SET #gone_at = :now");
        let request = request
            .condition_expression("#socket = :socket AND attribute_not_exists(#gone_at)")
            .expression_attribute_names("#gone_at", GONE_AT)
            .expression_attribute_values(":now", number(now));
        Ok(self.change_outbox(request).await?.is_ok())
    }

    fn of_socket(&self, id: &ConnectionId, socket: &Socket) -> UpdateItemFluentBuilder {
        self.outbox_row(id)
            .condition_expression("#socket = :socket")
            .expression_attribute_names("#socket", SOCKET)
            .expression_attribute_values(":socket", AttributeValue::S(socket.to_string()))
    }

    /// Lets another socket carry a connection that was made after `oldest`: everything that its client has not confirmed is
    /// posted again, and whoever posts to the old socket does not any more. What the connection was, on this socket already
    /// where that was written before; `None` where it has
    /// ended, is too old, or a newer socket carries it. Times are in milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn move_to(
        &self,
        id: &ConnectionId,
        socket: &Socket,
        at: i64,
        oldest: i64,
    ) -> Result<Option<Connection>, RegistryError> {
        let request = self.client.update_item().table_name(&self.table);
        let request = request.set_key(Some(Key::connection(id).attributes())).return_values(ReturnValue::AllOld);
        let request = moved(request, socket, at, "#socket = :socket, #moved_at = :at")
            .condition_expression(format!("attribute_exists(#client) AND #connected_at > :oldest AND {UNMOVED}"))
            .expression_attribute_names("#client", WEB_PUBSUB)
            .expression_attribute_names("#connected_at", CONNECTED_AT)
            .expression_attribute_values(":oldest", number(oldest));
        let Ok(before) = self.change_outbox(request).await? else { return Ok(None) };
        let rewound = "#socket = :socket, #moved_at = :at, #posted = if_not_exists(#confirmed, :none)";
        let request = moved(self.outbox_row(id), socket, at, rewound)
            .update_expression(format!("SET {rewound} REMOVE #state, #lease, #owner, #gone_at"))
            .condition_expression(format!("attribute_exists(#expires_at) AND {UNMOVED}"))
            .expression_attribute_values(":none", number(0));
        let names = [
            ("#posted", POSTED),
            ("#confirmed", CONFIRMED),
            ("#state", STATE),
            ("#lease", LEASE),
            ("#owner", OWNER),
            ("#gone_at", GONE_AT),
            ("#expires_at", EXPIRES_AT),
        ];
        let request =
            names.into_iter().fold(request, |request, (name, value)| request.expression_attribute_names(name, value));
        match self.change_outbox(request).await? {
            Ok(_) => items::read(&before).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn outbox_row(&self, id: &ConnectionId) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.table);
        request.set_key(Some(Key::outbox(id).attributes())).return_values(ReturnValue::AllNew)
    }

    /// The row as the request wants it, or, where its condition does not hold, as it is.
    async fn change_outbox(
        &self,
        request: UpdateItemFluentBuilder,
    ) -> Result<Result<Item, Option<Item>>, RegistryError> {
        let request = request
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let answer = retry::retrying("UpdateItem", || async {
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item)),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(answer.map(|answer| {
            self.counter.add_write(answer.consumed_capacity.as_ref());
            answer.attributes.unwrap_or_default()
        }))
    }
}

/// Sockets come one after the other, and the newest carries a connection, whatever is written last. It may be written again,
/// where an answer was lost.
const UNMOVED: &str = "(attribute_not_exists(#moved_at) OR #moved_at < :at OR #socket = :socket)";

fn moved(request: UpdateItemFluentBuilder, socket: &Socket, at: i64, set: &str) -> UpdateItemFluentBuilder {
    request
        .update_expression(format!("SET {set}"))
        .expression_attribute_names("#socket", SOCKET)
        .expression_attribute_names("#moved_at", MOVED_AT)
        .expression_attribute_values(":socket", AttributeValue::S(socket.to_string()))
        .expression_attribute_values(":at", number(at))
}
