//! Gateways on a laptop: what a connect, a round trip and an idle connection cost, with the same function behind.
//!
//! The processor time of the functions counts: ours and ministack's run as processes of their own, serverless-offline's in its
//! own.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::Result;
use crate::gateway::Gateway;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::{Aim, Line};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The gateways take turns so often in a round.
const TURNS: usize = 3;
/// Connections in one turn. Ours takes 500 new ones a second, as API Gateway does.
const CONNECTS: u64 = 200;
/// Connections that talk at the same time, and what each says in one turn.
const TALKING: usize = 10;
const MESSAGES: u64 = 100;
const IDLE: u64 = 1_000;
/// ministack gets this part of it: it takes some 20 connections and messages a second.
const PART_OF_MINISTACK: u64 = 4;
const CONNECTS_PER_SECOND: u32 = 400;
const MESSAGE: &str = r#"{"action":"echo","text":"what is said comes back"}"#;

/// What one gateway costs.
#[derive(Default)]
struct Costs {
    connects: Samples,
    trips: Samples,
    trips_by_the_clock: Samples,
    memory: Samples,
}

/// One kind of cost.
type Pick = fn(&Costs) -> &Samples;

/// A gateway that ours is compared with.
struct Peer {
    name: &'static str,
    /// It gets one of so many of the connections and messages.
    part: u64,
    /// What ours has to be: so many times as good.
    times: f64,
    costs: Costs,
    /// Why it could not be measured.
    failure: Option<String>,
}

impl Peer {
    fn all(setup: &Setup) -> [Self; 2] {
        let of = |name, part, times, failure| Self { name, part, times, costs: Costs::default(), failure };
        [
            of("serverless-offline", 1, 3.0, setup.node.as_ref().err().cloned()),
            of("ministack", PART_OF_MINISTACK, 10.0, setup.ministack.as_ref().err().cloned()),
        ]
    }

    async fn gateway(&self, setup: &Setup) -> Result<Gateway> {
        match (self.name, &setup.node, &setup.ministack) {
            ("ministack", _, Ok(python)) => Gateway::ministack(setup, python).await,
            (_, Ok(node), _) => Gateway::serverless_offline(setup, node).await,
            (_, Err(reason), _) => Err(reason.as_str().into()),
        }
    }

    /// Starts it, unless it has failed before.
    async fn start(&mut self, setup: &Setup) -> Option<Side> {
        if self.failure.is_some() {
            return None;
        }
        let started = async { Side::start(setup, self.gateway(setup).await?, self.part).await }.await;
        self.kept(started)
    }

    /// What came out, or `None` from now on.
    fn kept<T>(&mut self, outcome: Result<T>) -> Option<T> {
        outcome.map_err(|error| self.failure = Some(format!("{}: {error}", self.name))).ok()
    }
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let mut ours = Costs::default();
    let mut peers = Peer::all(setup);
    for _ in 0..setup.rounds(3) {
        let [first, second] = &mut peers;
        let starting = async { Side::start(setup, Gateway::ours(setup, "gateway.yaml").await?, 1).await };
        let (own, one, other) = tokio::join!(starting, first.start(setup), second.start(setup));
        let (mut own, mut others) = (own?, [one, other]);
        for _ in 0..TURNS {
            own.turn(setup).await?;
            for (peer, side) in peers.iter_mut().zip(&mut others) {
                let Some(running) = side else { continue };
                let outcome = running.turn(setup).await;
                if peer.kept(outcome).is_none() {
                    *side = None;
                }
            }
        }
        own.finish(&mut ours).await?;
        for (peer, side) in peers.iter_mut().zip(others) {
            if let Some(side) = side {
                side.finish(&mut peer.costs).await?;
            }
        }
    }
    Ok(peers.iter().flat_map(|peer| lines(&ours, peer)).collect())
}

/// A gateway under measurement.
struct Side {
    gateway: Gateway,
    /// Those that talk.
    sockets: Vec<Socket>,
    costs: Costs,
    part: u64,
}

