//! Clients of Centrifugo: what their frames ask for, and how they are answered.
//!
//! `connect` comes alone, then channels go side by side, and one channel in its order. Replies of a frame go together. Where
//! a subscription goes live they are posted, so that it is known that they came before its first message.

mod asks;
mod channels;
mod permitted;
mod session;

use std::collections::{HashMap, VecDeque};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidings::Topic;
use tidings::going_live::{Ended, GoingLive};
use tidings::log::LogPosition;
use tidings::metrics::{Metric, Recorder};
use tidings::notification::{Notification, Target};
use tidings::permissions::Permissions;
use tidings::protocol::centrifuge::{
    self, Answer, Code, Command, Disconnect, Method, Reply, decode, encode, encode_message,
};
use tidings::registry::{Connection, Place};

use crate::commands::Commands;
use crate::frame::Frame;
use crate::guard::Verdict;
use crate::services::Services;
use permitted::Permitted;

/// Longest text that goes back as the route's response, in bytes: one frame of API Gateway's.
const LONGEST_RESPONSE: usize = 32 * 1_024;

/// What a command comes to.
pub(crate) enum Step<'a> {
    /// It is answered.
    Answer(Answer),
    /// It is answered, and once the client has that, it goes live.
    Live(Answer, Box<Going<'a>>),
    /// Nobody waits for anything.
    Silence,
    /// The connection ends, and its client is told why.
    End(Disconnect),
}

/// A subscription on its way.
pub(crate) struct Going<'a> {
    pub(crate) live: GoingLive<'a>,
    /// Up to where the client has everything, once it has its reply.
    pub(crate) at: LogPosition,
    /// Whether there is more.
    pub(crate) is_behind: bool,
}

/// The commands of a channel, as far as they are looked at.
enum Begun<'a, 'b> {
    /// It is refused.
    Ended(u32, Step<'a>),
    /// It subscribes, which is permitted.
    Subscribe(u32, Box<Permitted>),
    /// All else.
    Commands(Vec<&'b Command>),
}

/// A client that has said who it is.
pub(crate) struct Identified<'a, S> {
    pub(crate) commands: &'a Commands<S>,
    /// As the client's own words say who it is.
    pub(crate) frame: &'a Frame,
    pub(crate) connection: &'a Connection,
    pub(crate) permissions: &'a Permissions,
    pub(crate) recorder: &'a Recorder,
}

impl<S: 'static> Commands<S> {
    /// Answers a frame.
    pub(crate) async fn centrifuge(&self, frame: Frame, recorder: &Recorder, verdict: &Verdict) -> Option<String> {
        let commands = match decode(&frame.text) {
            Ok(commands) => commands,
            Err(bad) => {
                tracing::info!(connection.id = %frame.caller.connection, reason = %bad, "a frame is none of centrifuge");
                return self.end(&frame, Disconnect::BAD_REQUEST).await;
            }
        };
        match verdict {
            Verdict::Dismiss(_) => return self.end(&frame, Disconnect::TOO_MANY_REQUESTS).await,
            Verdict::Refuse(_) => {
                recorder.add(Metric::CommandsRefused, commands.len() as u64);
                return encode(&all(&commands, Code::TOO_MANY_REQUESTS));
            }
            Verdict::Pass | Verdict::Ignore => {}
        }
        if commands.iter().all(|command| matches!(command.method, Method::Pong)) {
            return None;
        }
        match self.carry_out(&frame, recorder, &commands).await {
            Ok(text) => text,
            Err(end) => self.end(&frame, end).await,
        }
    }

    /// Tells a client why its connection ends, and ends it.
    async fn end(&self, frame: &Frame, why: Disconnect) -> Option<String> {
        let id = &frame.caller.connection;
        tracing::info!(connection.id = %id, code = why.code, reason = why.reason, "disconnects a client");
        self.services.sockets.dismiss(&id.first_socket(), &centrifuge::disconnect(why)).await;
        None
    }

