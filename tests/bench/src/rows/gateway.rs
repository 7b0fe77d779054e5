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

/// Connections in one measurement. Ours takes 500 new ones a second, as API Gateway does.
const CONNECTS: u64 = 400;
/// Connections that talk at the same time, and what each says.
const TALKING: usize = 10;
const MESSAGES: u64 = 400;
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
        once(setup, Gateway::ours(setup, "gateway.yaml").await?, &mut ours).await?;
        if let Ok(node) = &setup.node
            && failure.is_none()
        {
            let measured = match Gateway::serverless_offline(setup, node).await {
                Ok(gateway) => once(setup, gateway, &mut theirs).await,
                Err(error) => Err(error),
            };
            failure = measured.err().map(|error| format!("serverless-offline: {error}"));
        }
    }
    Ok(lines(&ours, &theirs, failure))
}

async fn once(setup: &Setup, mut gateway: Gateway, costs: &mut Costs) -> Result<()> {
    // Code is loaded and functions are started.
    let mut warm = open_all(&gateway.websocket, TALKING as u64).await?;
    talk(&mut warm, 20).await?;
    // First of all, for later connections take the place of earlier ones.
    let count = setup.size(IDLE);
    let before = gateway.program.memory()?;
    let idle = open_all(&gateway.websocket, count).await?;
    let after = gateway.program.memory()?;
    costs.memory.push(after.saturating_sub(before) as f64 / 1e3 / count as f64);
    drop(idle);
    let count = setup.size(CONNECTS);
    let before = gateway.cpu();
    let opened = open_all(&gateway.websocket, count).await?;
    costs.connects.push(count as f64 / (gateway.cpu() - before).as_secs_f64());
    drop(opened);
    let messages = setup.size(MESSAGES);
    let (before, begin) = (gateway.cpu(), Instant::now());
    talk(&mut warm, messages).await?;
    let trips = (messages * TALKING as u64) as f64;
    costs.trips.push(trips / (gateway.cpu() - before).as_secs_f64());
    costs.trips_by_the_clock.push(trips / begin.elapsed().as_secs_f64());
    gateway.program.finish().await
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
