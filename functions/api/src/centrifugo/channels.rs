//! What is asked of channels: their history, who is in them, and of all of them.

use std::collections::{BTreeMap, BTreeSet};

use tidings::channel::{self, HistoryError};
use tidings::clock::Clock;
use tidings::history::Retention;
use tidings::log::LogName;
use tidings::protocol::centrifuge::{History, Page};
use tidings::recovery::Reading;
use tidings::registry::{Audience, Interval};
use tidings::{Topic, fanout};

use super::Call;
use super::reply::{Channel, Error, Node, Outcome};
use super::request::Arguments;

/// Most connections that one answer names.
const MOST_CLIENTS: usize = 1_000;
/// Messages that one answer may have, in bytes; one message always fits.
const MOST_BYTES: usize = 1_024 * 1_024;
/// The page that everybody is told from.
const FIRST_LOOK: u16 = 1_000;
/// What makes a pattern more than a name.
const WILD: [char; 7] = ['*', '?', '[', ']', '{', '}', '!'];

impl Call<'_> {
    pub(super) async fn history(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let (log, retention) = self.log(&arguments.channel)?;
        let Arguments { channel, limit, since, reverse, .. } = arguments;
        let asked = History { channel: channel.clone(), limit: *limit, since: since.clone(), reverse: *reverse };
        let reading = Reading { log: &log, retention, connection: None, now: now() };
        let page = channel::history(&self.deps.registry, &reading, &asked, MOST_BYTES).await;
        let Page { publications, epoch, offset } = page.map_err(|error| match error {
            HistoryError::Unrecoverable => Error::UNRECOVERABLE_POSITION,
            error => Error::internal(&error),
        })?;
        Ok(Outcome::History { publications, epoch, offset })
    }

    pub(super) async fn history_remove(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let (log, retention) = self.log(&arguments.channel)?;
        let registry = &self.deps.registry;
        let reading = Reading { log: &log, retention, connection: None, now: now() };
        let end = registry.end_of_log(&reading).await.map_err(|error| Error::internal(&error))?;
        registry.raise_floor(&log, &end).await.map_err(|error| Error::internal(&error))?;
        Ok(Outcome::Done {})
    }

    /// The log of a channel that has one.
    fn log(&self, channel: &str) -> Result<(LogName, Retention), Error> {
        let topic = super::topic(channel)?;
        let retention = self.deps.history.of_topic(&topic);
        let retention =
            retention.ok_or_else(|| Error::NOT_AVAILABLE.because("the parameter `History` names no rule"))?;
        Ok((LogName::Topic(topic), retention))
    }

    pub(super) async fn presence(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let topic = self.watched(&arguments.channel)?;
        let here = self.deps.registry.clients_here(&topic, MOST_CLIENTS, now()).await;
        let here = here.map_err(|error| Error::internal(&error))?;
        let named = here.into_iter().map(|client| (client.connection.to_string(), client.into()));
        Ok(Outcome::Presence { presence: named.collect() })
    }

    pub(super) async fn presence_stats(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let topic = self.watched(&arguments.channel)?;
        let here = self.deps.registry.clients_here(&topic, usize::MAX, now()).await;
        let here = here.map_err(|error| Error::internal(&error))?;
        let users: BTreeSet<_> = here.iter().map(|client| &client.user).collect();
        Ok(Outcome::PresenceStats { num_clients: here.len() as u64, num_users: users.len() as u64 })
    }

    /// The topic of a channel of which it is kept who is there.
    fn watched(&self, channel: &str) -> Result<Topic, Error> {
        let topic = super::topic(channel)?;
        match self.deps.registry.keeps_presence(&topic) {
            true => Ok(topic),
            false => Err(Error::NOT_AVAILABLE.because("the parameter `Presence` does not name the channel")),
        }
    }

    /// One channel by its name: nobody keeps a list of all.
    pub(super) async fn channels(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let pattern = arguments.pattern.as_str();
        if pattern.is_empty() || pattern.contains(WILD) {
            return Err(Error::NOT_AVAILABLE.because("there is no list of channels; give the name of one as `pattern`"));
        }
        let topic = super::topic(pattern)?;
        let counted = self.deps.registry.count(Audience::Topic(&topic), &Interval::whole(), now()).await;
        let num_clients = counted.map_err(|error| Error::internal(&error))?;
        let found = (num_clients > 0).then(|| (topic.to_string(), Channel { num_clients }));
        Ok(Outcome::Channels { channels: BTreeMap::from_iter(found) })
    }

    /// The stack as one node, with how many connections it has about.
    pub(super) async fn info(&self) -> Result<Outcome, Error> {
        let page = self.deps.registry.page(Audience::Everyone, None, FIRST_LOOK, now()).await;
        let page = page.map_err(|error| Error::internal(&error))?;
        let read = page.connections.len();
        let num_clients = match page.next {
            None => read,
            Some(last) => {
                fanout::estimate(&Interval::whole(), read, &Interval::beyond(&last).after.unwrap_or_default())
            }
        };
        let node = Node {
            uid: "tidings",
            name: "tidings",
            version: env!("CARGO_PKG_VERSION"),
            num_clients: num_clients as u64,
            num_users: 0,
            num_channels: 0,
            num_subs: 0,
        };
        Ok(Outcome::Info { nodes: [node] })
    }
}

fn now() -> i64 {
    Clock::System.milliseconds()
}