impl Side {
    /// Starts its functions, and measures the memory first of all, for later connections take the place of earlier ones.
    async fn start(setup: &Setup, gateway: Gateway, part: u64) -> Result<Self> {
        let mut sockets = open_all(&gateway.websocket, TALKING as u64).await?;
        talk(&mut sockets, 20 / part).await?;
        let count = setup.size(IDLE / part);
        let before = gateway.program.memory()?;
        let idle = open_all(&gateway.websocket, count).await?;
        let after = gateway.program.memory()?;
        let mut costs = Costs::default();
        costs.memory.push(after.saturating_sub(before) as f64 / 1e3 / count as f64);
        drop(idle);
        Ok(Self { gateway, sockets, costs, part })
    }

    /// Connects some, and lets those that are there talk.
    async fn turn(&mut self, setup: &Setup) -> Result<()> {
        let connects = setup.size(CONNECTS / self.part);
        let before = self.gateway.cpu();
        let opened = open_all(&self.gateway.websocket, connects).await?;
        self.costs.connects.push(connects as f64 / (self.gateway.cpu() - before).as_secs_f64());
        drop(opened);
        let messages = setup.size(MESSAGES / self.part);
        let (before, begin) = (self.gateway.cpu(), Instant::now());
        talk(&mut self.sockets, messages).await?;
        let trips = (messages * TALKING as u64) as f64;
        self.costs.trips.push(trips / (self.gateway.cpu() - before).as_secs_f64());
        self.costs.trips_by_the_clock.push(trips / begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// Ends it, and adds what it cost to the rounds before.
    async fn finish(self, costs: &mut Costs) -> Result<()> {
        costs.connects.extend(self.costs.connects);
        costs.trips.extend(self.costs.trips);
        costs.trips_by_the_clock.extend(self.costs.trips_by_the_clock);
        costs.memory.extend(self.costs.memory);
        self.gateway.program.finish().await
    }
}

/// Opens connections, not faster than API Gateway lets them in.
pub(super) async fn open_all(url: &str, count: u64) -> Result<Vec<Socket>> {
    let pause = Duration::from_secs(1) / CONNECTS_PER_SECOND;
    let begin = tokio::time::Instant::now();
    let opening = (0..count).map(|number| async move {
        tokio::time::sleep_until(begin + pause * u32::try_from(number)?).await;
        let (socket, _) = connect_async(url).await?;
        crate::Result::Ok(socket)
    });
    stream::iter(opening).buffer_unordered(20).try_collect().await
}

/// Each connection says something and waits until it comes back, again and again.
pub(super) async fn talk(sockets: &mut [Socket], messages: u64) -> Result<()> {
    let talks = sockets.iter_mut().map(|socket| async move {
        for _ in 0..messages {
            socket.send(Message::text(MESSAGE)).await?;
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text.as_str() == MESSAGE => {}
                other => return Err(format!("instead of the echo came {other:?}").into()),
            }
        }
        crate::Result::Ok(())
    });
    futures_util::future::try_join_all(talks).await?;
    Ok(())
}

fn lines(ours: &Costs, peer: &Peer) -> Vec<Line> {
    let rows: [(&str, Pick, &'static str, Aim); 4] = [
        ("gateway: connects per second of processor time", |costs| &costs.connects, "", Aim::RatioAtLeast(peer.times)),
        ("gateway: round trips per second of processor time", |costs| &costs.trips, "", Aim::RatioAtLeast(peer.times)),
        (
            "gateway: round trips per second by the clock",
            |costs| &costs.trips_by_the_clock,
            "",
            Aim::RatioAtLeast(peer.times),
        ),
        ("gateway: memory per idle connection", |costs| &costs.memory, "KB", Aim::RatioAtMost(1.0 / peer.times)),
    ];
    let line = |(figure, what, unit, aim): (&str, Pick, &'static str, Aim)| {
        let line = match &peer.failure {
            Some(reason) => Line::new(figure, what(ours).median(), unit).note(reason.clone()),
            None => Line::of_turns(figure, unit, what(ours), peer.name, what(&peer.costs)),
        };
        line.aim(aim)
    };
    rows.into_iter().map(line).collect()
}