    async fn carry_out(
        &self,
        frame: &Frame,
        recorder: &Recorder,
        commands: &[Command],
    ) -> Result<Option<String>, Disconnect> {
        let (connects, rest) = match commands.split_first() {
            Some((Command { id, method: Method::Connect(connect) }, rest)) => (Some((*id, connect)), rest),
            _ => (None, commands),
        };
        let opened = match connects {
            Some((_, connect)) => self.connect(frame, connect).await?,
            None => self.known(frame).await?,
        };
        let session::Opened { connection, connected, .. } = match opened {
            Ok(opened) => opened,
            // It may come again with another token. What came with it is answered the same.
            Err(code) => return Ok(encode(&all(commands, code))),
        };
        let permissions = session::permissions(&connection);
        let frame = session::as_said(frame, &connection, &permissions);
        let (connection, permissions) = (&connection, &permissions);
        let client = Identified { commands: self, frame: &frame, connection, permissions, recorder };
        let mut replies = Vec::new();
        let mut going = Vec::new();
        if let (Some((id, _)), Some(mut connected)) = (connects, connected) {
            going = client.server_subscriptions(id, &mut connected).await?;
            replies.push(Reply { id, answer: Answer::Connect(connected.reply) });
        }
        let mut waves = waves(rest);
        loop {
            let wave = waves.pop_front().unwrap_or_default();
            let is_last = waves.is_empty();
            for (id, step) in client.wave(&wave).await {
                match step {
                    Step::Answer(answer) => replies.push(Reply { id, answer }),
                    Step::Live(answer, on_its_way) => {
                        replies.push(Reply { id, answer });
                        going.push(*on_its_way);
                    }
                    Step::Silence => {}
                    Step::End(why) => return Err(why),
                }
            }
            // Nobody waits for a reply to a command without a number.
            replies.retain(|reply| reply.id != 0);
            let text = encode(&replies);
            if going.is_empty() && is_last {
                return client.respond(text).await;
            }
            client.post(text).await?;
            replies.clear();
            client.go_live(std::mem::take(&mut going)).await?;
            if is_last {
                return Ok(None);
            }
        }
    }
}

/// Where a command stands among those of its connection: the libraries number them.
fn place(id: u32) -> Place {
    Place::new(0, u64::from(id))
}

/// The same answer to all commands.
fn all(commands: &[Command], code: Code) -> Vec<Reply> {
    let asked = commands.iter().filter(|command| command.id != 0);
    asked.map(|command| Reply { id: command.id, answer: code.into() }).collect()
}

/// Commands that may be carried out side by side, by channel, and what has to wait until those are answered: whatever
/// follows a subscription of the same channel.
fn waves(commands: &[Command]) -> VecDeque<Vec<Vec<&Command>>> {
    let mut waves: VecDeque<Vec<Vec<&Command>>> = VecDeque::new();
    // In which wave a channel is, and at which place of it.
    let mut channels: HashMap<&str, (usize, usize)> = HashMap::new();
    for command in commands {
        let channel = channel(&command.method);
        let after_subscription = |wave: &Vec<Vec<&Command>>, place: usize| {
            wave[place].last().is_some_and(|last| matches!(last.method, Method::Subscribe(_)))
        };
        let known = channel.and_then(|channel| channels.get(channel).copied());
        let wave = match known {
            Some((wave, place)) if after_subscription(&waves[wave], place) => wave + 1,
            Some((wave, place)) => {
                waves[wave][place].push(command);
                continue;
            }
            None => 0,
        };
        if waves.len() <= wave {
            waves.push_back(Vec::new());
        }
        waves[wave].push(vec![command]);
        if let Some(channel) = channel {
            channels.insert(channel, (wave, waves[wave].len() - 1));
        }
    }
    waves
}

fn channel(method: &Method) -> Option<&str> {
    match method {
        Method::Subscribe(asked) => Some(&asked.channel),
        Method::Unsubscribe { channel } | Method::Publish { channel, .. } => Some(channel),
        _ => None,
    }
}

