//! Gateways on a laptop: what a connect, a round trip and an idle connection cost, with the same function behind.
//!
//! The processor time of the functions counts: ours run as processes of their own, serverless-offline's in its own.

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

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let (mut ours, mut theirs) = (Costs::default(), Costs::default());
    let mut failure = setup.node.as_ref().err().cloned();
    for _ in 0..setup.rounds(3) {
        let one = Side::start(setup, Gateway::ours(setup, "gateway.yaml"), &mut ours);
        let other = async {
            match &setup.node {
                Ok(node) if failure.is_none() => {
                    Some(Side::start(setup, Gateway::serverless_offline(setup, node), &mut theirs).await)
                }
                _ => None,
            }
        };
        let (one, mut other) = tokio::join!(one, other);
        let mut one = one?;
        for _ in 0..TURNS {
            one.turn(setup).await?;
            if let Some(Ok(side)) = &mut other
                && let Err(error) = side.turn(setup).await
            {
                other = Some(Err(error));
            }
        }
        one.gateway.program.finish().await?;
        match other {
            Some(Ok(side)) => side.gateway.program.finish().await?,
            Some(Err(error)) => failure = Some(format!("serverless-offline: {error}")),
            None => {}
        }
    }
    Ok(lines(&ours, &theirs, failure))
}

/// A gateway under measurement.
struct Side<'a> {
    gateway: Gateway,
    /// Those that talk.
    sockets: Vec<Socket>,
    costs: &'a mut Costs,
}

impl<'a> Side<'a> {
    /// Starts it and its functions, and measures the memory first of all, for later connections take the place of earlier
    /// ones.
    async fn start(
        setup: &Setup,
        gateway: impl Future<Output = Result<Gateway>>,
        costs: &'a mut Costs,
    ) -> Result<Self> {
        let gateway = gateway.await?;
        let mut sockets = open_all(&gateway.websocket, TALKING as u64).await?;
        talk(&mut sockets, 20).await?;
        let count = setup.size(IDLE);
        let before = gateway.program.memory()?;
        let idle = open_all(&gateway.websocket, count).await?;
        let after = gateway.program.memory()?;
        costs.memory.push(after.saturating_sub(before) as f64 / 1e3 / count as f64);
        drop(idle);
        Ok(Self { gateway, sockets, costs })
    }

    /// Connects some, and lets those that are there talk.
    async fn turn(&mut self, setup: &Setup) -> Result<()> {
        let connects = setup.size(CONNECTS);
        let before = self.gateway.cpu();
        let opened = open_all(&self.gateway.websocket, connects).await?;
        self.costs.connects.push(connects as f64 / (self.gateway.cpu() - before).as_secs_f64());
        drop(opened);
        let messages = setup.size(MESSAGES);
        let (before, begin) = (self.gateway.cpu(), Instant::now());
        talk(&mut self.sockets, messages).await?;
        let trips = (messages * TALKING as u64) as f64;
        self.costs.trips.push(trips / (self.gateway.cpu() - before).as_secs_f64());
        self.costs.trips_by_the_clock.push(trips / begin.elapsed().as_secs_f64());
        Ok(())
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

fn lines(ours: &Costs, theirs: &Costs, failure: Option<String>) -> Vec<Line> {
    let peer = "serverless-offline";
    let rows: [(&str, Pick, &'static str, Aim); 4] = [
        ("gateway: connects per second of processor time", |costs| &costs.connects, "", Aim::RatioAtLeast(10.0)),
        ("gateway: round trips per second of processor time", |costs| &costs.trips, "", Aim::RatioAtLeast(10.0)),
        (
            "gateway: round trips per second by the clock",
            |costs| &costs.trips_by_the_clock,
            "",
            Aim::RatioAtLeast(10.0),
        ),
        ("gateway: memory per idle connection", |costs| &costs.memory, "KB", Aim::RatioAtMost(0.1)),
    ];
    let line = |(figure, what, unit, aim): (&str, Pick, &'static str, Aim)| {
        let line = match &failure {
            Some(reason) => Line::new(figure, what(ours).median(), unit).note(reason.clone()),
            None => Line::of_turns(figure, unit, what(ours), peer, what(theirs)),
        };
        line.aim(aim)
    };
    rows.into_iter().map(line).collect()
}
