//! A client that comes back to ten topics, of which it missed a hundred messages, against one that subscribes to ten without logs.

use std::time::Instant;

use futures_util::SinkExt;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Place, next};
use crate::Result;
use crate::rows::gateway::Socket;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::{Aim, Line};

const TOPICS: u64 = 10;
/// Messages in each.
const MISSED: u64 = 10;
const ROUNDS: usize = 100;
const WARM_UP: usize = 5;

pub(super) async fn measure(setup: &Setup, place: &mut Place) -> Result<Vec<Line>> {
    for topic in 0..TOPICS {
        for number in 0..MISSED {
            place.say(&format!("missed/{topic}"), &json!({"n": number, "data": "order 42 was shipped"})).await?;
        }
    }
    let since = positions(place).await?;
    let (mut recovered, mut plain) = (Samples::default(), Samples::default());
    for round in 0..WARM_UP + setup.rounds(ROUNDS) {
        let mut socket = place.connect("").await?;
        let begin = Instant::now();
        subscribe_to_each(&mut socket).await?;
        let without = begin.elapsed();
        let begin = Instant::now();
        recover(&mut socket, &since).await?;
        let with = begin.elapsed();
        socket.close(None).await?;
        if round >= WARM_UP {
            plain.push(without.as_secs_f64() * 1e3);
            recovered.push(with.as_secs_f64() * 1e3);
        }
    }
    let figure = "recovery of 100 messages in 10 topics, one command";
    let peer = "10 `subscribe` at once, without logs";
    Ok(vec![Line::of_turns(figure, "ms", &recovered, peer, &plain).aim(Aim::RatioAtMost(3.0))])
}

/// Where each log began.
async fn positions(place: &Place) -> Result<Map<String, Value>> {
    let topics: Vec<_> = (0..TOPICS).map(|topic| format!("missed/{topic}")).collect();
    let mut socket = place.connect("").await?;
    send(&mut socket, &json!({"action": "subscribe", "topics": topics, "id": 1})).await?;
    let reply = next(&mut socket).await?;
    let begin = |topic: String| {
        let epoch = reply["topics"][&topic]["epoch"].clone();
        (topic, json!({"offset": 0, "epoch": epoch}))
    };
    Ok(topics.into_iter().map(begin).collect())
}

async fn subscribe_to_each(socket: &mut Socket) -> Result<()> {
    for topic in 0..TOPICS {
        send(socket, &json!({"action": "subscribe", "topic": format!("plain/{topic}"), "id": topic})).await?;
    }
    for _ in 0..TOPICS {
        let reply = next(socket).await?;
        if reply["type"] != "ack" {
            return Err(format!("a subscribe was answered with {reply}").into());
        }
    }
    Ok(())
}

async fn recover(socket: &mut Socket, since: &Map<String, Value>) -> Result<()> {
    let topics: Vec<_> = since.keys().collect();
    send(socket, &json!({"action": "subscribe", "topics": topics, "since": since, "id": "r"})).await?;
    let reply = next(socket).await?;
    let of_topics = reply["topics"].as_object().ok_or_else(|| format!("no topics in {reply}"))?;
    let messages: usize = of_topics.values().filter_map(|told| told["messages"].as_array()).map(Vec::len).sum();
    match messages as u64 == TOPICS * MISSED {
        true => Ok(()),
        false => Err(format!("{messages} messages were recovered: {reply}").into()),
    }
}

async fn send(socket: &mut Socket, command: &Value) -> Result<()> {
    Ok(socket.send(Message::text(command.to_string())).await?)
}