impl<'a, S: 'static> Identified<'a, S> {
    pub(crate) fn services(&self) -> &'a Services {
        &self.commands.services
    }

    /// Carries out the commands of a wave, with what each comes to.
    async fn wave(&self, channels: &[Vec<&Command>]) -> Vec<(u32, Step<'a>)> {
        // Most have one command for each of many channels. Those that subscribe change the same row of the connection: it is
        // changed once for all of them.
        let permitting: FuturesUnordered<_> = channels.iter().map(|commands| self.begin(commands)).collect();
        let mut begun: Vec<_> = permitting.collect().await;
        self.note(begun.iter_mut().filter_map(|begun| match begun {
            Begun::Subscribe(_, permitted) => Some(&mut **permitted),
            Begun::Ended(..) | Begun::Commands(_) => None,
        }))
        .await;
        let all: FuturesUnordered<_> = begun.into_iter().map(|begun| self.finish(begun)).collect();
        all.collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    /// Looks at the commands of a channel: one that subscribes needs a permission first.
    async fn begin<'b>(&self, commands: &[&'b Command]) -> Begun<'a, 'b> {
        match commands {
            [Command { id, method: Method::Subscribe(asked) }] => match self.permitted(asked.clone()).await {
                Ok(permitted) => Begun::Subscribe(*id, Box::new(permitted)),
                Err(step) => Begun::Ended(*id, step),
            },
            commands => Begun::Commands(commands.to_vec()),
        }
    }

    async fn finish(&self, begun: Begun<'a, '_>) -> Vec<(u32, Step<'a>)> {
        match begun {
            Begun::Ended(id, step) => vec![(id, step)],
            Begun::Subscribe(id, permitted) => vec![(id, self.subscribe_permitted(&permitted, place(id)).await)],
            Begun::Commands(commands) => {
                let mut steps = Vec::new();
                for command in commands {
                    steps.push((command.id, self.run(command.clone()).await));
                }
                steps
            }
        }
    }

    async fn run(&self, command: Command) -> Step<'a> {
        let place = place(command.id);
        match command.method {
            Method::Connect(_) | Method::Unknown => Step::End(Disconnect::BAD_REQUEST),
            Method::Subscribe(asked) => self.subscribe(asked, place).await,
            Method::Unsubscribe { channel } => self.unsubscribe(&channel, place).await,
            Method::Publish { data: None, .. } => Step::Answer(Code::BAD_REQUEST.into()),
            Method::Publish { channel, data: Some(data) } => self.publish(&channel, &data, command.id).await,
            Method::Presence { channel } => self.presence(&channel).await,
            Method::PresenceStats { channel } => self.presence_stats(&channel).await,
            Method::History(asked) => self.history(&asked).await,
            Method::Rpc { method, data } => self.rpc(&method, data.as_deref()).await,
            Method::Refresh { token } => self.refresh(&token).await,
            Method::SubRefresh { channel, token } => self.refresh_subscription(&channel, &token).await,
            Method::Send => Step::End(Disconnect::NOT_AVAILABLE),
            Method::Pong => Step::Silence,
        }
    }

    /// The answer as the route's response, or posted where it is too long for one.
    async fn respond(&self, text: Option<String>) -> Result<Option<String>, Disconnect> {
        match text {
            Some(long) if long.len() > LONGEST_RESPONSE => self.post(Some(long)).await.map(|()| None),
            text => Ok(text),
        }
    }

    /// Posts replies. Where it is not known that they came, the client has to begin anew.
    async fn post(&self, text: Option<String>) -> Result<(), Disconnect> {
        let Some(text) = text else { return Ok(()) };
        let sent = self.services().sockets.send(&self.connection.socket, text).await;
        sent.map_err(|error| {
            tracing::info!(connection.id = %self.connection.id, %error, "replies could not be posted");
            Disconnect::FORCE_RECONNECT
        })
    }

    /// Has those told who follow a channel that the client has come to it. They are told of who is there in other ways too.
    async fn tell_followers(&self, topic: &Topic) {
        if let Err(error) = self.services().registry.have_followers_told(self.connection, [topic]).await {
            tracing::warn!(error = tidings::describe(&error), "nobody is told that a client has come");
        }
    }

    /// Makes subscriptions live whose replies have arrived, with what came meanwhile.
    async fn go_live(&self, going: Vec<Going<'a>>) -> Result<(), Disconnect> {
        for Going { live, at, is_behind } in going {
            let topic = live.topic().clone();
            let target = Target::Topic(topic.clone());
            let post = async |messages: &[Notification]| {
                for message in messages {
                    let bytes = encode_message(message, &target, true);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.services().sockets.send(&self.connection.socket, text).await?;
                }
                Ok::<_, tidings::delivery::SocketError>(())
            };
            match live.finish(at, is_behind, post).await {
                // Only now: a client that follows itself would not know of what it is told before its reply.
                Ok(Ended::Live) => self.tell_followers(&topic).await,
                Ok(Ended::Overtaken) => {}
                Ok(Ended::Stuck) => return Err(Disconnect::INSUFFICIENT_STATE),
                Err(error) => {
                    tracing::error!(error = tidings::describe(&error), "a subscription does not go live");
                    return Err(Disconnect::INSUFFICIENT_STATE);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tests::engine::Engine;
    use ::tests::queues;
    use ::tests::standin::{self, Behaviour, Standin};
    use tidings::clock::Clock;
    use tidings::delivery::Management;
    use tidings::history::History;
    use tidings::protocol::Protocol;
    use tidings::registry::Registry;
    use tidings::{Caller, ConnectionId};

    use super::*;
    use crate::Function;

    #[test]
    fn channels_go_side_by_side_and_whatever_follows_a_subscription_of_its_channel_waits_for_it() {
        let text = "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n{\"subscribe\":{\"channel\":\"b\"},\"id\":3}\n\
                    {\"unsubscribe\":{\"channel\":\"a\"},\"id\":4}\n{\"subscribe\":{\"channel\":\"a\"},\"id\":5}\n\
                    {\"rpc\":{\"method\":\"m\"},\"id\":6}";
        let commands = decode(text).unwrap();
        let ids: Vec<Vec<Vec<u32>>> = waves(&commands)
            .iter()
            .map(|wave| wave.iter().map(|group| group.iter().map(|command| command.id).collect()).collect())
            .collect();
        assert_eq!(ids, [vec![vec![2], vec![3], vec![6]], vec![vec![4, 5]]]);
    }

    const CHANNELS: usize = 30;

    async fn commands(socket: &str) -> Commands<()> {
        let (table, standin) = (Engine::Embedded.table().await.unwrap(), Standin::start().await);
        standin.add(socket, Behaviour::Takes);
        let sockets = Management::new(standin::management(standin.endpoint(), Duration::from_secs(5)));
        let registry = Registry::new(table.client(), &table.name);
        let mut services = Services::new(registry, sockets, queues::nowhere());
        services.history = History::parse(tidings::history::DEFAULT).unwrap();
        Function::new().core(services).await.unwrap()
    }

    /// Subscribes a new connection by these frames; the write units of that.
    async fn writes_of(frames: &[String]) -> f64 {
        let commands = commands("c1").await;
        let registry = &commands.services.registry;
        let said = |name: &str| match name {
            "principalId" => Some("p"),
            "user" => Some("u1"),
            "permissions" => Some("subscribe:**"),
            _ => None,
        };
        let mut caller = Caller::read(ConnectionId::parse("c1").unwrap(), said).unwrap();
        caller.protocol = Protocol::Centrifuge;
        let mut connection = Connection::new(caller.connection.clone());
        (connection.protocol, connection.connected_at) = (Protocol::Centrifuge, Clock::System.milliseconds());
        registry.open(&connection).await.unwrap();
        let connect = Frame::new(caller.clone(), r#"{"connect":{},"id":1}"#);
        assert!(commands.handle(connect).await.unwrap().unwrap().contains("\"connect\""));
        let before = registry.consumed();
        for frame in frames {
            assert_eq!(
                commands.handle(Frame::new(caller.clone(), frame)).await.unwrap(),
                None,
                "its replies are posted"
            );
        }
        let after = registry.consumed();
        assert_eq!(registry.connection(&caller.connection).await.unwrap().unwrap().topics.len(), CHANNELS);
        after.write - before.write
    }

    #[tokio::test]
    async fn the_channels_of_a_frame_change_the_row_of_the_connection_once() {
        let subscribe = |number: usize| format!(r#"{{"subscribe":{{"channel":"c/{number}"}},"id":{}}}"#, number + 2);
        let one_by_one: Vec<_> = (0..CHANNELS).map(subscribe).collect();
        let together = [one_by_one.join("\n")];
        let saved = writes_of(&one_by_one).await - writes_of(&together).await;
        assert!((saved - (CHANNELS - 1) as f64).abs() < f64::EPSILON, "{saved} write units are saved");
    }
}
